"""The model as every exported file holds it: preprocessing in front, probabilities behind."""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfresnet.data.pipeline import normalise
from tfresnet.spec import InputSpec

# uint8 pixel p is the real number (p - 128) / 128: LiteRT's int8 input needs no arithmetic.
ZERO_POINT, SCALE = 128.0, 1 / 128.0


def from_pixels(
    model: keras.Model, spec: InputSpec, batch: int | None
) -> tf.types.experimental.GenericFunction:
    """Return a function from uint8 RGB [batch, H, W, 3] to probabilities [batch, classes]."""
    signature = [tf.TensorSpec([batch, *spec.shape], tf.uint8, name="image")]

    @tf.function(input_signature=signature)
    def classify(image: tf.Tensor) -> tf.Tensor:
        logits = model(normalise(image, spec), training=False)
        return tf.nn.softmax(logits, name="probabilities")

    return classify


def from_centred_pixels(
    model: keras.Model, spec: InputSpec, batch: int | None
) -> tf.types.experimental.GenericFunction:
    """Return a function from ``(pixel - 128) / 128``, float32, to probabilities.

    This is the form to quantise: with scale 1/128 and zero point 128 its input tensor holds
    the image's bytes. A spec with another mean and std is applied on top of it.
    """
    signature = [tf.TensorSpec([batch, *spec.shape], tf.float32, name="image")]
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    scale = np.float32(1 / SCALE) / std
    shift = (np.float32(ZERO_POINT) - mean) / std
    identity = np.allclose(scale, 1) and np.allclose(shift, 0)

    @tf.function(input_signature=signature)
    def classify(image: tf.Tensor) -> tf.Tensor:
        normalised = image if identity else image * scale + shift
        return tf.nn.softmax(model(normalised, training=False), name="probabilities")

    return classify
