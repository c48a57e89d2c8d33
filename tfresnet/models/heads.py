"""The heads of each task, by ``model.head``."""

from collections.abc import Callable

from tfresnet.config.sections import ModelConfig
from tfresnet.models import options
from tfresnet.models.center_head import BOX_STRIDE, POINT_STRIDE, CenterHead
from tfresnet.models.network import Head, LinearHead, scaled
from tfresnet.models.segmentation_heads import LrAsppHead, UNetHead
from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, POINTS, SEGMENTATION

MakeHead = Callable[[ModelConfig, int], Head]
LRASPP_WIDTH, BRANCH_WIDTH, SMALLEST_BRANCH = 128, 64, 32  # channels


def classification(config: ModelConfig, num_classes: int) -> Head:
    """Build the configured head of a classifier, with one label or many.

    Raises:
        InputError: it is a head of another task; the same below.
    """
    return HEADS[options.head(config, CLASSIFICATION)](config, num_classes)


def segmentation(config: ModelConfig, num_classes: int) -> Head:
    """Build the configured head that gives a class to every pixel."""
    return HEADS[options.head(config, SEGMENTATION)](config, num_classes)


def detection(config: ModelConfig, num_classes: int) -> Head:
    """Build the configured head that finds boxes or their centers."""
    return HEADS[options.head(config, DETECTION)](config, num_classes)


def points(config: ModelConfig, num_classes: int) -> Head:
    """Build the configured head that finds the centers of boxes."""
    return HEADS[options.head(config, POINTS)](config, num_classes)


def configured(config: ModelConfig, num_classes: int) -> Head:
    """Build the configured head, whatever its task; ``auto`` is that of a classifier."""
    name = options.HEADS[CLASSIFICATION][0] if config.head == "auto" else config.head
    return HEADS[name](config, num_classes)


def _linear(config: ModelConfig, num_classes: int) -> Head:
    return LinearHead(num_classes, config.dropout)


def _unet(config: ModelConfig, num_classes: int) -> Head:
    return UNetHead(num_classes, config.dropout)


def _lraspp(config: ModelConfig, num_classes: int) -> Head:
    return LrAsppHead(num_classes, scaled(LRASPP_WIDTH, config.width), config.dropout)


def _center(config: ModelConfig, num_classes: int) -> Head:
    return CenterHead(num_classes, _branch_width(config), BOX_STRIDE, sizes=True)


def _points(config: ModelConfig, num_classes: int) -> Head:
    return CenterHead(num_classes, _branch_width(config), POINT_STRIDE, sizes=False)


def _branch_width(config: ModelConfig) -> int:
    return max(SMALLEST_BRANCH, scaled(BRANCH_WIDTH, config.width))


HEADS: dict[str, MakeHead] = {
    "linear": _linear, "unet": _unet, "lraspp": _lraspp, "center": _center, "points": _points
}  # fmt: skip
