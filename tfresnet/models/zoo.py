"""The table of architectures, and the function that builds a network from a row.

After a new row, write the costs anew, which commands read without TensorFlow (``costs.json``):
``python -m tfresnet.models.zoo``.
"""

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

from tfresnet.config.sections import ModelConfig
from tfresnet.keras2 import keras
from tfresnet.models import heads, options
from tfresnet.models.blocks import Style
from tfresnet.models.densenet import DenseNetRow
from tfresnet.models.efficientnet import EfficientNetRow
from tfresnet.models.functional import functional, layer_macs, macs, parameters
from tfresnet.models.network import Backbone, Network
from tfresnet.models.pyramidnet import PyramidNetRow
from tfresnet.models.resnet import ResNetRow
from tfresnet.models.resnet9 import ResNet9Row
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.system.files import write_text

CIFAR_STEM_UP_TO = 64  # pixels; model.stem = auto
SMALL_STEMS = ("cifar", "cifar_pool", "whitened")  # those of images of 32 pixels
IMAGENET_WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)


class Row(Protocol):
    """An architecture: a row of the table, from which a backbone is built."""

    @property
    def image_size(self) -> int:
        """The side, in pixels, of the images that it was published for."""
        ...

    @property
    def num_classes(self) -> int:
        """The number of classes that it was published with."""
        ...

    @property
    def family(self) -> str:
        """The name of the architectures whose layers have the same names."""
        ...

    def backbone(self, config: ModelConfig, stem: str) -> Backbone:
        """Build the backbone, without its variables; ``stem`` is none but ``auto``."""
        ...

    def shortest(self) -> "Row":
        """Return a shorter row, where blocks that follow a stage's second one are equal to it."""
        ...

    def repetitions(self) -> tuple[int, ...]:
        """Return how often the second block of each stage of :meth:`shortest` occurs here."""
        ...


def _imagenet(depths: tuple[int, ...], style: Style) -> ResNetRow:
    return ResNetRow(depths, IMAGENET_WIDTHS, style, 64, 224, 1000)


def _cifar(depth: int, style: Style, factor: int = 1) -> ResNetRow:
    """Return the row of a network of 3 equal stages; ``factor`` widens them, not the stem."""
    widths = tuple(width * factor for width in CIFAR_WIDTHS)
    return ResNetRow((depth,) * 3, widths, style, 16, 32, 10)


PADDED, BOTTLENECK = Style(shortcut="A"), Style("bottleneck")
PRE_BASIC, PRE_BOTTLENECK = Style(pre_activation=True), Style("bottleneck", pre_activation=True)
SLIM_V2 = Style("bottleneck", pre_activation=True, conv_bias=True, strides_last=True)

ARCHITECTURES: dict[str, Row] = {
    # MLPerf Tiny's image classification model (Banbury et al. 2021, arXiv:2106.07597),
    # with batch norms in place of biases.
    "resnet8": _cifar(1, Style()),
    # Page 2018, How to train your ResNet: short and wide, for few epochs; narrow: with the widths
    # of Jordan 2024, arXiv:2404.00498.
    "resnet9": ResNet9Row(),
    "resnet9_narrow": ResNet9Row((64, 256, 256)),
    # He et al. 2015, section 4.2: 6n + 2 layers, option A.
    "resnet20": _cifar(3, PADDED),
    "resnet32": _cifar(5, PADDED),
    "resnet44": _cifar(7, PADDED),
    "resnet56": _cifar(9, PADDED),
    "resnet110": _cifar(18, PADDED),
    # He et al. 2016, arXiv:1603.05027: 9n + 2 layers, pre-activated bottlenecks.
    "resnet164": _cifar(18, PRE_BOTTLENECK),
    "resnet1001": _cifar(111, PRE_BOTTLENECK),
    # Zagoruyko and Komodakis 2016, arXiv:1605.07146: 6n + 4 layers, k times as wide.
    "wrn16_8": _cifar(2, PRE_BASIC, factor=8),
    "wrn28_10": _cifar(4, PRE_BASIC, factor=10),
    "wrn40_4": _cifar(6, PRE_BASIC, factor=4),
    # Xie et al. 2016, arXiv:1611.05431, section 5.3.
    "resnext29_8x64d": ResNetRow(
        (3, 3, 3), (64, 128, 256), Style("bottleneck", groups=8, group_width=64), 64, 32, 10
    ),
    # timm's small ones, there with the stems of model.variant d or t.
    "resnet10": _imagenet((1, 1, 1, 1), Style()),
    "resnet14": _imagenet((1, 1, 1, 1), BOTTLENECK),
    "resnet26": _imagenet((2, 2, 2, 2), BOTTLENECK),
    # He et al. 2015, table 1; 200 is He et al. 2016's.
    "resnet18": _imagenet((2, 2, 2, 2), Style()),
    "resnet34": _imagenet((3, 4, 6, 3), Style()),
    "resnet50": _imagenet((3, 4, 6, 3), BOTTLENECK),
    "resnet101": _imagenet((3, 4, 23, 3), BOTTLENECK),
    "resnet152": _imagenet((3, 8, 36, 3), BOTTLENECK),
    "resnet200": _imagenet((3, 24, 36, 3), BOTTLENECK),
    # Pre-activated as TF-Slim and keras.applications have them: a stage's last block is strided,
    # and what no norm follows has a bias. He et al.'s own layout is resnet50 with pre_activation.
    "resnet50v2": _imagenet((3, 4, 6, 3), SLIM_V2),
    "resnet101v2": _imagenet((3, 4, 23, 3), SLIM_V2),
    "resnet152v2": _imagenet((3, 8, 36, 3), SLIM_V2),
    # Xie et al. 2016, table 1; 101 as torchvision has it.
    "resnext50_32x4d": _imagenet((3, 4, 6, 3), Style("bottleneck", groups=32, group_width=4)),
    "resnext101_32x8d": _imagenet((3, 4, 23, 3), Style("bottleneck", groups=32, group_width=8)),
    # Han et al. 2016, arXiv:1610.02915, table 4.
    "pyramidnet110_a48": PyramidNetRow((18, 18, 18), 48),
    "pyramidnet110_a84": PyramidNetRow((18, 18, 18), 84),
    "pyramidnet110_a270": PyramidNetRow((18, 18, 18), 270),
    # Huang et al. 2016, arXiv:1608.06993, tables 1 and 2.
    "densenet_bc100_12": DenseNetRow((16, 16, 16), 12, 24, 32, 10),
    "densenet121": DenseNetRow((6, 12, 24, 16), 32, 64, 224, 1000),
    "densenet169": DenseNetRow((6, 12, 32, 32), 32, 64, 224, 1000),
    # Tan and Le 2019, arXiv:1905.11946: width, depth, image size.
    "efficientnet_b0": EfficientNetRow(1.0, 1.0, 224),
    "efficientnet_b1": EfficientNetRow(1.0, 1.1, 240),
    "efficientnet_b2": EfficientNetRow(1.1, 1.2, 260),
    "efficientnet_b3": EfficientNetRow(1.2, 1.4, 300),
}


