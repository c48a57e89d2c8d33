"""A subclassed network rewired as a flat functional model that shares its variables.

tensorflow-model-optimization accepts functional models only, and counting operations needs the
output shape of every layer. The outputs of both models are exactly equal.
"""

import math
from collections.abc import Iterator

from tfresnet.keras2 import keras


def functional(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return ``model`` as a flat functional model over the same layers and variables.

    Its ``call`` is run on a symbolic input, in which each :class:`.network.Block` dissolves into
    its layers. Branches, several outputs and layers that are called more than once are kept; a
    TensorFlow operation in a ``call`` becomes a layer of its own, which compression may refuse.

    Args:
        model: its ``call`` takes images and calls Keras layers and blocks.
        image_shape: height, width and channels.
    """
    inputs = keras.Input(image_shape, name="image")
    return keras.Model(inputs, model.call(inputs), name=model.name)


def parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters (batch-norm statistics are not counted)."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def macs(model: keras.Model, image_shape: tuple[int, int, int]) -> int:
    """Return the multiply-adds of all convolutions and dense layers for one image."""
    return sum(count for _, count in layer_macs(functional(model, image_shape)))


def layer_macs(twin: keras.Model) -> Iterator[tuple[keras.layers.Layer, int]]:
    """Yield each call of a layer in a functional model, and its multiply-adds for one image."""
    for nodes in twin._nodes_by_depth.values():  # the only place that has the shape of each call
        for node in nodes:
            yield node.layer, _multiply_adds(node.layer, node.output_shapes)


def _multiply_adds(layer: keras.layers.Layer, output_shape: tuple[int, ...]) -> int:
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return math.prod(output_shape[1:-1]) * math.prod(layer.depthwise_kernel.shape)
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D, keras.layers.Dense)):
        return math.prod(output_shape[1:-1]) * math.prod(layer.kernel.shape)
    return 0
