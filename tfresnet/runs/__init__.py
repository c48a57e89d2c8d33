"""A run and its directory: made, trained, opened, started from other weights."""
