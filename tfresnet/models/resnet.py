"""The ResNet: stem, stages of residual blocks, global pooling, a linear head."""

from typing import Any

import tf_keras as keras

from tfresnet.models.blocks import (
    EXPANSION,
    Conv,
    Layers,
    ResidualBlock,
    Style,
    apply,
    convolution,
    norm_relu,
    padded,
)

layers = keras.layers


def cifar_stem(filters: int, style: Style) -> Layers:
    """Return a 3x3 convolution at full resolution (He et al. 2015, section 4.2)."""
    return [*convolution(Conv(filters, 3), style.padding, "stem_conv"), *_activation(style)]


def imagenet_stem(filters: int, style: Style) -> Layers:
    """Return a 7x7 convolution and a max pool, together stride 4 (He et al. 2015, table 1)."""
    steps = convolution(Conv(filters, 7, 2), style.padding, "stem_conv")
    return [*steps, *_activation(style), *_pool(style)]


def deep_stem(filters: int, style: Style) -> Layers:
    """Return three 3x3 convolutions in place of the 7x7 (He et al. 2018, arXiv:1812.01187)."""
    steps: Layers = []
    for number, (width, strides) in enumerate([(filters // 2, 2), (filters // 2, 1)], start=1):
        steps += convolution(Conv(width, 3, strides), style.padding, f"stem_conv{number}")
        steps += norm_relu("stem", number)
    steps += convolution(Conv(filters, 3), style.padding, "stem_conv")
    return [*steps, *_activation(style), *_pool(style)]


def _activation(style: Style) -> Layers:
    """Return the stem's norm and ReLU; before activation, the first block has its own."""
    return [] if style.pre_activation else norm_relu("stem")


def _pool(style: Style) -> Layers:
    if style.padding == "symmetric":
        return [*padded(3, "stem_pool"), layers.MaxPooling2D(3, 2, name="stem_pool")]
    return [layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")]


STEMS = {"cifar": cifar_stem, "imagenet": imagenet_stem, "deep": deep_stem}


class ResNet(keras.Model):
    """A residual network for classification (He et al. 2015, arXiv:1512.03385).

    Takes float NHWC images normalised as the run's ``InputSpec`` says, and gives float32
    logits of shape [batch, num_classes]. ``trunk`` lists its layers and blocks in order.

    Args:
        depths: blocks in each stage; the first block of each but the first stage halves the size.
        widths: of each stage; a block has ``EXPANSION`` times as many channels.
        stem_width: channels of the stem.
        num_classes: length of the logits.
        stem: a key of ``STEMS``.
        style: what all blocks share.
        stochastic_depth: drop rate of the last block; it rises linearly from 0 at the input
            (Huang et al. 2016, arXiv:1603.09382).
        dropout: rate before the head.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        stem_width: int,
        num_classes: int,
        stem: str,
        style: Style,
        stochastic_depth: float,
        dropout: float,
        name: str,
    ):
        super().__init__(name=name)
        self.trunk = STEMS[stem](stem_width, style)
        filters, count = stem_width, 0
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            for block in range(1, depth + 1):
                count += 1
                strides = 2 if block == 1 and stage > 1 else 1
                rate = stochastic_depth * count / sum(depths)
                block_name = f"stage{stage}_block{block}"
                self.trunk.append(ResidualBlock(style, filters, width, strides, rate, block_name))
                filters = width * EXPANSION[style.block]
        if style.pre_activation:
            self.trunk += norm_relu("final")
        self.trunk.append(layers.GlobalAveragePooling2D(name="pool"))
        if dropout:
            self.trunk.append(layers.Dropout(dropout, name="dropout"))
        # float32 logits also under mixed precision: a bfloat16 softmax is too coarse.
        self.trunk.append(layers.Dense(num_classes, dtype="float32", name="head"))

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return logits; Keras passes ``training`` on to the batch norms by itself."""
        return apply(self.trunk, images)
