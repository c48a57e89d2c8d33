"""From a configuration and a dataset to trained weights, on one device or several."""
