"""DenseNet-BC: every layer sees the maps of all layers before it (Huang et al. 2016).

Source: arXiv:1608.06993. 121 and 169 equal those of keras.applications.
"""

from dataclasses import dataclass
from typing import Any, ClassVar

from tfresnet.backend import keras
from tfresnet.config.sections import ModelConfig
from tfresnet.models.blocks import Conv, Style, convolution, norm_relu
from tfresnet.models.network import Block, Layers, Network, apply, classifier, scaled
from tfresnet.models.resnet import STEMS

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
    """Return what is between two stages: norm, ReLU, 1x1 to ``filters``, average pool."""
    return [
        *norm_relu(name),
        *convolution(Conv(filters, 1), "same", f"{name}_conv"),
        layers.AveragePooling2D(2, name=f"{name}_pool"),
    ]


class DenseNet(Network):
    """DenseNet-BC.

    Args:
        depths: blocks in each stage.
        growth: new channels of a block.
        stem_width: channels of the stem.
        num_classes: length of the logits.
        stem: ``cifar`` (a 3x3 alone) or ``imagenet``.
        padding: ``same`` or ``symmetric``, at the stem's strides.
        dropout: rate before the head.
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        growth: int,
        stem_width: int,
        num_classes: int,
        stem: str,
        padding: str,
        dropout: float,
        name: str,
    ):
        # The first block has a norm and a ReLU of its own; between it and a pool they come twice.
        style = Style(padding=padding, pre_activation=stem == "cifar")
        trunk, filters = STEMS[stem](stem_width, style), stem_width
        for stage, depth in enumerate(depths, start=1):
            if stage > 1:
                filters = int(filters * COMPRESSION)
                trunk += transition(filters, f"stage{stage}_transition")
            trunk += [DenseBlock(growth, f"stage{stage}_block{i + 1}") for i in range(depth)]
            filters += depth * growth
        trunk += norm_relu("final")
        super().__init__([*trunk, *classifier(num_classes, dropout)], name)


@dataclass(frozen=True)
class DenseNetRow:
    """A row of the table."""

    depths: tuple[int, ...]
    growth: int
    stem_width: int
    image_size: int
    num_classes: int

    family: ClassVar[str] = "densenet"

    def network(self, config: ModelConfig, stem: str, num_classes: int) -> DenseNet:
        """Return the network, not yet built."""
        return DenseNet(
            self.depths,
            scaled(self.growth, config.width),
            scaled(self.stem_width, config.width),
            num_classes,
            stem,
            config.padding,
            config.dropout,
            name=config.arch,
        )

    def shortest(self) -> "DenseNetRow":
        """Return the row itself: no two blocks are alike."""
        return self
