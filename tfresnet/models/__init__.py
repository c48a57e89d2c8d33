"""Networks as subclassed Keras models, built from a table of architectures."""
