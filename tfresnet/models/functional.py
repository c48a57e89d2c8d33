"""The subclassed model wired again as a functional one that shares its variables.

tensorflow-model-optimization accepts functional models only, and counting operations
needs every layer's shape; both look at this twin. Its outputs equal the model's exactly.
"""

import math

from tfresnet.backend import keras
from tfresnet.models.network import Block


def functional(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return ``model`` as a flat functional model over the same layers and variables."""
    x = inputs = keras.Input(image_shape, name="image")
    for step in model.trunk:
        # Through call(), not __call__(): the twin must hold the block's layers, not the block.
        x = step.call(x) if isinstance(step, Block) else step(x)
    return keras.Model(inputs, x, name=model.name)


def parameters(model: keras.Model) -> int:
    """Return the number of trainable parameters (batch-norm statistics are not counted)."""
    return sum(math.prod(v.shape) for v in model.trainable_variables)


def macs(model: keras.Model, image_shape: tuple[int, int, int]) -> int:
    """Return the multiply-adds of all convolutions and dense layers for one image."""
    return sum(layer_macs(layer) for layer in functional(model, image_shape).layers)


def layer_macs(layer: keras.layers.Layer) -> int:
    """Return the multiply-adds of one layer of a functional model."""
    if isinstance(layer, keras.layers.DepthwiseConv2D):
        return math.prod(layer.output_shape[1:-1]) * math.prod(layer.depthwise_kernel.shape)
    if isinstance(layer, (keras.layers.Conv1D, keras.layers.Conv2D)):
        return math.prod(layer.output_shape[1:-1]) * math.prod(layer.kernel.shape)
    return math.prod(layer.kernel.shape) if isinstance(layer, keras.layers.Dense) else 0
