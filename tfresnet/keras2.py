"""Keras 2, which tensorflow-model-optimization needs: everything else imports it from here."""

import tf_keras as keras

__all__ = ["keras"]
