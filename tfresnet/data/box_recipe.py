"""Choose settings for a folder of pictures with boxes; loads no TensorFlow.

The settings start from the preset ``objects``. What a user sets stays as it is.
"""

import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import DataConfig, RunConfig
from tfresnet.data import boxes, class_file
from tfresnet.system.files import expanded

PRESET = "objects"
STEP = 32  # pixels: networks halve their images five times
LONGEST = 480  # pixels of the longer side
IMAGES_SEEN = 30_000  # in a whole training, divided by the pictures for the number of epochs
EPOCHS = (30, 150)


@dataclass(frozen=True)
class Objects:
    """The properties of a folder that its settings are chosen by.

    Attributes:
        count: pictures to train on.
        boxes: in all of them.
        classes: the number of classes.
        height: the median, in pixels.
        width: the median, in pixels.
    """

    count: int
    boxes: int
    classes: int
    height: int
    width: int


def for_folder(path: Path, data: DataConfig, overrides: Iterable[str]) -> RunConfig:
    """Choose a configuration for the pictures in a folder; its description names the choices.

    Args:
        path: the folder.
        data: the data section of the overrides.
        overrides: ``section.key=value``, which replace what is chosen.

    Raises:
        InputError: anything that is wrong with the folder or with an override.
    """
    overrides = list(overrides)
    objects = look(path, data)
    settings = [loading.setting(key, value) for key, value in choose(objects).items()]
    config = loading.validate(loading.preset(PRESET), overrides=[*settings, *overrides])
    return config.model_copy(update={"description": summary(objects, config)})


def look(path: Path, data: DataConfig) -> Objects:
    """Read the annotations of a folder."""
    order = class_file.read(expanded(data.labels), 1).labels if data.labels else ()
    found = boxes.scan(path, order, data.skip_broken, data.train_split, data.eval_split)
    count = len(found.train)
    kept = count if found.held_out else round(count * (1 - data.eval_fraction))
    width, height = (
        round(statistics.median(side))
        for side in zip(*(picture.size for picture in found.train), strict=True)
    )
    total = sum(len(picture.boxes) for picture in found.train) * kept // count
    return Objects(kept, total, len(found.labels), height, width)


def choose(objects: Objects) -> dict[str, Any]:
    """Choose the settings that depend on the pictures, by ``section.key``.

    The images are as large as the pictures, rounded to multiples of 32, and their longer side has
    at most 480 pixels. The fewer the pictures, the more epochs.
    """
    sides = objects.height, objects.width
    factor = min(1, LONGEST / max(sides))
    lowest, highest = EPOCHS
    return {
        "data.image_size": [max(STEP, round(side * factor / STEP) * STEP) for side in sides],
        "train.batch_size": max(1, min(8, objects.count)),
        "train.epochs": min(highest, max(lowest, round(IMAGES_SEEN / max(1, objects.count)))),
    }


def summary(objects: Objects, config: RunConfig) -> str:
    """Return one line about the pictures and the settings that were chosen for them."""
    model, training = config.model, config.train
    size = config.data.height_and_width
    pixels = f", images of {size[1]} x {size[0]} pixels" if size else ""
    classes = f"{objects.classes} class{'es' * (objects.classes != 1)}"
    return (
        f"Recipe {PRESET} for {objects.count:,} pictures with {objects.boxes:,} boxes of {classes}"
        f", {objects.width} x {objects.height} pixels: {model.arch}, {model.width:g} of its width"
        f"{pixels}, batches of {training.batch_size}, rate {training.lr:g}, {training.epochs} "
        "epochs"
    )
