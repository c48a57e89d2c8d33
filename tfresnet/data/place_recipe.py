"""Choose settings for a folder of pictures with masks or boxes; loads no TensorFlow.

The settings start from the preset ``scenes`` (masks) or ``objects`` (boxes). What a user sets stays
as it is.
"""

import statistics
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import DataConfig, RunConfig
from tfresnet.data import boxes, class_file, mask_folder
from tfresnet.data.picture_sizes import sample
from tfresnet.system.files import expanded

STEP = 32  # pixels: networks halve their images five times
LONGEST = 480  # pixels of the longer side
IMAGES_SEEN = 30_000  # in a whole training, divided by the pictures for the number of epochs
EPOCHS = (30, 150)


@dataclass(frozen=True)
class Pictures:
    """The properties of a folder that its settings are chosen by.

    Attributes:
        count: pictures to train on.
        truth: what they have, in words: ``masks of 11 classes``.
        height: the median, in pixels.
        width: the median, in pixels.
    """

    count: int
    truth: str
    height: int
    width: int


@dataclass(frozen=True)
class Recipe:
    """How the settings for one kind of folder are chosen.

    Attributes:
        preset: that they start from.
        look: reads what a folder holds.
    """

    preset: str
    look: Callable[[Path, DataConfig], Pictures]

    def for_folder(self, path: Path, data: DataConfig, overrides: Iterable[str]) -> RunConfig:
        """Choose a configuration for the pictures in a folder; its description names the choices.

        Args:
            path: the folder.
            data: the data section of the overrides.
            overrides: ``section.key=value``, which replace what is chosen. With ``model.arch`` the
                network has its full width; with ``train.init_from`` it is that of the weights.

        Raises:
            InputError: anything that is wrong with the folder or with an override.
        """
        overrides = list(overrides)
        pictures, values = self.look(path, data), loading.preset(self.preset)
        if {"model.arch", "train.init_from"} & {each.partition("=")[0] for each in overrides}:
            del values["model"]
        settings = [loading.setting(key, value) for key, value in choose(pictures).items()]
        config = loading.validate(values, overrides=[*settings, *overrides])
        description = summary(self.preset, pictures, config)
        return config.model_copy(update={"description": description})


def masks_in(path: Path, data: DataConfig) -> Pictures:
    """Scan a folder of masks; a hundred images are opened for their size, and none is decoded."""
    labels = expanded(data.labels) if data.labels else None
    found = mask_folder.scan(path, labels, data.skip_broken, data.train_split, data.eval_split)
    paths = found.train[0]
    count = len(paths) if found.held_out else _kept(len(paths), data)
    truth = f"masks of {len(found.classes.labels)} classes"
    return Pictures(count, truth, *_medians(sample(paths)))


def boxes_in(path: Path, data: DataConfig) -> Pictures:
    """Read the annotations of a folder of boxes."""
    order = class_file.read(expanded(data.labels), 1).labels if data.labels else ()
    found = boxes.scan(path, order, data.skip_broken, data.train_split, data.eval_split)
    count, classes = len(found.train), len(found.labels)
    kept = _kept(count, data) if found.held_out is None else count
    total = sum(len(picture.boxes) for picture in found.train) * kept // count
    truth = f"{total:,} boxes of {classes} class{'es' * (classes != 1)}"
    return Pictures(kept, truth, *_medians(picture.size[::-1] for picture in found.train))


def _kept(count: int, data: DataConfig) -> int:
    """Return how many of the pictures are trained on where a share is held out."""
    return round(count * (1 - data.eval_fraction))


def _medians(sizes: Iterable[tuple[int, int]]) -> tuple[int, int]:
    height, width = (round(statistics.median(side)) for side in zip(*sizes, strict=True))
    return height, width


def choose(pictures: Pictures) -> dict[str, Any]:
    """Choose the settings that depend on the pictures, by ``section.key``.

    The images are as large as the pictures, rounded to multiples of 32, and their longer side has
    at most 480 pixels. The fewer the pictures, the more epochs.
    """
    sides = pictures.height, pictures.width
    factor = min(1, LONGEST / max(sides))
    lowest, highest = EPOCHS
    return {
        "data.image_size": [max(STEP, round(side * factor / STEP) * STEP) for side in sides],
        "train.batch_size": max(1, min(8, pictures.count)),
        "train.epochs": min(highest, max(lowest, round(IMAGES_SEEN / max(1, pictures.count)))),
    }


def summary(preset: str, pictures: Pictures, config: RunConfig) -> str:
    """Return one line about the pictures and the settings that were chosen for them."""
    model, training = config.model, config.train
    size = config.data.height_and_width
    pixels = f", images of {size[1]} x {size[0]} pixels" if size else ""
    return (
        f"Recipe {preset} for {pictures.count:,} pictures with {pictures.truth}, "
        f"{pictures.width} x {pictures.height} pixels: {model.arch}, {model.width:g} of its width"
        f"{pixels}, batches of {training.batch_size}, rate {training.lr:g}, {training.epochs} "
        "epochs"
    )


RECIPES = {"segment": Recipe("scenes", masks_in), "detect": Recipe("objects", boxes_in)}
