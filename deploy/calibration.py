"""Draw the training images that set the ranges of integer activations.

They are chosen by a seed and recorded, and none of them is measured on.
"""

import hashlib
from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.data.splits import Split
from tfresnet.runtime.errors import InputError
from tfresnet.tasks.base import Task

BATCH = 100


@dataclass(frozen=True)
class Calibration:
    """Training images that set the ranges of integer activations.

    Attributes:
        images: uint8 [n, H, W, C].
        held_back: others, on which a method to set ranges is chosen, uint8 [n, H, W, C]; none if
            there are too few.
        manifest: ``count seed sha256 indices left_out``: the checksum is of the images' bytes in
            order, the indices are those in the training split, and ``left_out`` counts images that
            were drawn but are among the measured ones too.
    """

    images: np.ndarray
    manifest: dict
    held_back: np.ndarray = field(default_factory=lambda: np.empty(0, np.uint8))

    @property
    def summary(self) -> dict:
        """The manifest without its indices."""
        return {key: value for key, value in self.manifest.items() if key != "indices"}


def digest(image: np.ndarray) -> bytes:
    """Return a digest of an image, equal for equal images only."""
    return hashlib.blake2b(image.tobytes(), digest_size=16).digest()


def draw(
    split: Split,
    count: int,
    seed: int,
    task: Task,
    measured: Collection[bytes] = (),
    reserved: Collection[int] = (),
    held_back: int = 0,
) -> Calibration:
    """Draw training images at random.

    Args:
        split: the training images.
        count: how many; with 0 no image is read.
        seed: chooses them.
        measured: digests of the held-out images, none of which is drawn.
        reserved: indices that are not drawn.
        held_back: how many more to draw, see :class:`Calibration`.

    Raises:
        InputError: no image is left, or the task can't be calibrated with these.
    """
    if not count:
        nothing: dict = {"count": 0, "seed": None, "sha256": None, "left_out": 0, "indices": []}
        return Calibration(np.empty(0, np.uint8), nothing)
    order = np.random.default_rng(seed).permutation(len(split))
    order = order[~np.isin(order, np.array(list(reserved), np.int64))]
    drawn, left_out = _read(split, order, count + held_back, measured)
    others = [image for image, *_ in drawn[count:]]
    drawn = drawn[:count]
    images, truth, indices = zip(*drawn, strict=True) if drawn else ((), (), ())
    if not images:
        raise InputError(
            f"calibration: expected training images that are not measured on too, got {left_out} "
            "that all are; give the run other splits (data.train_split, data.eval_split)"
        )
    task.check_calibration(truth)
    stacked = np.stack(images)
    checksum = hashlib.sha256(stacked.tobytes()).hexdigest()
    return Calibration(
        stacked,
        {
            "count": len(images),
            "seed": seed,
            "sha256": checksum,
            "left_out": left_out,
            "indices": list(indices),
        },
        np.stack(others) if others else stacked[:0],
    )


def _read(
    split: Split, order: np.ndarray, count: int, measured: Collection[bytes]
) -> tuple[list[tuple[np.ndarray, Any, int]], int]:
    """Return the first ``count`` images in an order that are not measured on, and how many are.

    Each image comes with what is true of it and its index; the images are read in whole batches.
    """
    drawn: list[tuple[np.ndarray, Any, int]] = []
    left_out = 0
    for start in range(0, len(order), BATCH):
        index = order[start : start + BATCH]
        batch = next(iter(split.batches(tf.data.Dataset.from_tensors(index))))
        images, truth = tf.nest.map_structure(lambda part: part.numpy(), batch)
        for row, (i, image) in enumerate(zip(index, images, strict=True)):
            if digest(image) in measured:
                left_out += 1
            elif len(drawn) < count:
                true = tf.nest.map_structure(lambda part, row=row: part[row], truth)
                drawn.append((image, true, int(i)))
        if len(drawn) == count:
            break
    return drawn, left_out
