"""The backbone of a ResNet: a stem and stages of residual blocks."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models.blocks import (
    EXPANSION,
    INNER,
    Conv,
    Sampling,
    Style,
    convolution,
    norm_relu,
    padded,
    residual_block,
)
from tfresnet.models.network import Backbone, Layers, Part, scaled
from tfresnet.runtime.errors import InputError

layers = keras.layers


def cifar_stem(filters: int, style: Style) -> Layers:
    """Return a 3x3 convolution at full resolution (He et al. 2015, section 4.2)."""
    steps = convolution(Conv(filters, 3), style.padding, "stem_conv", bias=style.conv_bias)
    return [*steps, *_activation(style)]


def pooled_cifar_stem(filters: int, style: Style) -> Layers:
    """Return a 3x3 convolution and a max pool of stride 2 (huyvnphan/PyTorch_CIFAR10)."""
    return [*cifar_stem(filters, style), *_pool(style)]


def imagenet_stem(filters: int, style: Style) -> Layers:
    """Return a 7x7 convolution and a max pool, together stride 4 (He et al. 2015, table 1)."""
    steps = convolution(Conv(filters, 7, 2), style.padding, "stem_conv", bias=style.conv_bias)
    return [*steps, *_activation(style), *_pool(style)]


def deep_stem(filters: int, style: Style, first: float = 1 / 2) -> Layers:
    """Return three 3x3 convolutions in place of the 7x7 (He et al. 2018, arXiv:1812.01187).

    The first two have half of the channels, or the first one the share ``first``.
    """
    steps: Layers = []
    widths = [(int(filters * first), 2), (filters // 2, 1)]
    for number, (width, strides) in enumerate(widths, start=1):
        steps += convolution(Conv(width, 3, strides), style.padding, f"stem_conv{number}")
        steps += norm_relu("stem", number)
    steps += convolution(Conv(filters, 3), style.padding, "stem_conv", bias=style.conv_bias)
    return [*steps, *_activation(style), *_pool(style)]


def tiered_stem(filters: int, style: Style) -> Layers:
    """Return a deep stem whose channels grow: 24, 32, 64 (timm's ``deep_tiered``)."""
    return deep_stem(filters, style, first=3 / 8)


def _activation(style: Style) -> Layers:
    """Return the stem's norm and ReLU; before activation, the first block has its own."""
    return [] if style.pre_activation else norm_relu("stem")


def _pool(style: Style) -> Layers:
    if style.padding == "symmetric":
        return [*padded(3, "stem_pool"), layers.MaxPooling2D(3, 2, name="stem_pool")]
    return [layers.MaxPooling2D(3, 2, padding="same", name="stem_pool")]


STEMS = {
    "cifar": cifar_stem, "cifar_pool": pooled_cifar_stem, "imagenet": imagenet_stem,
    "deep": deep_stem, "tiered": tiered_stem,
}  # fmt: skip
STEM_STRIDES = {"cifar": 1, "cifar_pool": 2, "imagenet": 4, "deep": 4, "tiered": 4}
POOLED = {"d": "deep", "t": "tiered"}  # variants with pooled shortcuts, and their stems


def resnet(
    depths: tuple[int, ...],
    widths: tuple[int, ...],
    stem_width: int,
    stem: str,
    style: Style,
    stochastic_depth: float,
    output_stride: int = 32,
    inner_widths: Sequence[int] = (),
) -> Backbone:
    """Build the backbone of a residual network (He et al. 2015, arXiv:1512.03385).

    Args:
        depths: blocks in each stage; height and width halve between stages.
        widths: of each stage; a block has ``EXPANSION`` times as many channels.
        stem_width: channels of the stem.
        stem: a key of ``STEMS``.
        style: what all blocks share.
        stochastic_depth: drop rate of the last block; it rises linearly from 0 at the input
            (Huang et al. 2016, arXiv:1603.09382).
        output_stride: largest stride of a feature map. A stride that would exceed it is removed,
            and the convolutions behind it are dilated instead (Chen et al. 2017, arXiv:1706.05587);
            the weights have the same shapes.
        inner_widths: channels of each convolution inside a block, all but the block's last one, in
            order; by default those of the stage.
    """
    each = INNER[style.block]
    stride, dilation = STEM_STRIDES[stem], 1
    parts = [Part("stem", STEMS[stem](stem_width, style))]
    filters, count = stem_width, 0
    for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
        # The stride between stages is in the next one's first block, or in this one's last.
        strided, border = (depth, len(depths)) if style.strides_last else (1, 1)
        blocks: Layers = []
        for block in range(1, depth + 1):
            count += 1
            before, sampling = stride, Sampling(1, dilation, dilation)
            if block == strided and stage != border:
                strides = 2 if 2 * stride <= output_stride else 1
                sampling = Sampling(strides, dilation, dilation * 2 // strides)
                stride, dilation = stride * strides, sampling.after
            rate = stochastic_depth * count / sum(depths)
            name = f"stage{stage}_block{block}"
            inner = inner_widths[each * (count - 1) : each * count]
            blocks.append(residual_block(style, filters, width, sampling, rate, name, inner))
            filters = width * EXPANSION[style.block]
        level = depth - 1 if style.strides_last and stage != border else depth
        parts.append(Part(f"stage{stage}", blocks, level, stride if level == depth else before))
    if style.pre_activation:
        parts.append(Part("final", norm_relu("final")))
    return Backbone(parts)


@dataclass(frozen=True)
class ResNetRow:
    """A row of the table of architectures: what distinguishes one ResNet from another."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    style: Style
    stem_width: int
    image_size: int  # the side of the images that it was published for
    num_classes: int

    @property
    def family(self) -> str:
        """``resnet_v2`` is TF-Slim's and keras.applications' layout."""
        return "resnet_v2" if self.style.strides_last else "resnet"

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables."""
        backbone_stem = POOLED.get(config.variant, stem) if stem == "imagenet" else stem
        self._check_output_stride(config, STEM_STRIDES[backbone_stem])
        style = self._style(config)
        return resnet(
            self.depths,
            tuple(scaled(width, config.width) for width in self.widths),
            scaled(self.stem_width, config.width),
            backbone_stem,
            style,
            config.stochastic_depth,
            config.output_stride,
            self._inner_widths(config, style),
        )

    def shortest(self) -> "ResNetRow":
        """Return the row with at most two blocks in each stage.

        Where a stage's last block has the stride, that is the row itself.
        """
        if self.style.strides_last:
            return self
        return dataclasses.replace(self, depths=tuple(min(2, depth) for depth in self.depths))

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage of :meth:`shortest` occurs here."""
        if self.style.strides_last:
            return (1,) * len(self.depths)
        return tuple(depth - 1 for depth in self.depths)

    def _check_output_stride(self, config: ModelConfig, stem_stride: int) -> None:
        natural = stem_stride * 2 ** (len(self.depths) - 1)
        default = ModelConfig.model_fields["output_stride"].default
        if config.output_stride != default and config.output_stride > natural:
            raise InputError(
                f"model.output_stride: expected {default}, as {config.arch} with this stem has a "
                f"stride of {natural} only, got {config.output_stride}; leave it out, or take "
                "model.stem=imagenet"
            )

    def _inner_widths(self, config: ModelConfig, style: Style) -> tuple[int, ...]:
        """Return the configuration's ``inner_widths``, after a check of their number."""
        given = tuple(config.inner_widths)
        expected = sum(self.depths) * INNER[style.block]
        if given and len(given) != expected:
            raise InputError(
                f"model.inner_widths: expected {expected} numbers, {INNER[style.block]} for each "
                f"of the {sum(self.depths)} blocks of {config.arch}, got {len(given)}"
            )
        if given and style.groups > 1:
            raise InputError(
                f"model.inner_widths: expected [], as the convolutions of {config.arch} are in "
                f"groups, got {list(given)}"
            )
        return given

    def _style(self, config: ModelConfig) -> Style:
        """Return the row's style with the configuration's changes."""
        changes: dict[str, Any] = {
            "stride_on_1x1": config.variant == "v1",
            "padding": config.padding,
            "attention": config.attention,
            "dropout": config.block_dropout,
            "zero_gamma": config.zero_gamma,
        }
        if config.variant in POOLED:
            changes["shortcut"] = "D"
        if config.shortcut != "auto":
            changes["shortcut"] = config.shortcut
        if config.pre_activation is not None:
            changes["pre_activation"] = config.pre_activation
        style = dataclasses.replace(self.style, **changes)
        if style.shortcut == "A" and style.block == "bottleneck":
            raise InputError(f"model.shortcut: expected B for {config.arch}'s bottlenecks, got A")
        if style.strides_last and not style.pre_activation:
            raise InputError(
                f"model.pre_activation: {config.arch} is pre-activated; for post-activation "
                f"take {config.arch.removesuffix('v2')}"
            )
        return style
