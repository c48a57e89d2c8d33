"""DenseNet-BC: every layer sees the maps of all layers before it (Huang et al. 2016).

Source: arXiv:1608.06993. 121 and 169 equal those of keras.applications.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models.blocks import Conv, Style, convolution, norm_relu
from tfresnet.models.network import Backbone, Block, Layers, Part, apply, scaled
from tfresnet.models.resnet import STEM_STRIDES, STEMS

layers = keras.layers
BOTTLENECK = 4  # channels of the 1x1 over those of the 3x3
COMPRESSION = 0.5  # of a transition's channels


class DenseBlock(Block):
    """``x`` and the ``growth`` new channels of norm, ReLU, 1x1, norm, ReLU, 3x3; float NHWC."""

    def __init__(self, growth: int, name: str):
        super().__init__(name=name)
        self.branch = [
            *norm_relu(name, 1),
            *convolution(Conv(BOTTLENECK * growth, 1), "same", f"{name}_conv1"),
            *norm_relu(name, 2),
            *convolution(Conv(growth, 3), "same", f"{name}_conv2"),
        ]
        self.join = layers.Concatenate(name=f"{name}_concat")

    def call(self, x: Any) -> Any:
        """Return the block's output for a float NHWC batch."""
        return self.join([x, apply(self.branch, x)])


def transition(filters: int, name: str) -> Layers:
    """Build a transition layer: norm, ReLU, 1x1 convolution to ``filters``, average pooling."""
    return [
        *norm_relu(name),
        *convolution(Conv(filters, 1), "same", f"{name}_conv"),
        layers.AveragePooling2D(2, name=f"{name}_pool"),
    ]


def densenet(
    depths: tuple[int, ...], growth: int, stem_width: int, stem: str, padding: str
) -> Backbone:
    """Build the backbone of a DenseNet-BC.

    Args:
        depths: blocks in each stage.
        growth: new channels of a block.
        stem_width: channels of the stem.
        stem: ``cifar`` (a 3x3 alone), ``cifar_pool`` or ``imagenet``.
        padding: ``same`` or ``symmetric``, at the stem's strides.
    """
    # The first block has a norm and a ReLU of its own; between it and a pool they come twice.
    style = Style(padding=padding, pre_activation=stem == "cifar")
    parts, filters = [Part("stem", STEMS[stem](stem_width, style))], stem_width
    for stage, depth in enumerate(depths, start=1):
        steps: Layers = []
        if stage > 1:
            filters = int(filters * COMPRESSION)
            steps += transition(filters, f"stage{stage}_transition")
        steps += [DenseBlock(growth, f"stage{stage}_block{i + 1}") for i in range(depth)]
        stride = STEM_STRIDES[stem] * 2 ** (stage - 1)
        parts.append(Part(f"stage{stage}", steps, len(steps), stride))
        filters += depth * growth
    return Backbone([*parts, Part("final", norm_relu("final"))])


@dataclass(frozen=True)
class DenseNetRow:
    """A row of the table of architectures."""

    depths: tuple[int, ...]
    growth: int
    stem_width: int
    image_size: int
    num_classes: int

    family: ClassVar[str] = "densenet"

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables."""
        return densenet(
            self.depths,
            scaled(self.growth, config.width),
            scaled(self.stem_width, config.width),
            stem,
            config.padding,
        )

    def shortest(self) -> "DenseNetRow":
        """Return the row itself: no two blocks are alike."""
        return self

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage occurs: once."""
        return (1,) * len(self.depths)
