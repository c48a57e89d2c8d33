"""Split images without a held-out part into training and held-out ones."""

from collections import defaultdict
from collections.abc import Sequence
from hashlib import blake2b
from pathlib import Path

import numpy as np
from sklearn.model_selection import train_test_split

from tfresnet.config.sections import DataConfig
from tfresnet.runtime.errors import InputError


def of_files(
    names: Sequence[str], classes: Sequence[int], config: DataConfig, lone: bool = False
) -> tuple[list[int], list[int]]:
    """Split files into training and held-out ones, in each class; return their indices.

    The split depends on the files' names, not on their number: when files are added or removed,
    nearly all others stay in their split. With ``lone``, the only file of a class is trained on.
    """
    ranked = defaultdict(list)
    for index, (name, label) in enumerate(zip(names, classes, strict=True)):
        key = f"{config.split_seed} {Path(name).as_posix()}".encode(errors="surrogateescape")
        ranked[label].append((blake2b(key).digest(), index))
    held_out: set[int] = set()
    for files in ranked.values():
        if lone and len(files) == 1 and len(ranked) > 1:
            continue
        if len(files) == 1:
            raise InputError(
                "expected at least 2 images of a class, one to hold out, got "
                f"{names[files[0][1]]} alone; add another"
            )
        count = min(max(1, round(config.eval_fraction * len(files))), len(files) - 1)
        held_out |= {index for _, index in sorted(files)[:count]}
    if not held_out:
        raise InputError(f"expected pictures with the same label to hold out, got {names[0]} alone")
    return [i for i in range(len(names)) if i not in held_out], sorted(held_out)


def of_classes(classes: np.ndarray, config: DataConfig) -> list[np.ndarray]:
    """Return the indices of training and held-out images, of a seeded, stratified split."""
    try:
        return train_test_split(
            np.arange(len(classes)),
            test_size=config.eval_fraction,
            random_state=config.split_seed,
            stratify=classes,
        )
    except ValueError as error:
        raise InputError(
            f"data.eval_fraction: expected a share that leaves every class images on both "
            f"sides, got {config.eval_fraction}: {error}"
        ) from None
