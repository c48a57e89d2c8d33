"""Files and locks, the machine and its versions, and what C++ libraries print."""
