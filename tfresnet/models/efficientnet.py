"""EfficientNet: inverted residuals with squeeze and excitation, scaled in depth and width.

Source: Tan and Le 2019, arXiv:1905.11946; equal to those of keras.applications.
"""

import math
from dataclasses import dataclass
from string import ascii_lowercase
from typing import Any, ClassVar, NamedTuple

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models.blocks import (
    Conv,
    convolution,
    he_normal,
    norm,
    padded,
    squeeze_excitation,
    stochastic_depth,
)
from tfresnet.models.network import Backbone, Block, Layers, Part, apply, scaled

layers = keras.layers
STEM_WIDTH, TOP_WIDTH = 32, 1280
EPSILON = 1e-3


class Stage(NamedTuple):
    """A line of the paper's table 1."""

    repeats: int
    filters: int
    kernel: int
    strides: int
    expansion: int


STAGES = (
    Stage(1, 16, 3, 1, 1),
    Stage(2, 24, 3, 2, 6),
    Stage(2, 40, 5, 2, 6),
    Stage(3, 80, 3, 2, 6),
    Stage(3, 112, 5, 1, 6),
    Stage(4, 192, 5, 2, 6),
    Stage(1, 320, 3, 1, 6),
)


def norm_swish(name: str, number: int | str = "") -> Layers:
    """Return a batch norm and a swish."""
    return [
        norm(f"{name}_bn{number}", epsilon=EPSILON),
        layers.Activation("swish", name=f"{name}_swish{number}"),
    ]


def depthwise(kernel: int, strides: int, padding: str, name: str) -> Layers:
    """Return a depthwise convolution without bias, padded as :func:`convolution` does."""
    explicit = padding == "symmetric" and strides > 1
    layer = layers.DepthwiseConv2D(
        kernel,
        strides,
        padding="valid" if explicit else "same",
        use_bias=False,
        depthwise_initializer=he_normal(),
        name=name,
    )
    return [*padded(kernel, name), layer] if explicit else [layer]


class MobileBlock(Block):
    """1x1 to more channels, depthwise, squeeze and excitation, 1x1; plus ``x`` if shapes agree.

    Args:
        stage: a line of the table.
        in_filters: channels of the input.
        strides: 1, or 2 to halve height and width.
        padding: ``same`` or ``symmetric``, at strides of 2.
        drop_rate: of stochastic depth.
        zero_gamma: a block with a shortcut starts as the identity.
        name: prefix of all its layers' names.
    """

    def __init__(
        self,
        stage: Stage,
        in_filters: int,
        strides: int,
        padding: str,
        drop_rate: float,
        zero_gamma: bool,
        name: str,
    ):
        super().__init__(name=name)
        self.adds = strides == 1 and in_filters == stage.filters
        expanded = in_filters * stage.expansion
        self.expand: Layers = []
        if stage.expansion > 1:
            self.expand = convolution(Conv(expanded, 1), padding, f"{name}_conv1")
            self.expand += norm_swish(name, 1)
        self.filter = depthwise(stage.kernel, strides, padding, f"{name}_depthwise")
        self.filter += norm_swish(name, 2)
        reduced = max(1, in_filters // 4)
        self.gate = squeeze_excitation(expanded, f"{name}_se", reduced, "swish")
        self.multiply = layers.Multiply(name=f"{name}_se_scale")
        gamma = 0.0 if zero_gamma and self.adds else 1.0
        self.project = [
            *convolution(Conv(stage.filters, 1), padding, f"{name}_conv3"),
            norm(f"{name}_bn3", gamma, EPSILON),
        ]
        self.drop = stochastic_depth(drop_rate, name) if self.adds else []
        self.add = layers.Add(name=f"{name}_add")

    def call(self, x: Any) -> Any:
        """Return the block's output for a float NHWC batch."""
        y = apply(self.filter, apply(self.expand, x))
        y = self.multiply([y, apply(self.gate, y)])
        y = apply(self.project, y)
        return self.add([apply(self.drop, y), x]) if self.adds else y


def efficientnet(
    stages: tuple[Stage, ...],
    stem_width: int,
    top_width: int,
    stem: str,
    padding: str,
    drop_rate: float,
    zero_gamma: bool,
) -> Backbone:
    """Build the backbone of an EfficientNet.

    Its parts are blocks of equal stride; those before the first stride belong to the stem. Blocks
    have the names that keras.applications gives them: the line of the paper's table, and a letter
    for the repeat.

    Args:
        stages: lines of the table, already scaled.
        stem_width, top_width: channels of the first and of the last convolution.
        stem: ``cifar`` (stride 1) or ``imagenet`` (stride 2).
        padding: ``same`` or ``symmetric``, at strides of 2.
        drop_rate: of the last block; stochastic depth is linear from 0 at the input.
        zero_gamma: blocks start as the identity.
    """
    first = Conv(stem_width, 3, 1 if stem == "cifar" else 2)
    steps: dict[str, Layers] = {
        "stem": [*convolution(first, padding, "stem_conv"), *norm_swish("stem")]
    }
    filters, count, name = stem_width, 0, "stem"
    for line, stage in enumerate(stages, start=1):
        if stage.strides > 1:
            name = f"stage{len(steps)}"
            steps[name] = []
        for repeat in range(stage.repeats):
            count += 1
            strides = stage.strides if repeat == 0 else 1
            rate = drop_rate * count / sum(s.repeats for s in stages)
            block = f"{name}_block{line}{ascii_lowercase[repeat]}"
            steps[name].append(
                MobileBlock(stage, filters, strides, padding, rate, zero_gamma, block)
            )
            filters = stage.filters
    top = [*convolution(Conv(top_width, 1), padding, "final_conv"), *norm_swish("final")]
    levels = [
        Part(name, blocks, len(blocks), first.strides * 2**number)
        for number, (name, blocks) in enumerate(list(steps.items())[1:], start=1)
    ]
    return Backbone([Part("stem", steps["stem"]), *levels, Part("final", top)])


@dataclass(frozen=True)
class EfficientNetRow:
    """A row of the table: the paper's scaling of width and depth."""

    width: float
    depth: float
    image_size: int
    stages: tuple[Stage, ...] = STAGES
    num_classes: int = 1000

    family: ClassVar[str] = "efficientnet"

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables."""

        def width(filters: int) -> int:
            return scaled(_rounded(filters * self.width), config.width)

        return efficientnet(
            tuple(
                s._replace(repeats=math.ceil(s.repeats * self.depth), filters=width(s.filters))
                for s in self.stages
            ),
            width(STEM_WIDTH),
            width(TOP_WIDTH),
            stem,
            config.padding,
            config.stochastic_depth,
            config.zero_gamma,
        )

    def shortest(self) -> "EfficientNetRow":
        """Return the row itself: it is short."""
        return self

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage occurs: once."""
        return (1,) * len(self.stages)


def _rounded(filters: float, divisor: int = 8) -> int:
    """Return the nearest multiple of 8 that is at least 9/10 of ``filters``."""
    nearest = max(divisor, int(filters + divisor / 2) // divisor * divisor)
    return nearest if nearest >= 0.9 * filters else nearest + divisor
