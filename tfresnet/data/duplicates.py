"""Files with the same content on both sides: what is measured must not have been trained on."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from hashlib import blake2b
from pathlib import Path

from tfresnet.data.folder import Files, counted, named, on_all_cores, without, without_images
from tfresnet.runtime.errors import InputError


def leave_out(train: Files, held_out: Files, labels: Sequence[str]) -> tuple[Files, list[str]]:
    """Return the images to train on that are not held out as well, and lines about the others.

    Only files of equal size are read.

    Raises:
        InputError: a class has no others.
    """
    same = _also_in(train[0], held_out[0])
    if not same:
        return train, []
    names = named([str(path) for path in same])
    kept = without(train, same)
    if empty := without_images(labels, kept[1]):
        raise InputError(
            f"expected images of {', '.join(empty)} to train on that are not held out as well, got "
            f"the same content on both sides: {names}"
        )
    count = counted(len(same), "image")
    return kept, [f"left out of training: {count} with the same content as a held-out one: {names}"]


def _also_in(paths: Iterable[Path], others: Iterable[Path]) -> list[Path]:
    """Return those of ``paths`` whose content one of the ``others`` has too."""
    ours, theirs = _by_size(paths), _by_size(others)
    sizes = ours.keys() & theirs.keys()
    there = on_all_cores(_digest, [path for size in sizes for path in theirs[size]])
    known = {digest for _, digest in there}
    candidates = on_all_cores(_digest, [path for size in sizes for path in ours[size]])
    return sorted(path for path, digest in candidates if digest in known)


def _by_size(paths: Iterable[Path]) -> dict[int, list[Path]]:
    found = defaultdict(list)
    for path in paths:
        found[path.stat().st_size].append(path)
    return found


def _digest(path: Path) -> bytes:
    return blake2b(path.read_bytes(), digest_size=16).digest()
