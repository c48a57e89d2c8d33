"""Choose settings for a folder of pictures by their number and size; loads no TensorFlow.

The settings start from the preset ``photos``. What a user sets stays as it is.
"""

import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import DataConfig, RunConfig, TrainConfig
from tfresnet.data import label_table, lookup
from tfresnet.data.picture_sizes import sample
from tfresnet.data.place_recipe import RECIPES
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import expanded

PRESET = "photos"
PRESETS = (PRESET, *(recipe.preset for recipe in RECIPES.values()))  # chosen for folders
STEP = 32  # pixels: networks halve their images five times
SMALL = 64  # pixels up to which the networks for CIFAR-10 are used
FEW = 1_000  # pictures below which images of 128 pixels are enough
MANY = 2_000  # pictures from which on the full width pays
IMAGES_SEEN = 10_000  # in a whole training, divided by the pictures for the number of epochs
EPOCHS = (30, 100)
RATE = 0.1 / 128  # peak learning rate for each image of a batch
# From weights: fewer epochs, and a higher rate for the new head than from nothing; a tenth of that
# for the rest. Batch normalization learns too: with the statistics of other pictures kept as they
# were, a ResNet-20 that knew CIFAR-10 diverged on cells, and learned nothing of digits.
IMAGES_SEEN_FROM_WEIGHTS = 3_000
EPOCHS_FROM_WEIGHTS = (10, 30)
RATE_FROM_WEIGHTS = 8  # times that from nothing; the backbone's is a tenth of it
BATCH_FROM_WEIGHTS = 16  # at most: few pictures make few steps
FROM_WEIGHTS: dict[str, Any] = {
    "train.warmup_epochs": 1,
    "train.backbone_lr_factor": 0.1,
    "train.on_nan": "rollback",  # at half the rate, should it be too high for these weights
}
ENOUGH_TO_STOP = 1_000  # pictures from which on a tenth is set aside to stop by
STOPPING: dict[str, Any] = {
    "data.validation_fraction": 0.1,
    "train.patience": 5,
    "train.keep": "best",
}


@dataclass(frozen=True)
class Pictures:
    """The properties of a folder that its settings are chosen by.

    Attributes:
        count: pictures to train on.
        classes: the number of classes.
        side: the median of the shorter sides, in pixels.
        multi_label: whether a picture may have any number of labels.
    """

    count: int
    classes: int
    side: int
    multi_label: bool = False


def is_folder(argument: str) -> bool:
    """Return whether the argument of ``train`` is a folder of pictures, not a preset."""
    return argument not in loading.presets() and expanded(argument).is_dir()


def run_directory(path: Path) -> Path:
    """Return the default run directory for a folder: ``runs/`` and the folder's name."""
    return Path("runs") / loading.safe_name(path.resolve())


def for_folder(
    path: Path, overrides: Iterable[str] = (), size_of_weights: int | None = None
) -> RunConfig:
    """Choose a configuration for the pictures in a folder; its description names the choices.

    Args:
        path: the folder.
        overrides: ``section.key=value``, which replace what is chosen. With ``model.arch`` the
            network has its full width; with ``train.init_from`` network and image size are those
            of the weights.
        size_of_weights: the side of the images that these were trained for, in pixels, if it is
            known.

    Raises:
        InputError: it holds a run and no pictures; or anything that is wrong with the folder or
            with an override.
    """
    if (path / "config.yaml").exists():
        raise InputError(
            f"{path}: expected a folder of pictures, got a run; to go on with it: "
            f"tfresnet train --resume --run-dir {path}"
        )
    overrides = [f"data.dataset={path.absolute()}", *overrides]
    config = loading.load(PRESET, overrides)
    task = lookup.task(config.data)
    if task in RECIPES:
        return RECIPES[task].for_folder(path, config.data, overrides)
    pictures = look(path, config.data)
    values = loading.preset(PRESET)
    chosen = choose(pictures)
    if config.train.init_from:
        chosen = choose_from_weights(pictures, size_of_weights)
    given = {override.partition("=")[0] for override in overrides}
    if given & {"model.arch", "train.init_from"}:
        del values["model"]
        chosen = {key: value for key, value in chosen.items() if not key.startswith("model.")}
    if "train.init_from" in given:
        del values["data"]["image_size"]
        chosen.pop("data.image_size", None)
    settings = [loading.setting(key, value) for key, value in chosen.items()]
    config = loading.validate(values, overrides=[*settings, *overrides])
    return config.model_copy(update={"description": summary(pictures, config)})


