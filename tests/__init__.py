"""The tests of tfresnet."""

import tfresnet  # noqa: F401  before TensorFlow, for which it chooses Keras 2 and oneDNN
