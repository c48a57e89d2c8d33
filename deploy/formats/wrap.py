"""The model as every exported file holds it: preprocessing in front, probabilities behind.

An :class:`Embedding` gives what the head would classify instead.
"""

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfresnet.data.pipeline import normalise
from tfresnet.models.network import Network
from tfresnet.spec import InputSpec

# uint8 pixel p is the real number (p - 128) / 128: LiteRT's int8 input needs no arithmetic.
ZERO_POINT, SCALE = 128.0, 1 / 128.0


class Embedding(keras.Model):
    """A network without its head: normalised images to embeddings, float32 [batch, D]."""

    def __init__(self, network: Network):
        super().__init__(name=network.name)
        self.network = network

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the pooled features of float NHWC images."""
        return tf.cast(self.network.features(images).embedding, tf.float32)


def _answer(model: keras.Model, normalised: tf.Tensor) -> tf.Tensor:
    output = model(normalised, training=False)
    if isinstance(model, Embedding):
        return tf.identity(output, name="embedding")
    return tf.nn.softmax(output, name="probabilities")


def from_pixels(
    model: keras.Model, spec: InputSpec, batch: int | None
) -> tf.types.experimental.GenericFunction:
    """Return a function from uint8 [batch, H, W, C] to probabilities [batch, classes]."""
    signature = [tf.TensorSpec([batch, *spec.shape], tf.uint8, name="image")]

    @tf.function(input_signature=signature)
    def classify(image: tf.Tensor) -> tf.Tensor:
        return _answer(model, normalise(image, spec))

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
        return _answer(model, image if identity else image * scale + shift)

    return classify
