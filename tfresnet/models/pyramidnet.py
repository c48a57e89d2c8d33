"""PyramidNet: a ResNet whose width grows by a little in every block (Han et al. 2016).

Source: arXiv:1610.02915, and the authors' code (github.com/dyhan0920/PyramidNet-PyTorch).
"""

from dataclasses import dataclass
from typing import ClassVar

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models.blocks import (
    Conv,
    ResidualBlock,
    Style,
    convolution,
    norm,
    norm_relu,
    zero_channels,
)
from tfresnet.models.network import Backbone, Layers, Part, scaled
from tfresnet.models.resnet import STEM_STRIDES, imagenet_stem

layers = keras.layers


def pyramidnet(
    widths: tuple[tuple[int, ...], ...],
    stem_width: int,
    stem: str,
    style: Style,
    stochastic_depth: float,
) -> Backbone:
    """Build the backbone of an additive PyramidNet of basic blocks.

    Block i has ``stem_width + i alpha / blocks`` channels.

    Args:
        widths: the channels of every block, a tuple for each stage.
        stem_width: channels of the stem.
        stem: ``cifar`` (3x3 and a norm) or ``imagenet``.
        style: padding, attention and zero-gamma.
        stochastic_depth: drop rate of the last block; linear from 0 at the input.
    """
    if stem == "cifar":
        first = convolution(Conv(stem_width, 3), style.padding, "stem_conv")
        parts = [Part("stem", [*first, norm("stem_bn")])]
    else:
        parts = [Part("stem", imagenet_stem(stem_width, style))]
    filters, count, total = stem_width, 0, sum(len(stage) for stage in widths)
    for stage, of_stage in enumerate(widths, start=1):
        blocks: Layers = []
        for block, width in enumerate(of_stage, start=1):
            count += 1
            strides = 2 if block == 1 and stage > 1 else 1
            rate = stochastic_depth * count / total
            name = f"stage{stage}_block{block}"
            blocks.append(pyramid_block(style, filters, width, strides, rate, name))
            filters = width
        stride = STEM_STRIDES[stem] * 2 ** (stage - 1)
        parts.append(Part(f"stage{stage}", blocks, len(blocks), stride))
    return Backbone([*parts, Part("final", norm_relu("final"))])


def pyramid_block(
    style: Style, in_filters: int, width: int, strides: int, drop_rate: float, name: str
) -> ResidualBlock:
    """Build a block: norm, 3x3, norm, ReLU, 3x3, norm; the shortcut pools and adds zeros."""
    branch = [
        norm(f"{name}_bn1"),
        *convolution(Conv(width, 3, strides), style.padding, f"{name}_conv1"),
        *norm_relu(name, 2),
        *convolution(Conv(width, 3), style.padding, f"{name}_conv2"),
        norm(f"{name}_bn3", gamma=0.0 if style.zero_gamma else 1.0),
    ]
    shortcut: Layers = []
    if strides > 1:
        shortcut.append(layers.AveragePooling2D(2, padding="same", name=f"{name}_shortcut_pool"))
    if width > in_filters:
        shortcut.append(zero_channels(0, width - in_filters, f"{name}_shortcut_pad"))
    return ResidualBlock(
        name,
        width,
        branch,
        shortcut,
        before=[],
        after=[],
        attention=style.attention,
        drop_rate=drop_rate,
    )


@dataclass(frozen=True)
class PyramidNetRow:
    """A row of the table of architectures."""

    depths: tuple[int, ...]
    alpha: int  # channels of the last block less those of the stem
    stem_width: int = 16
    image_size: int = 32
    num_classes: int = 10

    family: ClassVar[str] = "pyramidnet"

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables."""
        style = Style(
            padding=config.padding, attention=config.attention, zero_gamma=config.zero_gamma
        )
        return pyramidnet(
            self._widths(config.width),
            scaled(self.stem_width, config.width),
            stem,
            style,
            config.stochastic_depth,
        )

    def shortest(self) -> "PyramidNetRow":
        """Return the row itself: no two blocks are alike."""
        return self

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage occurs: once."""
        return (1,) * len(self.depths)

    def _widths(self, factor: float) -> tuple[tuple[int, ...], ...]:
        step, width, stages = self.alpha / sum(self.depths), float(self.stem_width), []
        for depth in self.depths:
            stage = [width + step * (i + 1) for i in range(depth)]
            stages.append(tuple(scaled(round(w), factor) for w in stage))
            width = stage[-1]
        return tuple(stages)
