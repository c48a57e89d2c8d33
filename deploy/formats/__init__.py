"""Converters: a model in, a file out."""
