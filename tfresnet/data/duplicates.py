"""Find training images that are held out as well: identical files in both splits."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from tfresnet.data.folder import (
    Files,
    counted,
    first_names,
    labels_without_images,
    map_in_threads,
    without_files,
)
from tfresnet.runtime.errors import InputError


def without_duplicates(
    train: Files, held_out: Files, labels: Sequence[str]
) -> tuple[Files, list[str]]:
    """Remove training images whose content is held out as well; also return notes about them.

    Only files of equal size are read.

    Raises:
        InputError: a class would have no training images left.
    """
    same = _duplicates(train[0], held_out[0])
    if not same:
        return train, []
    names = first_names([str(path) for path in same])
    kept = without_files(train, same)
    if empty := labels_without_images(labels, kept[1]):
        raise InputError(
            f"expected images of {', '.join(empty)} to train on that are not held out as well, got "
            f"the same content on both sides: {names}"
        )
    count = counted(len(same), "image")
    return kept, [f"left out of training: {count} with the same content as a held-out one: {names}"]


def _duplicates(paths: Iterable[Path], others: Iterable[Path]) -> list[Path]:
    """Return those of ``paths`` that have the same content as one of ``others``."""
    ours, theirs = _by_size(paths), _by_size(others)
    sizes = ours.keys() & theirs.keys()
    there = map_in_threads(_digest, [path for size in sizes for path in theirs[size]])
    known = {digest for _, digest in there}
    candidates = map_in_threads(_digest, [path for size in sizes for path in ours[size]])
    return sorted(path for path, digest in candidates if digest in known)


def _by_size(paths: Iterable[Path]) -> dict[int, list[Path]]:
    found = defaultdict(list)
    for path in paths:
        found[path.stat().st_size].append(path)
    return found


def _digest(path: Path) -> bytes:
    return blake2b(path.read_bytes(), digest_size=16).digest()
