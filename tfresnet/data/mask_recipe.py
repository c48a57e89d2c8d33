"""Choose settings for a folder of images and masks; loads no TensorFlow.

The settings start from the preset ``scenes``. What a user sets stays as it is.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import DataConfig, RunConfig
from tfresnet.data import mask_folder
from tfresnet.data.picture_sizes import sample
from tfresnet.system.files import expanded

PRESET = "scenes"
STEP = 32  # pixels: networks halve their images five times
LONGEST = 480  # pixels of the longer side
IMAGES_SEEN = 30_000  # in a whole training, divided by the pictures for the number of epochs
EPOCHS = (30, 150)


@dataclass(frozen=True)
class Scenes:
    """The properties of a folder that its settings are chosen by.

    Attributes:
        count: pictures to train on.
        classes: the number of classes of pixels.
        height: the median, in pixels.
        width: the median, in pixels.
    """

    count: int
    classes: int
    height: int
    width: int


def for_folder(path: Path, data: DataConfig, overrides: Iterable[str]) -> RunConfig:
    """Choose a configuration for the images in a folder; its description names the choices.

    Args:
        path: the folder.
        data: the data section of the overrides.
        overrides: ``section.key=value``, which replace what is chosen. With ``model.arch`` the
            network has its full width; with ``train.init_from`` it is that of the weights.

    Raises:
        InputError: anything that is wrong with the folder or with an override.
    """
    overrides = list(overrides)
    scenes = look(path, data)
    settings = [loading.setting(key, value) for key, value in choose(scenes).items()]
    values = loading.preset(PRESET)
    if {"model.arch", "train.init_from"} & {each.partition("=")[0] for each in overrides}:
        del values["model"]
    config = loading.validate(values, overrides=[*settings, *overrides])
    return config.model_copy(update={"description": summary(scenes, config)})


def look(path: Path, data: DataConfig) -> Scenes:
    """Scan a folder; a hundred pictures are opened for their size, and none is decoded."""
    labels = expanded(data.labels) if data.labels else None
    found = mask_folder.scan(path, labels, data.skip_broken)
    paths = found.train[0]
    count = len(paths) if found.held_out else round(len(paths) * (1 - data.eval_fraction))
    height, width = (round(statistics.median(side)) for side in zip(*sample(paths), strict=True))
    return Scenes(count, len(found.classes.labels), height, width)


def choose(scenes: Scenes) -> dict[str, Any]:
    """Choose the settings that depend on the pictures, by ``section.key``.

    The images are as large as the pictures, rounded to multiples of 32, and their longer side has
    at most 480 pixels. The fewer the pictures, the more epochs.
    """
    factor = min(1, LONGEST / max(scenes.height, scenes.width))
    size = [max(STEP, round(side * factor / STEP) * STEP) for side in (scenes.height, scenes.width)]
    lowest, highest = EPOCHS
    return {
        "data.image_size": size,
        "train.batch_size": max(1, min(8, scenes.count)),
        "train.epochs": min(highest, max(lowest, round(IMAGES_SEEN / max(1, scenes.count)))),
    }


def summary(scenes: Scenes, config: RunConfig) -> str:
    """Return one line about the pictures and the settings that were chosen for them."""
    model, training = config.model, config.train
    size = config.data.height_and_width
    pixels = f", images of {size[1]} x {size[0]} pixels" if size else ""
    return (
        f"Recipe {PRESET} for {scenes.count:,} pictures with masks of {scenes.classes} classes, "
        f"{scenes.width} x {scenes.height} pixels: {model.arch}, {model.width:g} of its width"
        f"{pixels}, batches of {training.batch_size}, rate {training.lr:g}, {training.epochs} "
        "epochs"
    )
