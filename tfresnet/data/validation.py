"""Set training images aside that tell when to stop, so that the held-out images choose nothing."""

from dataclasses import replace

import numpy as np

from tfresnet.config.sections import DataConfig
from tfresnet.data.dataset import Dataset
from tfresnet.data.splits import Subset, labels_of
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION

STREAM = 2  # of random numbers: the held-out share is drawn with the seed alone


def set_aside(dataset: Dataset, config: DataConfig) -> Dataset:
    """Return a dataset with ``data.validation_fraction`` of its training images set aside.

    Where a picture has one label, that share of each class is, and of a class one at least stays.

    Raises:
        InputError: none would be set aside, or none would be left.
    """
    share, count = config.validation_fraction, len(dataset.train)
    if not share:
        return dataset
    rng = np.random.default_rng([config.split_seed, STREAM])
    groups = [np.arange(count)]
    if dataset.output.task == CLASSIFICATION:
        classes = labels_of(dataset.train)
        groups = [np.flatnonzero(classes == number) for number in np.unique(classes)]
    chosen = np.sort(
        np.concatenate([rng.permutation(each)[: _share(len(each), share)] for each in groups])
    )
    if not 0 < len(chosen) < count:
        raise InputError(
            f"data.validation_fraction: expected a share of the {count:,} training images that "
            f"leaves some on both sides, got {share:g}"
        )
    rest = np.setdiff1d(np.arange(count), chosen)
    return replace(
        dataset, train=Subset(dataset.train, rest), validation=Subset(dataset.train, chosen)
    )


def _share(count: int, share: float) -> int:
    return min(count - 1, max(1, round(share * count)))
