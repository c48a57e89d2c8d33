"""Check which augmentations and losses fit a task; loads no TensorFlow."""

from typing import Any

from tfresnet.config.sections import DataConfig, TrainConfig
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, MULTI_LABEL, POINTS, SEGMENTATION

# What each value of data.task learns.
TASKS = {"classify": CLASSIFICATION, "segment": SEGMENTATION, "detect": DETECTION}
SCALE, COLOR, OFF = "take data.scale", "take data.color", "leave it out"
# Augmentations that change images alone, which masks and boxes would no longer fit: when they are
# off, and what to do instead. The default of crop_padding counts as off.
IMAGES_ALONE: dict[str, tuple[tuple[Any, ...], str]] = {
    "crop_padding": ((0, DataConfig.model_fields["crop_padding"].default), SCALE),
    "random_resized_crop": ((0,), SCALE),
    "progressive": (({},), SCALE),
    "randaugment": ((0,), COLOR),
    "policy": (("none",), COLOR),
    "cutout": ((0,), OFF),
    "erasing": ((0,), OFF),
    "mixup_alpha": ((0,), OFF),
    "cutmix_alpha": ((0,), OFF),
}
NO_SCALE = [1, 1]


# Keys of the training section whose losses a task does not have: the values that it takes.
TRAINING: dict[str, dict[str, tuple[Any, ...]]] = {
    CLASSIFICATION: {"class_weights": ("none", "balanced"), "dice": (0,)},
    MULTI_LABEL: {"class_weights": ("none",), "dice": (0,), "teacher": (None,)},
    SEGMENTATION: {
        "loss": ("cross_entropy",),
        "class_weights": ("none", "median_frequency"),
        "teacher": (None,),
    },
    DETECTION: {
        "loss": ("cross_entropy",),
        "class_weights": ("none",),
        "label_smoothing": (0,),
        "dice": (0,),
        "teacher": (None,),
    },
}
TRAINING[POINTS] = TRAINING[DETECTION]


def check_training(config: TrainConfig, task: str) -> None:
    """Raise an ``InputError`` for a setting of the loss that the task would not heed."""
    for key, taken in TRAINING.get(task, {}).items():
        value = getattr(config, key)
        if value not in taken:
            wanted = " or ".join("none" if each is None else str(each) for each in taken)
            raise InputError(
                f"train.{key}: expected {wanted} for {task.replace('_', '-')}, got {value}"
            )


def has_places(task: str) -> bool:
    """Tell whether a task's truth has places in the picture: masks or boxes."""
    return task not in (CLASSIFICATION, MULTI_LABEL)


def check(config: DataConfig, task: str) -> None:
    """Raise an ``InputError`` for an augmentation that does not fit the task.

    Args:
        config: the data section.
        task: as :class:`.OutputSpec` has it.
    """
    low, high = config.scale
    if low > high:
        raise InputError(f"data.scale: expected the smaller factor first, got {config.scale}")
    if not has_places(task):
        if config.scale != NO_SCALE:
            raise InputError(
                f"data.scale: expected [1, 1] for {task.replace('_', '-')} data, got "
                f"{config.scale}; take data.random_resized_crop"
            )
        return
    truth = "masks" if task == SEGMENTATION else "boxes"
    for key, (off, advice) in IMAGES_ALONE.items():
        value = getattr(config, key)
        if value not in off:
            raise InputError(
                f"data.{key}: expected {off[0]} for {task}, since it changes images without their "
                f"{truth}, got {value}; {advice}"
            )
