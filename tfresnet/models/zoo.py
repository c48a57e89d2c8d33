"""The table of variants, and the one function that builds a row of it."""

import contextlib
import dataclasses
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import tf_keras as keras

from tfresnet.config import ModelConfig
from tfresnet.errors import UserError, unknown
from tfresnet.models.blocks import Style
from tfresnet.models.functional import functional, layer_macs, parameters
from tfresnet.models.resnet import ResNet

CIFAR_STEM_UP_TO = 64  # pixels; model.stem = auto
IMAGENET_WIDTHS = (64, 128, 256, 512)
CIFAR_WIDTHS = (16, 32, 64)


@dataclass(frozen=True)
class Architecture:
    """A row of the table: what tells one ResNet from another."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    style: Style
    stem_width: int
    image_size: int  # that the architecture was published for
    num_classes: int


def _imagenet(depths: tuple[int, ...], style: Style) -> Architecture:
    return Architecture(depths, IMAGENET_WIDTHS, style, 64, 224, 1000)


def _cifar(depth: int, style: Style, factor: int = 1) -> Architecture:
    """Return a network of 3 equal stages; ``factor`` widens the stages but not the stem."""
    widths = tuple(width * factor for width in CIFAR_WIDTHS)
    return Architecture((depth,) * 3, widths, style, 16, 32, 10)


PADDED, BOTTLENECK = Style(shortcut="A"), Style("bottleneck")
PRE_BASIC, PRE_BOTTLENECK = Style(pre_activation=True), Style("bottleneck", pre_activation=True)

ARCHITECTURES = {
    # MLPerf Tiny's image classification model (Banbury et al. 2021, arXiv:2106.07597),
    # with batch norms in place of biases.
    "resnet8": _cifar(1, Style()),
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
    "resnext29_8x64d": Architecture(
        (3, 3, 3), (64, 128, 256), Style("bottleneck", groups=8, group_width=64), 64, 32, 10
    ),
    # He et al. 2015, table 1; 200 is He et al. 2016's.
    "resnet18": _imagenet((2, 2, 2, 2), Style()),
    "resnet34": _imagenet((3, 4, 6, 3), Style()),
    "resnet50": _imagenet((3, 4, 6, 3), BOTTLENECK),
    "resnet101": _imagenet((3, 4, 23, 3), BOTTLENECK),
    "resnet152": _imagenet((3, 8, 36, 3), BOTTLENECK),
    "resnet200": _imagenet((3, 24, 36, 3), BOTTLENECK),
    # Xie et al. 2016, table 1; 101 as torchvision has it.
    "resnext50_32x4d": _imagenet((3, 4, 6, 3), Style("bottleneck", groups=32, group_width=4)),
    "resnext101_32x8d": _imagenet((3, 4, 23, 3), Style("bottleneck", groups=32, group_width=8)),
}


def architecture(name: str) -> Architecture:
    """Return the row called ``name``, or raise a ``UserError`` with the closest match."""
    if name not in ARCHITECTURES:
        raise unknown("architecture", name, ARCHITECTURES)
    return ARCHITECTURES[name]


def native_size(config: ModelConfig) -> int:
    """Return the image size that is usual for an architecture: 32 with a CIFAR stem."""
    return 32 if config.stem == "cifar" else architecture(config.arch).image_size


def build(
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int | None = None,
    precision: str = "float32",
) -> ResNet:
    """Return a built model with fresh weights for images of ``image_shape`` (H, W, C).

    ``num_classes`` is the dataset's; the configuration's, if set, must agree with it. With
    neither, it is what the architecture was published with. ``precision`` is a Keras policy.
    """
    return _build(architecture(config.arch), config, image_shape, num_classes, precision)


def cost(config: ModelConfig, image_shape: tuple[int, int, int]) -> tuple[int, int]:
    """Return trainable parameters and multiply-adds of one image, as the built model has them.

    From the second on, the blocks of a stage are alike, so two of each stage are built and the
    second is counted as often as it occurs: seconds instead of minutes for a thousand layers.
    """
    row = architecture(config.arch)
    short = dataclasses.replace(row, depths=tuple(min(2, depth) for depth in row.depths))
    model = _build(short, config, image_shape, None, "float32")
    totals = [0, 0]
    for layer in functional(model, image_shape).layers:
        stage = re.match(r"stage(\d+)_block2_", layer.name)
        times = row.depths[int(stage[1]) - 1] - 1 if stage else 1
        totals[0] += times * parameters(layer)
        totals[1] += times * layer_macs(layer)
    return totals[0], totals[1]


def _build(
    row: Architecture,
    config: ModelConfig,
    image_shape: tuple[int, int, int],
    num_classes: int | None,
    precision: str,
) -> ResNet:
    if config.num_classes and num_classes and config.num_classes != num_classes:
        raise UserError(
            f"model.num_classes: expected {num_classes} (the dataset's classes), "
            f"got {config.num_classes}; leave it out"
        )
    with _policy(precision):
        model = ResNet(
            row.depths,
            tuple(_scaled(width, config.width) for width in row.widths),
            _scaled(row.stem_width, config.width),
            num_classes or config.num_classes or row.num_classes,
            _stem(config, image_shape),
            _style(row, config),
            config.stochastic_depth,
            config.dropout,
            name=config.arch,
        )
        model.build((None, *image_shape))
    return model


def _stem(config: ModelConfig, image_shape: tuple[int, int, int]) -> str:
    small = max(image_shape[:2]) <= CIFAR_STEM_UP_TO
    stem = ("cifar" if small else "imagenet") if config.stem == "auto" else config.stem
    return "deep" if stem == "imagenet" and config.variant == "d" else stem


def _style(row: Architecture, config: ModelConfig) -> Style:
    """Return the row's style with what the configuration changes."""
    changes: dict[str, Any] = {
        "stride_on_1x1": config.variant == "v1",
        "padding": config.padding,
        "attention": config.attention,
        "dropout": config.block_dropout,
        "zero_gamma": config.zero_gamma,
    }
    if config.variant == "d":
        changes["shortcut"] = "D"
    if config.shortcut != "auto":
        changes["shortcut"] = config.shortcut
    if config.pre_activation is not None:
        changes["pre_activation"] = config.pre_activation
    style = dataclasses.replace(row.style, **changes)
    if style.shortcut == "A" and style.block == "bottleneck":
        raise UserError(f"model.shortcut: expected B for {config.arch}'s bottlenecks, got A")
    return style


def _scaled(channels: int, factor: float, divisor: int = 8) -> int:
    """Return ``factor`` times ``channels``, to the nearest multiple of 8 but at least 8."""
    return channels if factor == 1 else max(divisor, round(channels * factor / divisor) * divisor)


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Create layers under a mixed-precision policy, and leave the global one as it was."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
