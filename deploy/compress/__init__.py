"""Make a network smaller, or fit for integers, by training it further.

``base`` says what a compressor is; ``chain`` is the list of those that there are.
tensorflow-model-optimization is imported in this package only.
"""
