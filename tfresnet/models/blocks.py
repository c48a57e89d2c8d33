"""Residual blocks: a branch, a shortcut, and their sum.

What distinguishes one block from another is data: the list of its convolutions, the kind of its
shortcut, and a ``Style`` that all blocks of a network share. Blocks own nothing but Keras
layers, each called exactly once, so that :mod:`tfresnet.models.functional` can wire the same
layers as a functional model. Names are unique in the whole model, as that API insists.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from tfresnet.keras2 import keras
from tfresnet.models.network import Block, Layers, apply

layers = keras.layers

EXPANSION = {"basic": 1, "bottleneck": 4}  # output channels of a block over its stage's width


@dataclass(frozen=True)
class Style:
    """The options that all blocks of a network share.

    Attributes:
        block: ``basic`` (two 3x3) or ``bottleneck`` (1x1, 3x3, 1x1 to four times the channels).
        shortcut: ``A`` (pool and zeros), ``B`` (projection), ``D`` (average pool, projection).
        pre_activation: norm and ReLU before each convolution (He et al. 2016, arXiv:1603.05027).
        stride_on_1x1: the bottleneck's first convolution has the stride (v1), not the 3x3 (v1.5).
        padding: ``same`` (TensorFlow's: an odd pixel goes right and below) or ``symmetric``
            (PyTorch's: alike on all sides). They differ where a stride is 2.
        groups: of the bottleneck's 3x3 (Xie et al. 2016, arXiv:1611.05431).
        group_width: channels of a group where a stage has 64.
        attention: ``none``, ``se`` (Hu et al. 2017, arXiv:1709.01507) or ``eca`` (Wang et al.
            2019, arXiv:1910.03151), on the branch's output.
        conv_bias: convolutions that no norm follows have a bias (TF-Slim's and Keras's v2).
        strides_last: a stage's last block has the stride instead of the next one's first (v2 in
            TF-Slim and Keras); as its channels stay, its shortcut takes every other pixel.
        dropout: rate between a basic block's convolutions (Zagoruyko et al., arXiv:1605.07146).
        zero_gamma: blocks start as the identity (Goyal et al. 2017, arXiv:1706.02677).
    """

    block: str = "basic"
    shortcut: str = "B"
    pre_activation: bool = False
    stride_on_1x1: bool = False
    padding: str = "same"
    groups: int = 1
    group_width: int = 64
    attention: str = "none"
    conv_bias: bool = False
    strides_last: bool = False
    dropout: float = 0.0
    zero_gamma: bool = False


class Conv(NamedTuple):
    """One convolution of a branch."""

    filters: int
    kernel: int
    strides: int = 1
    groups: int = 1
    dilation: int = 1


def convolution(
    spec: Conv, padding: str, name: str, initial: str = "he", bias: bool = False
) -> Layers:
    """Build a convolution, with explicit padding in front if that is symmetric and strided.

    Args:
        spec: filters, kernel, strides, groups, dilation.
        padding: ``same`` or ``symmetric``, see :class:`Style`.
        name: of the layer.
        initial: weights: ``he``, see :func:`he_normal`, or ``zeros``.
        bias: whether it has one; not needed if a batch normalization follows.
    """
    explicit = padding == "symmetric" and spec.strides > 1 and spec.kernel > 1
    layer = layers.Conv2D(
        spec.filters,
        spec.kernel,
        spec.strides,
        padding="valid" if explicit else "same",
        dilation_rate=spec.dilation,
        groups=spec.groups,
        use_bias=bias,
        kernel_initializer=he_normal() if initial == "he" else "zeros",
        name=name,
    )
    return [*padded(spec.kernel, name), layer] if explicit else [layer]


def he_normal() -> keras.initializers.Initializer:
    """Return an initializer: normal, of variance 2 / fan out (He et al. 2015, arXiv:1502.01852)."""
    return keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def padded(kernel: int, name: str) -> Layers:
    """Build a zero padding of half a kernel on all sides."""
    return [layers.ZeroPadding2D(kernel // 2, name=f"{name}_pad")]


def norm(name: str, gamma: float = 1.0, epsilon: float = 1e-5) -> keras.layers.Layer:
    """Build a batch normalization whose scale starts at ``gamma``."""
    initializer = keras.initializers.Constant(gamma)
    return layers.BatchNormalization(
        momentum=0.9, epsilon=epsilon, gamma_initializer=initializer, name=name
    )


def norm_relu(name: str, number: int | str = "") -> Layers:
    """Build a batch normalization and a ReLU."""
    return [norm(f"{name}_bn{number}"), layers.ReLU(name=f"{name}_relu{number}")]


class Sampling(NamedTuple):
    """What a block does to the resolution of its input.

    Attributes:
        strides: 1, or 2 to halve height and width.
        dilation: of the block's 3x3 convolutions up to the stride.
        after: of those behind it. Where a stride of 2 was removed, it is twice as much, so that
            they see the same places as before (Chen et al. 2017, arXiv:1706.05587).
    """

    strides: int = 1
    dilation: int = 1
    after: int = 1


INNER = {"basic": 1, "bottleneck": 2}  # convolutions of a block before its last one


def convolutions(
    style: Style, width: int, sampling: Sampling, inner: Sequence[int] = ()
) -> list[Conv]:
    """Return the convolutions of a block in a stage of ``width``.

    ``inner`` are the channels of all but the last one, by default those of the architecture.
    """
    strides, dilation, after = sampling
    if style.block == "basic":
        (first_width,) = inner or (width,)
        return [Conv(first_width, 3, strides, 1, dilation), Conv(width, 3, 1, 1, after)]
    usual = max(1, int(width * style.group_width / 64)) * style.groups
    first_width, second_width = inner or (usual, usual)
    first, second = (strides, 1) if style.stride_on_1x1 else (1, strides)
    after_first = after if style.stride_on_1x1 else dilation
    return [
        Conv(first_width, 1, first),
        Conv(second_width, 3, second, style.groups, after_first),
        Conv(width * EXPANSION["bottleneck"], 1),
    ]


def branch(style: Style, convs: list[Conv], name: str) -> Layers:
    """Build the layers of a branch, without the norm that comes first if pre-activated."""
    steps: Layers = []
    for number, conv in enumerate(convs, start=1):
        last = number == len(convs)
        # A pre-activated branch ends with a convolution, so that is what starts at 0.
        initial = "zeros" if last and style.pre_activation and style.zero_gamma else "he"
        bias = last and style.conv_bias
        steps += convolution(conv, style.padding, f"{name}_conv{number}", initial, bias)
        if style.pre_activation:
            steps += [] if last else norm_relu(name, number + 1)
        elif last:
            steps.append(norm(f"{name}_bn{number}", gamma=0.0 if style.zero_gamma else 1.0))
        else:
            steps += norm_relu(name, number)
        if style.dropout and style.block == "basic" and not last:
            steps.append(layers.Dropout(style.dropout, name=f"{name}_dropout"))
    return steps


def pad_shortcut(style: Style, in_filters: int, conv: Conv, name: str) -> Layers:
    """Build He et al.'s option A: every ``strides``-th pixel, zeros as new channels."""
    extra = conv.filters - in_filters
    return [
        layers.MaxPooling2D(1, conv.strides, name=f"{name}_pool"),
        zero_channels(extra // 2, extra - extra // 2, f"{name}_pad"),
    ]


def zero_channels(before: int, after: int, name: str) -> keras.layers.Layer:
    """Build a layer that adds channels of zeros before and after the others.

    ``ZeroPadding2D`` pads the last two axes if its format is ``channels_first``; in NHWC they are
    width and channels.
    """
    channels = ((0, 0), (before, after))
    return layers.ZeroPadding2D(channels, data_format="channels_first", name=name)


def projection_shortcut(style: Style, in_filters: int, conv: Conv, name: str) -> Layers:
    """Build He et al.'s option B: a strided 1x1 convolution, and a norm unless pre-activated."""
    steps = convolution(conv, style.padding, f"{name}_conv", bias=style.conv_bias)
    return steps if style.pre_activation else [*steps, norm(f"{name}_bn")]


def pooled_shortcut(style: Style, in_filters: int, conv: Conv, name: str) -> Layers:
    """Build option D: average pooling instead of the stride (He et al. 2018, arXiv:1812.01187)."""
    pool: Layers = []
    if conv.strides > 1:
        pool.append(layers.AveragePooling2D(conv.strides, padding="same", name=f"{name}_pool"))
    return pool + projection_shortcut(style, in_filters, conv._replace(strides=1), name)


SHORTCUTS = {"A": pad_shortcut, "B": projection_shortcut, "D": pooled_shortcut}


def squeeze_excitation(
    filters: int, name: str, reduced: int = 0, activation: str = "relu"
) -> Layers:
    """Build squeeze and excitation: from a feature map to channel weights [batch, 1, 1, filters].

    ``reduced`` is the width in between, by default a sixteenth of ``filters`` but at least 8.
    """
    width = reduced or max(8, filters // 16)
    return [
        layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_squeeze"),
        layers.Conv2D(width, 1, activation=activation, name=f"{name}_reduce"),
        layers.Conv2D(filters, 1, activation="sigmoid", name=f"{name}_expand"),
    ]


def efficient_attention(filters: int, name: str) -> Layers:
    """Build ECA: channel weights by one convolution over the channels (arXiv:1910.03151)."""
    width = int(abs((math.log2(filters) + 1) / 2))
    return [
        layers.GlobalAveragePooling2D(name=f"{name}_squeeze"),
        layers.Reshape((filters, 1), name=f"{name}_row"),
        layers.Conv1D(1, width | 1, padding="same", use_bias=False, name=f"{name}_conv"),
        layers.Activation("sigmoid", name=f"{name}_sigmoid"),
        layers.Reshape((1, 1, filters), name=f"{name}_map"),
    ]


ATTENTION = {"se": squeeze_excitation, "eca": efficient_attention}


def stochastic_depth(rate: float, name: str) -> Layers:
    """Build stochastic depth: in training a branch is dropped at ``rate``; no layer for 0.

    The branches that stay are scaled up (Huang et al. 2016, arXiv:1603.09382).
    """
    noise = (None, 1, 1, 1)
    return [layers.Dropout(rate, noise, name=f"{name}_stochastic_depth")] if rate else []


class ResidualBlock(Block):
    """A residual block, ``after(branch(before(x)) + shortcut(x))``, float NHWC.

    Post-activation: ``relu(branch(x) + shortcut(x))`` (He et al. 2015, arXiv:1512.03385);
    pre-activation: ``branch(a) + shortcut(x)`` with ``a = relu(norm(x))``, and ``a`` for ``x``
    where the shortcut projects (He et al. 2016, arXiv:1603.05027; there also in the first block).

    Args:
        name: prefix of all its layers' names.
        filters: output channels.
        branch, shortcut, before, after: layers; an empty list is the identity.
        shares_activation: the shortcut starts from ``before(x)`` too.
        attention: a key of ``ATTENTION``, or ``none``.
        drop_rate: of :func:`stochastic_depth`.
    """

    def __init__(
        self,
        name: str,
        filters: int,
        branch: Layers,
        shortcut: Layers,
        before: Layers,
        after: Layers,
        shares_activation: bool = False,
        attention: str = "none",
        drop_rate: float = 0.0,
    ):
        super().__init__(name=name)
        self.before, self.branch, self.shortcut, self.after = before, branch, shortcut, after
        self.shares_activation = shares_activation
        self.gate: Layers = []
        if attention != "none":
            self.gate = ATTENTION[attention](filters, f"{name}_{attention}")
            self.multiply = layers.Multiply(name=f"{name}_{attention}_scale")
        self.drop = stochastic_depth(drop_rate, name)
        self.add = layers.Add(name=f"{name}_add")

    def call(self, x: Any) -> Any:
        """Return the block's output for a float NHWC batch."""
        activated = apply(self.before, x)
        y = apply(self.branch, activated)
        if self.gate:
            y = self.multiply([y, apply(self.gate, y)])
        y = apply(self.drop, y)
        source = activated if self.shares_activation else x
        return apply(self.after, self.add([y, apply(self.shortcut, source)]))


def residual_block(
    style: Style,
    in_filters: int,
    width: int,
    sampling: Sampling,
    drop_rate: float,
    name: str,
    inner: Sequence[int] = (),
) -> ResidualBlock:
    """Build a block with ``EXPANSION[style.block] * width`` output channels.

    ``inner`` is that of :func:`convolutions`.
    """
    strides = sampling.strides
    filters = width * EXPANSION[style.block]
    shortcut: Layers = []
    projects = False
    if style.strides_last and strides > 1 and in_filters == filters:
        shortcut = [layers.MaxPooling2D(1, strides, name=f"{name}_shortcut_pool")]
    elif strides > 1 or in_filters != filters:
        make, change = SHORTCUTS[style.shortcut], Conv(filters, 1, strides)
        shortcut, projects = make(style, in_filters, change, f"{name}_shortcut"), True
    return ResidualBlock(
        name,
        filters,
        branch(style, convolutions(style, width, sampling, inner), name),
        shortcut,
        before=norm_relu(name, 1) if style.pre_activation else [],
        after=[] if style.pre_activation else [layers.ReLU(name=f"{name}_relu")],
        shares_activation=projects and style.shortcut != "A",
        attention=style.attention,
        drop_rate=drop_rate,
    )
