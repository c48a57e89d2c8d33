"""The table of variants, and the one function that builds a row of it."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import tf_keras as keras

from tfresnet.config import ModelConfig
from tfresnet.errors import UserError, unknown
from tfresnet.models.resnet import ResNet

CIFAR_STEM_UP_TO = 64  # pixels; model.stem = auto


@dataclass(frozen=True)
class Architecture:
    """A row of the table: what tells one ResNet from another."""

    depths: tuple[int, ...]
    widths: tuple[int, ...]
    shortcut: str
    image_size: int  # that the architecture was published for
    num_classes: int


ARCHITECTURES = {
    # MLPerf Tiny's image classification model (Banbury et al. 2021, arXiv:2106.07597),
    # with batch norms in place of biases.
    "resnet8": Architecture((1, 1, 1), (16, 32, 64), "B", 32, 10),
    # He et al. 2015, section 4.2: n = 3, option A.
    "resnet20": Architecture((3, 3, 3), (16, 32, 64), "A", 32, 10),
    # He et al. 2015, table 1.
    "resnet18": Architecture((2, 2, 2, 2), (64, 128, 256, 512), "B", 224, 1000),
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
    row = architecture(config.arch)
    if config.num_classes and num_classes and config.num_classes != num_classes:
        raise UserError(
            f"model.num_classes: expected {num_classes} (the dataset's classes), "
            f"got {config.num_classes}; leave it out"
        )
    auto = "cifar" if max(image_shape[:2]) <= CIFAR_STEM_UP_TO else "imagenet"
    with _policy(precision):
        model = ResNet(
            row.depths,
            row.widths,
            num_classes or config.num_classes or row.num_classes,
            auto if config.stem == "auto" else config.stem,
            row.shortcut,
            config.zero_gamma,
            name=config.arch,
        )
        model.build((None, *image_shape))
    return model


@contextlib.contextmanager
def _policy(name: str) -> Iterator[None]:
    """Create layers under a mixed-precision policy, and leave the global one as it was."""
    before = keras.mixed_precision.global_policy()
    keras.mixed_precision.set_global_policy(name)
    try:
        yield
    finally:
        keras.mixed_precision.set_global_policy(before)
