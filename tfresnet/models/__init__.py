"""ResNets as subclassed Keras models, built from a table of variants."""
