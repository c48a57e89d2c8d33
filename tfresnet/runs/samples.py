"""Write a few held-out pictures into a run, so that there is something to predict."""

import re
from pathlib import Path

import numpy as np
import tensorflow as tf
from PIL import Image

from tfresnet import tasks
from tfresnet.data import pipeline
from tfresnet.data.sources import Dataset

COUNT = 5
CANDIDATES = 100  # the pictures are chosen from so many, to be of many classes


def write(dataset: Dataset, folder: Path) -> None:
    """Write PNG files that are called ``NUMBER_LABELS.png``."""
    folder.mkdir(exist_ok=True)
    batch = next(iter(pipeline.raw_batches(dataset.held_out, CANDIDATES, CANDIDATES)))
    images, truth, weights = tf.nest.map_structure(lambda part: part.numpy(), batch)
    task = tasks.of(dataset.output)
    count = int(weights.sum())  # the others fill the batch up
    names = [
        task.name_of(tf.nest.map_structure(lambda part, i=i: part[i], truth)) for i in range(count)
    ]
    _, first = np.unique(names, return_index=True)
    others = np.setdiff1d(np.arange(count), first)
    chosen = sorted([*sorted(first), *others][:COUNT])
    for number, index in enumerate(chosen, start=1):
        name = re.sub(r"[^\w.-]+", "_", names[index])[:50]
        image = uncropped(images[index], dataset.spec.crop_fraction)
        pixels = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(pixels).save(folder / f"{number}_{name}.png")


def uncropped(image: np.ndarray, crop_fraction: float) -> np.ndarray:
    """Extend the edges of an image [H, W, C], so that evaluation's center crop is the image."""
    room = [round(side / crop_fraction) - side for side in image.shape[:2]]
    return np.pad(image, [*((more // 2, more - more // 2) for more in room), (0, 0)], "edge")