def look(path: Path, config: DataConfig) -> Pictures:
    """Scan a folder; a hundred pictures are opened for their size, and none is decoded."""
    found = label_table.scan_folder(path, skip_broken=config.skip_broken)
    paths = found.train[0]
    count = len(paths) if found.held_out else round(len(paths) * (1 - config.eval_fraction))
    side = round(statistics.median(min(size) for size in sample(paths)))
    return Pictures(count, len(found.labels), side, found.multi_label)


def choose(pictures: Pictures) -> dict[str, Any]:
    """Choose the settings that depend on the pictures, by ``section.key``.

    The images are as large as the pictures, rounded down to a multiple of 32, up to 224 pixels, or
    128 if there are few pictures. A batch is about a tenth of the pictures, and the learning rate
    is proportional to it (Goyal et al. 2017, arXiv:1706.02677). The fewer the pictures, the more
    epochs.
    """
    few = pictures.count < FEW
    size = min(128 if few else 224, max(STEP, pictures.side // STEP * STEP))
    small = size <= SMALL
    batch = 8
    while batch < (64 if small else 32) and batch * 1.5 < pictures.count / 10:
        batch *= 2
    batch = min(batch, pictures.count)
    lowest, highest = EPOCHS
    chosen: dict[str, Any] = {
        "data.image_size": size,
        "train.batch_size": batch,
        "train.lr": round(RATE * batch, 6),
        "train.epochs": min(highest, max(lowest, round(IMAGES_SEEN / pictures.count))),
        "model.width": 1.0 if small or pictures.count >= MANY else 0.5,
    }
    if pictures.multi_label:
        chosen |= _for_many_labels(pictures.classes, chosen["train.lr"])
    if small:
        chosen |= {
            "model.arch": "resnet20",
            "data.random_resized_crop": 0,
            "data.crop_padding": size // 8,
        }
    return chosen


def choose_from_weights(pictures: Pictures, size: int | None) -> dict[str, Any]:
    """Choose the settings of a training that starts from weights, by ``section.key``.

    It sees fewer images, with a high rate for the head and a low one for all else. Where there are
    enough pictures, a tenth of those to train on is set aside: the training stops when it gets no
    better on them, and the best epoch is kept.

    Args:
        pictures: the folder's.
        size: the side of the images that the weights were trained for, in pixels; None if that is
            not known.
    """
    seen = replace(pictures, side=size or pictures.side)
    lowest, highest = EPOCHS_FROM_WEIGHTS
    epochs = round(IMAGES_SEEN_FROM_WEIGHTS / pictures.count)
    chosen = choose(seen)
    batch = min(BATCH_FROM_WEIGHTS, chosen["train.batch_size"])
    rate = RATE_FROM_WEIGHTS * chosen["train.lr"] * batch / chosen["train.batch_size"]
    changed = {
        "train.epochs": min(highest, max(lowest, epochs)),
        "train.batch_size": batch,
        "train.lr": round(rate, 6),
    }
    stopping = STOPPING if pictures.count >= ENOUGH_TO_STOP else {}
    return chosen | changed | FROM_WEIGHTS | stopping


def _for_many_labels(labels: int, rate: float) -> dict[str, Any]:
    """Return the settings of binary cross-entropy, the loss for any number of labels.

    It is a mean over the labels: at first, when all probabilities are 1/2, its gradient is
    2 sqrt(labels) times smaller than that of a softmax's cross-entropy. So the learning rate is
    that much higher, and the weight decay lower. (900 pictures with 12 labels, 12 epochs: mAP 60 %
    at 6 times the rate, 43 % without.) Label smoothing would move all probabilities towards 1/2.
    """
    factor = 2 * math.sqrt(labels)
    decay = TrainConfig.model_fields["weight_decay"].default
    return {
        "train.loss": "bce",
        "train.lr": round(rate * factor, 4),
        "train.weight_decay": round(decay / factor, 8),
        "train.label_smoothing": 0,
    }


def summary(pictures: Pictures, config: RunConfig) -> str:
    """Return one line about the pictures and the settings that were chosen for them."""
    model, training = config.model, config.train
    network = "" if training.init_from else f"{model.arch}, "
    if model.width != 1:
        network += f"{model.width:g} of its width, "
    size = f"images of {config.data.image_size} pixels, " if config.data.image_size else ""
    kinds = (
        f"with any of {pictures.classes} labels"
        if pictures.multi_label
        else (f"of {pictures.classes} classes")
    )
    loss = f", loss {training.loss}" if pictures.multi_label else ""
    return (
        f"Recipe {PRESET} for {pictures.count:,} pictures {kinds}, "
        f"{pictures.side} pixels wide or high: {network}{size}batches of {training.batch_size}, "
        f"rate {training.lr:g}, {training.epochs} epochs{loss}"
    )
