"""ResNet-9: a short and wide residual network that learns small pictures in few epochs.

Source: D. Page, *How to train your ResNet* (2018), part 4, which won DAWNBench's CIFAR-10 task;
with the average pooling of the other networks here in place of a global maximum. The whitened stem
is from its part 8 (2019), as Jordan (2024, arXiv:2404.00498) has it.
"""

from dataclasses import dataclass
from typing import ClassVar

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models.blocks import Conv, ResidualBlock, Style, convolution, norm_relu
from tfresnet.models.network import Backbone, Layers, Part, scaled
from tfresnet.models.resnet import imagenet_stem

layers = keras.layers

WHITENED = "stem_whitened"  # the convolution whose kernel is from the data, see training.whitening
WHITENED_KERNEL = 2
WHITENED_CHANNELS = 2 * WHITENED_KERNEL**2 * 3  # each direction of a color patch, and its negative


def resnet9(
    widths: tuple[int, ...], residual: tuple[bool, ...], stem_width: int, stem: str, style: Style
) -> Backbone:
    """Build the backbone.

    Args:
        widths: channels of each stage, which begins with a convolution and a max pool.
        residual: whether a block of two convolutions follows, of each stage.
        stem_width: channels of the stem.
        stem: a key of ``STEMS``.
        style: padding, attention.
    """
    make, stem_stride = STEMS[stem]
    parts = [Part("stem", make(stem_width, style))]
    for number, (width, has_block) in enumerate(zip(widths, residual, strict=True), start=1):
        name = f"stage{number}"
        steps = [
            *_unit(width, style, name),
            layers.MaxPooling2D(2, padding="same", name=f"{name}_pool"),
        ]
        if has_block:
            steps.append(_block(width, style, f"{name}_block1"))
        parts.append(Part(name, steps, len(steps), stem_stride * 2**number))
    return Backbone(parts)


def _cifar_stem(width: int, style: Style) -> Layers:
    """Build a 3x3 convolution, a norm and a ReLU."""
    return _unit(width, style, "stem")


def _whitened_stem(width: int, style: Style) -> Layers:
    """Build a 2x2 convolution that is not trained, a norm and a ReLU; its width is always 24."""
    whitened = layers.Conv2D(
        WHITENED_CHANNELS,
        WHITENED_KERNEL,
        padding="same",
        use_bias=False,
        trainable=False,
        name=WHITENED,
    )
    return [whitened, *norm_relu("stem")]


# Stems by the values of ``model.stem``, and their strides.
STEMS = {
    "cifar": (_cifar_stem, 1),
    "whitened": (_whitened_stem, 1),
    "imagenet": (imagenet_stem, 4),
}


def _unit(width: int, style: Style, name: str, number: int | str = "") -> Layers:
    """Build a 3x3 convolution, a norm and a ReLU."""
    steps = convolution(Conv(width, 3), style.padding, f"{name}_conv{number}")
    return [*steps, *norm_relu(name, number)]


def _block(width: int, style: Style, name: str) -> ResidualBlock:
    """Build a block whose branch ends with a ReLU and is added to its input as it is."""
    branch = [*_unit(width, style, name, 1), *_unit(width, style, name, 2)]
    return ResidualBlock(
        name, width, branch, shortcut=[], before=[], after=[], attention=style.attention
    )


@dataclass(frozen=True)
class ResNet9Row:
    """A row of the table of architectures."""

    widths: tuple[int, ...] = (128, 256, 512)
    residual: tuple[bool, ...] = (True, False, True)
    stem_width: int = 64
    image_size: int = 32
    num_classes: int = 10

    family: ClassVar[str] = "resnet9"

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables."""
        return resnet9(
            tuple(scaled(width, config.width) for width in self.widths),
            self.residual,
            scaled(self.stem_width, config.width),
            stem,
            Style(padding=config.padding, attention=config.attention),
        )

    def shortest(self) -> "ResNet9Row":
        """Return the row itself: no stage has two blocks."""
        return self

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage occurs: there is none."""
        return (1,) * len(self.widths)
