"""The machine under a run: its files and locks, what it is made of, what libraries print on it."""
