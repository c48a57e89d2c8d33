"""Residual blocks: a branch, a shortcut, and their sum.

Blocks own nothing but Keras layers, and each layer is called exactly once, so that
:mod:`tfresnet.models.functional` can wire the same layers as a functional model.
Names are unique in the whole model; Keras's functional API insists on that.
"""

from collections.abc import Iterable
from typing import Any

import tf_keras as keras

layers = keras.layers
Layers = list[keras.layers.Layer]


def conv(filters: int, kernel: int, strides: int, name: str) -> keras.layers.Layer:
    """Return a convolution without bias (a batch norm follows), He-normal (He et al. 2015)."""
    initializer = keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")
    return layers.Conv2D(
        filters,
        kernel,
        strides,
        padding="same",
        use_bias=False,
        kernel_initializer=initializer,
        name=name,
    )


def norm(name: str, gamma: float = 1.0) -> keras.layers.Layer:
    """Return a batch norm whose scale starts at ``gamma``."""
    initializer = keras.initializers.Constant(gamma)
    return layers.BatchNormalization(
        momentum=0.9, epsilon=1e-5, gamma_initializer=initializer, name=name
    )


def apply(steps: Iterable[keras.layers.Layer], x: Any) -> Any:
    """Return ``x`` after every layer in turn."""
    for step in steps:
        x = step(x)
    return x


def basic_branch(filters: int, strides: int, last_gamma: float, name: str) -> Layers:
    """Return two 3x3 convolutions (He et al. 2015, figure 5 left)."""
    return [
        conv(filters, 3, strides, name=f"{name}_conv1"),
        norm(name=f"{name}_bn1"),
        layers.ReLU(name=f"{name}_relu1"),
        conv(filters, 3, 1, name=f"{name}_conv2"),
        norm(name=f"{name}_bn2", gamma=last_gamma),
    ]


def pad_shortcut(in_filters: int, filters: int, strides: int, name: str) -> Layers:
    """Return He et al.'s option A: every ``strides``-th pixel, zeros as new channels.

    Zeros go on both sides of the channel axis. ``ZeroPadding2D`` pads the last two
    axes when it is told that they are spatial, which here are width and channels.
    """
    extra = filters - in_filters
    channels = ((0, 0), (extra // 2, extra - extra // 2))
    return [
        layers.MaxPooling2D(1, strides, name=f"{name}_shortcut_pool"),
        layers.ZeroPadding2D(channels, data_format="channels_first", name=f"{name}_shortcut_pad"),
    ]


def projection_shortcut(in_filters: int, filters: int, strides: int, name: str) -> Layers:
    """Return He et al.'s option B: a strided 1x1 convolution and a batch norm."""
    return [
        conv(filters, 1, strides, name=f"{name}_shortcut_conv"),
        norm(name=f"{name}_shortcut_bn"),
    ]


SHORTCUTS = {"A": pad_shortcut, "B": projection_shortcut}


class ResidualBlock(keras.layers.Layer):
    """``relu(branch(x) + shortcut(x))`` (He et al. 2015, arXiv:1512.03385, figure 2).

    Takes and gives float NHWC. The shortcut is the identity unless the shape changes.
    """

    def __init__(
        self,
        in_filters: int,
        filters: int,
        strides: int,
        shortcut: str,
        zero_gamma: bool,
        name: str,
    ):
        super().__init__(name=name)
        same_shape = strides == 1 and in_filters == filters
        self.branch = basic_branch(filters, strides, 0.0 if zero_gamma else 1.0, name)
        self.shortcut = (
            [] if same_shape else SHORTCUTS[shortcut](in_filters, filters, strides, name)
        )
        self.add = layers.Add(name=f"{name}_add")
        self.relu = layers.ReLU(name=f"{name}_relu")

    def call(self, x: Any) -> Any:
        """Return the block's output for a float NHWC batch."""
        return self.relu(self.add([apply(self.branch, x), apply(self.shortcut, x)]))
