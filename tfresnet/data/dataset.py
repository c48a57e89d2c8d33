"""A dataset as training and evaluation see it: its splits and what they mean."""

from dataclasses import dataclass

from tfresnet.config.sections import DataConfig
from tfresnet.data.splits import Split
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION, MULTI_LABEL, InputSpec, OutputSpec


@dataclass(frozen=True)
class Dataset:
    """A training split and a held-out split.

    Attributes:
        train: the training images.
        held_out: the images to evaluate on.
        spec: size and channels of the images, and how models normalize them.
        output: what the labels mean.
        notes: lines for a person: what was left out, or what may be a mistake.
        validation: training images that are not trained on, to stop by and to keep an epoch by;
            None if there are none.
    """

    train: Split
    held_out: Split
    spec: InputSpec
    output: OutputSpec
    notes: tuple[str, ...] = ()
    validation: Split | None = None


DEFAULT_CROP = 0.875


def default_crop(size: int, large: float = DEFAULT_CROP) -> float:
    """Return the default ``crop_fraction`` of networks for images of ``size`` pixels.

    Small images are seen as a whole; of others the share ``large`` of the sides is kept.
    """
    return large if size > 64 else 1.0


def input_spec(
    config: DataConfig,
    default_size: int | tuple[int, int],
    task: str = CLASSIFICATION,
    crop: float | None = None,
) -> InputSpec:
    """Return the input of a model for a task: what the configuration says, or else the defaults.

    The whole picture is seen where each place of it has a truth, and its center for a label;
    ``crop`` is then the share of the sides that is usual for large images, by default 0.875.

    Raises:
        InputError: the configuration crops pictures whose every place has a truth.
    """
    default = (default_size,) * 2 if isinstance(default_size, int) else default_size
    height, width = config.height_and_width or default
    center = (128.0,) * config.channels  # the normalization that InputSpec explains
    if task in (CLASSIFICATION, MULTI_LABEL):
        usual = default_crop(max(height, width), crop or DEFAULT_CROP)
        kept = config.crop_fraction or usual
        return InputSpec(height, width, center, center, crop_fraction=kept)
    if config.crop_fraction not in (None, 1):
        raise InputError(
            f"data.crop_fraction: expected 1 for {task}, which sees the whole picture, got "
            f"{config.crop_fraction:g}; leave it out"
        )
    return InputSpec(height, width, center, center, fit="stretch")
