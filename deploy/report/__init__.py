"""Measure every artifact against the run that it came from."""
