"""Make a model smaller before it is converted."""
