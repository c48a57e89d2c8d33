"""Training images that ``--auto`` chooses a file on, so that the reported ones choose nothing."""

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
    """Images that neither set ranges nor are trained on in an export.

    The checkpoint was trained on them: what a file loses on them may be less than on others.

    Attributes:
        batches: uint8 images, classes and weights.
        reference: the checkpoint's answers for them.
    """

    batches: tf.data.Dataset
    reference: Reference

    @property
    def summary(self) -> dict:
        """What a report says about them: ``n``, and ``checkpoint_top1`` as in the report itself."""
        return {"n": len(self.reference.classes), **self.reference.headline}


def draw(count: int, seed: int, limit: int | None) -> np.ndarray:
    """Return the indices of a fifth of ``count`` training images, at most 5,000, and ``limit``.

    Raises:
        InputError: there are too few images.
    """
    size = min(round(SHARE * count), MOST, limit or MOST)
    if not size:
        raise InputError(f"--auto: expected at least 3 training images to choose on, got {count}")
    return np.sort(np.random.default_rng([seed, STREAM]).permutation(count)[:size])


def divide(dataset: Dataset, indices: np.ndarray) -> tuple[Dataset, Subset]:
    """Return the dataset without some training images, and these."""
    others = np.setdiff1d(np.arange(len(dataset.train)), indices)
    return replace(dataset, train=Subset(dataset.train, others)), Subset(dataset.train, indices)