def architecture(name: str) -> Row:
    """Return the row called ``name``, or raise an ``InputError`` with the closest match."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def native_size(config: ModelConfig) -> int:
    """Return the usual image size of an architecture, in pixels: 32 with a CIFAR stem."""
    return 32 if config.stem in SMALL_STEMS else architecture(config.arch).image_size


def build(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    precision: str = "float32",
    head: heads.MakeHead = heads.configured,
) -> Network:
    """Build a network with new weights.

    Args:
        config: the architecture and its options.
        image_shape: height, width and channels of the images.
        num_classes: of the dataset; that of the configuration, if set, must agree with it. With
            neither, it is what the architecture was published with.
        precision: a Keras policy: ``float32``, ``mixed_bfloat16``, ``mixed_float16``.
        head: makes the task's head from the configuration and the number of classes.

    Raises:
        InputError: an unknown architecture, an option that it does not have, or numbers of classes
            that differ.
    """
    row = architecture(config.arch)
    return _build(row, config, image_shape, num_classes, precision, head)


def cost(config: ModelConfig, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return the trainable parameters, and the multiply-adds of one image, of a network.

    From the second on, the blocks of a stage are equal, so two of each stage are built and the
    second is counted as often as it occurs: seconds instead of minutes for a thousand layers. With
    ``model.inner_widths`` each block is another, so all are built.
    """
    row = architecture(config.arch)
    if config.inner_widths:
        model = _build(row, config, image_shape, None, "float32", heads.configured)
        return parameters(model), macs(model, image_shape)
    model = _build(row.shortest(), config, image_shape, None, "float32", heads.configured)
    times = _repetitions(model, row.repetitions())
    twin = functional(model, image_shape)
    return (
        sum(times.get(id(layer), 1) * parameters(layer) for layer in twin.layers),
        sum(times.get(id(layer), 1) * count for layer, count in layer_macs(twin)),
    )


def shortest(config: ModelConfig, image_shape: tuple[int, int, int], num_classes: int) -> Network:
    """Build a network without blocks that follow a stage's second one and are equal to it."""
    row = architecture(config.arch).shortest()
    return _build(row, config, image_shape, num_classes, "float32", heads.configured)


def costs() -> dict[str, dict[str, int | str]]:
    """Return ``parameters macs image_size family`` of every row, as ``costs.json`` has them."""
    table: dict[str, dict[str, int | str]] = {}
    for name, row in ARCHITECTURES.items():
        count, macs = cost(ModelConfig(arch=name), (row.image_size, row.image_size, 3))
        size, family = row.image_size, row.family
        table[name] = {
            "parameters": count, "macs": macs, "image_size": size, "family": family
        }  # fmt: skip
    return table


def _repetitions(model: Network, counts: tuple[int, ...]) -> dict[int, int]:
    """Return the count of each layer in a stage's second block, by the layer's id."""
    stages = [part for part in model.backbone.parts if part.level is not None]
    return {
        id(layer): count
        for stage, count in zip(stages, counts, strict=False)
        for block in stage.layers[1:2]
        for layer in block.submodules
    }


def _build(
    row: Row,
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    precision: str,
    head: heads.MakeHead,
) -> Network:
    if config.num_classes and num_classes and config.num_classes != num_classes:
        raise InputError(
            f"model.num_classes: expected {num_classes} (the dataset's classes), "
            f"got {config.num_classes}; leave it out"
        )
    options.check(config, row.family)
    with _policy(precision):
        classes = num_classes or config.num_classes or row.num_classes
        backbone = row.backbone(config, stem(config, image_shape))
        model = Network(backbone, head(config, classes), config.arch)
        model.build((None, *image_shape))
    return model


def stem(config: ModelConfig, image_shape: tuple[int, int, int]) -> str:
    """Return the configuration's stem; for ``auto``, ``cifar`` or ``imagenet`` by the size."""
    small = max(image_shape[:2]) <= CIFAR_STEM_UP_TO
    return ("cifar" if small else "imagenet") if config.stem == "auto" else config.stem


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Set the global mixed-precision policy while the context lasts."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)


if __name__ == "__main__":
    write_text(Path(__file__).parent / "costs.json", json.dumps(costs(), indent=1) + "\n")
