"""One JSON a run, written by ``tfresnet record``; they ship with the package."""
