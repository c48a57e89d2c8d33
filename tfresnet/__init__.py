"""Train a ResNet in TensorFlow and leave with a model file that a device can run.

Importing this package loads no TensorFlow. It only states which Keras is meant
(Keras 2, that is ``tf_keras``, the one that tensorflow-model-optimization works
on) and how talkative TensorFlow's C++ side is; both must be set before
TensorFlow is first imported, and both can be overridden from the environment.
"""

import os

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

__version__ = "0.1.0"
