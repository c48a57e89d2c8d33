"""Set training images aside on which ``--auto`` compares files.

The held-out images, whose numbers are reported, then choose nothing.
"""

from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from tfresnet.data.sources import Dataset
from tfresnet.data.splits import Subset
from tfresnet.deploy.reference import Reference
from tfresnet.runtime.errors import InputError

SHARE, MOST = 0.2, 5_000  # of the training images
STREAM = 1  # calibration images are drawn with the seed alone


@dataclass(frozen=True)
class Selection:
    """Training images that are used for nothing else in an export.

    The checkpoint was trained on them: what a file loses on them may be less than on others.

    Attributes:
        batches: uint8 images, classes and weights.
        reference: the checkpoint's predictions for them.
    """

    batches: tf.data.Dataset
    reference: Reference

    @property
    def summary(self) -> dict:
        """The entry of the report: ``n`` and the checkpoint's metric, as ``checkpoint_top1``."""
        return {"n": self.reference.n, **self.reference.headline}


def draw(count: int, seed: int, limit: int | None) -> np.ndarray:
    """Draw the indices of a fifth of the training images, int64 [n], sorted.

    Args:
        count: of the training images.
        seed: chooses them.
        limit: the most to draw, besides 5,000; None for no other limit.

    Raises:
        InputError: there are too few images.
    """
    size = min(round(SHARE * count), MOST, limit or MOST)
    if not size:
        raise InputError(f"--auto: expected at least 3 training images to choose on, got {count}")
    return np.sort(np.random.default_rng([seed, STREAM]).permutation(count)[:size])


def divide(dataset: Dataset, indices: np.ndarray) -> tuple[Dataset, Subset]:
    """Split the dataset into one without the training images at ``indices``, and these."""
    others = np.setdiff1d(np.arange(len(dataset.train)), indices)
    return replace(dataset, train=Subset(dataset.train, others)), Subset(dataset.train, indices)
