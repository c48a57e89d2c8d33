"""Build the graph of an exported file: preprocessing, the network, and the final activation.

The graph of an :class:`Embedding` gives the pooled features instead of probabilities.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.data import decoding
from tfresnet.data.pipeline import normalize
from tfresnet.deploy.formats import suppression
from tfresnet.deploy.formats.base import Source
from tfresnet.keras2 import keras
from tfresnet.models.network import Network
from tfresnet.runtime.backends import centered
from tfresnet.runtime.decode import OUTPUTS
from tfresnet.runtime.metadata import DETECTIONS, EMBEDDING
from tfresnet.runtime.spec import InputSpec, OutputSpec

# uint8 pixel p is the real number (p - 128) / 128: LiteRT's int8 input needs no arithmetic.
ZERO_POINT, SCALE = 128.0, 1 / 128.0
RANGE = ((0 - ZERO_POINT) * SCALE, (255 - ZERO_POINT) * SCALE)


class Embedding(keras.Model):
    """A network without its head: normalized images to embeddings, float32 [batch, D]."""

    def __init__(self, network: Network):
        super().__init__(name=network.name)
        self.network = network

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the pooled features of float NHWC images."""
        return tf.cast(self.network.features(images).embedding, tf.float32)


def variables_of(model: keras.Model) -> tf.Module:
    """Return a module with a model's variables and nothing else.

    Saved instead of the model, it takes a tenth of the time: Keras would trace every layer.
    """
    module = tf.Module()
    module.kept = list(model.variables)
    return module


def has_fake_quantization(model: keras.Model) -> bool:
    """Tell whether a model is one that quantization-aware training gives."""
    return any(layer.name.startswith("quantize_layer") for layer in model.layers)


def kind_of(source: Source) -> str:
    """Return what a file of a network gives, see ``runtime.metadata``."""
    if isinstance(source.model, Embedding):
        return EMBEDDING
    return source.kind or tasks.of(source.output).output_kinds[0]


def _outputs(
    model: keras.Model, normalized: tf.Tensor, spec: InputSpec, output: OutputSpec, kind: str
) -> Any:
    """Return the tensor that a file gives, or a tuple if it gives several."""
    outputs = model(normalized, training=False)
    if isinstance(model, Embedding):
        return tf.identity(outputs, name=EMBEDDING)
    task = tasks.of(output)
    found = task.in_graph(outputs, spec, kind)
    if kind == DETECTIONS:
        found = suppression.suppressed(found)
    first, *others = (found[name] for name in OUTPUTS[kind or task.output_kinds[0]])
    return (first, *others) if others else first


def from_pixels(
    model: keras.Model, spec: InputSpec, output: OutputSpec, batch: int | None, kind: str = ""
) -> tf.types.experimental.GenericFunction:
    """Return a function from uint8 [batch, H, W, C] to what a file gives.

    That is one tensor, such as probabilities [batch, classes], or a tuple of them.
    """
    signature = [tf.TensorSpec([batch, *spec.shape], tf.uint8, name="image")]

    @tf.function(input_signature=signature)
    def classify(image: tf.Tensor) -> Any:
        return _outputs(model, normalize(image, spec), spec, output, kind)

    return classify


def from_centered_pixels(
    model: keras.Model, spec: InputSpec, output: OutputSpec, batch: int | None, kind: str = ""
) -> tf.types.experimental.GenericFunction:
    """Return a function from ``(pixel - 128) / 128``, float32, to what a file gives.

    This is the form to quantize: with scale 1/128 and zero point 128 its input tensor holds
    the image's bytes. A spec with another mean and std is applied on top of it.
    """
    signature = [tf.TensorSpec([batch, *spec.shape], tf.float32, name="image")]
    mean, std = np.array(spec.mean, np.float32), np.array(spec.std, np.float32)
    scale = np.float32(1 / SCALE) / std
    shift = (np.float32(ZERO_POINT) - mean) / std
    identity = np.allclose(scale, 1) and np.allclose(shift, 0)

    @tf.function(input_signature=signature)
    def classify(image: tf.Tensor) -> Any:
        normalized = image if identity else image * scale + shift
        return _outputs(model, normalized, spec, output, kind)

    return classify


def from_files(
    classify: tf.types.experimental.GenericFunction, spec: InputSpec
) -> tf.types.experimental.GenericFunction:
    """Return a function from the bytes of n image files, string [n], to ``classify``'s outputs.

    TensorFlow decodes, turns and resizes, so that a server can: see :mod:`decoding`.
    """
    signature = [tf.TensorSpec([None], tf.string, name="encoded")]

    @tf.function(input_signature=signature)
    def classify_files(encoded: tf.Tensor) -> Any:
        pixels = tf.map_fn(
            lambda content: decoding.picture(content, spec), encoded, fn_output_signature=tf.uint8
        )
        return classify(tf.ensure_shape(pixels, [None, *spec.shape]))

    return classify_files


def representative(images: np.ndarray) -> Iterator[np.ndarray]:
    """Yield uint8 images as ``(pixel - 128) / 128``, float32 [1, H, W, C], that span all bytes.

    The input's scale is exactly 1/128 only if both 0 and 255 were seen. Photographs have both;
    where the images do not, two corner pixels of the first one are set to them, which is too
    little to move the range of any other tensor noticeably.
    """
    images = images.copy()
    if images.min() > 0:
        images[0, 0, 0] = 0
    if images.max() < 255:
        images[0, -1, -1] = 255
    for image in images:
        yield centered(image[None])
