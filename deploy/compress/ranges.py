"""Set the ranges that fake quantization starts with."""

from unittest import mock

import numpy as np
import tensorflow as tf

from tfresnet.keras2 import keras
from tfresnet.runtime.spec import InputSpec

BATCH = 64  # images at a time
Range = tuple[tf.Variable, tf.Variable]  # its least and its largest value


def observe(aware: keras.Model, images: np.ndarray) -> None:
    """Set the ranges of activations to the mean over batches of what a network gives for images.

    Values are not rounded meanwhile. tfmot's moving averages start at -6 and 6, and 500 steps leave
    60 % of that: larger values would be cut off, and the output of a ReLU would give a third of its
    256 values to numbers below 0.

    Args:
        aware: a model with tfmot's fake quantization; is changed.
        images: normalized as the network takes them, float32 [n, H, W, C].
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    observed: dict[int, tuple[Range, list[tuple[float, float]]]] = {}

    def record(x: tf.Tensor, low: tf.Variable, high: tf.Variable, **_: object) -> tf.Tensor:
        ends = min(0.0, float(tf.reduce_min(x))), max(0.0, float(tf.reduce_max(x)))
        observed.setdefault(id(low), ((low, high), []))[1].append(ends)
        return x

    def unchanged(x: tf.Tensor, *_: object, **__: object) -> tf.Tensor:
        return x

    with (
        mock.patch.object(quant_ops, "MovingAvgQuantize", record),  # of activations
        mock.patch.object(quant_ops, "LastValueQuantize", unchanged),  # of weights
        mock.patch.object(quant_ops, "AllValuesQuantize", unchanged),  # of the input
    ):
        for first in range(0, len(images), BATCH):
            aware(tf.constant(images[first : first + BATCH]), training=False)
    for variables, ends in observed.values():
        for variable, value in zip(variables, np.mean(ends, axis=0), strict=True):
            variable.assign(value)


def set_input_range(aware: keras.Model, spec: InputSpec) -> None:
    """Set the range of the input to that of normalized bytes, so that its scale is exactly theirs.

    tfmot sets it to the smallest and the largest value of all batches.

    Args:
        aware: a model with tfmot's fake quantization; is changed.
        spec: of its input.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_layer

    ends = [
        (byte - mean) / std
        for byte in (0, 255)
        for mean, std in zip(spec.mean, spec.std, strict=True)
    ]
    entrance = next(x for x in aware.layers if isinstance(x, quantize_layer.QuantizeLayer))
    for variable in entrance.variables:
        for name, value in (("min", min(ends)), ("max", max(ends))):
            if variable.name.endswith(f"_{name}:0"):
                variable.assign(value)
