"""A folder of images, one sub-folder a class.

Either ``train/<class>/*`` beside ``val/<class>/*`` (or a synonym in ``TRAIN`` and ``HELD_OUT``, in
any case), or ``<class>/*`` alone, from which a held-out share is then drawn.
"""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from pathlib import Path

from tfresnet.data.images import how_to_read, is_image, problem
from tfresnet.errors import UserError

TRAIN = ("train", "training", "train_set", "training_set", "trainset")
# In the order in which they are taken.
HELD_OUT = (
    "val", "valid", "validation", "val_set", "valset", "validation_set", "dev", "eval",
    "evaluation", "test", "testing", "test_set", "testset", "testing_set", "holdout",
)  # fmt: skip
SYSTEM_FILES = frozenset({"thumbs.db", "desktop.ini", "icon\r"})
CHUNK = 1000
SHOWN = 5  # files that a message names

Files = tuple[list[Path], list[int]]


@dataclass(frozen=True)
class Scan:
    """What a folder holds.

    Attributes:
        labels: the classes, in the order of their integers.
        train: image files and their classes; all of them where there is no held-out folder.
        held_out: the same of the held-out folder; None if there is none.
        notes: lines for a person: what was left out, and which folder was taken.
    """

    labels: tuple[str, ...]
    train: Files
    held_out: Files | None
    notes: tuple[str, ...]


def scan(root: Path, order: Sequence[str] = ()) -> Scan:
    """Return the images of a folder; none is opened but those without an ending.

    Args:
        root: the folder.
        order: the classes in the order that they are to have; if they are not the folder's, they
            are in the order of their names.

    Raises:
        UserError: an empty class, classes that differ between the two parts, or parts that have no
            training images.
    """
    splits = _splits(root)
    train = next((splits[name] for name in TRAIN if name in splits), None)
    others = [splits[name] for name in HELD_OUT if name in splits]
    if train is None:
        _refuse_splits_as_classes(root, splits)
        labels = _ordered(_classes(root), order)
        files, skipped = _files(root, labels)
        return Scan(labels, files, None, _notes(root, skipped))
    if not others:
        raise UserError(
            f"expected {root}/val or {root}/test beside {train}, found neither; without a folder "
            f"for training images ({root}/<class>/*) a part is held out by itself"
        )
    labels = _ordered(_classes(train), order)
    if set(_classes(others[0])) != set(labels):
        odd = sorted(set(_classes(others[0])) ^ set(labels))
        raise UserError(f"expected the same classes in {train} and {others[0]}, got more: {odd}")
    (files, skipped), (held_out, more) = _files(train, labels), _files(others[0], labels)
    notes = _notes(root, skipped + more)
    if unused := ", ".join(f"{other.name}/" for other in others[1:]):
        notes = (f"held-out images are those in {others[0].name}/; not used: {unused}", *notes)
    return Scan(labels, files, held_out, notes)


def check(scan: Scan, skip_broken: bool = False) -> Scan:
    """Read every image to its end, on all cores; return the scan, without those that can't be.

    Raises:
        UserError: there are some, and ``skip_broken`` is off; one error names them.
    """
    paths = [*scan.train[0], *(scan.held_out[0] if scan.held_out else [])]
    bad: dict[Path, str] = {}
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):  # the pool keeps a kilobyte for each that waits
            part = paths[start : start + CHUNK]
            found = zip(part, pool.map(problem, part), strict=True)
            bad |= {path: reason for path, reason in found if reason}
    if not bad:
        return scan
    named = _named([f"{path} ({reason})" for path, reason in bad.items()])
    if not skip_broken:
        raise UserError(
            f"expected readable images, got {len(bad)} that are not: {named}; remove or replace "
            "them, or leave them out with --skip-broken (data.skip_broken)"
        )
    train, held_out = _without(scan.train, bad), scan.held_out and _without(scan.held_out, bad)
    for _, classes in filter(None, (train, held_out)):
        empty = [label for i, label in enumerate(scan.labels) if i not in classes]
        if empty:
            raise UserError(f"expected readable images of {', '.join(empty)}, got none: {named}")
    note = f"{len(bad)} images can't be read and are left out: {named}"
    return Scan(scan.labels, train, held_out, (*scan.notes, note))


def check_apart(scan: Scan) -> None:
    """Raise a ``UserError`` if files with the same content are in both parts."""
    if not scan.held_out:
        return
    by_size: dict[int, list[Path]] = {}
    for path in scan.train[0]:
        by_size.setdefault(path.stat().st_size, []).append(path)
    digests: dict[int, set[bytes]] = {}
    same = []
    for path in scan.held_out[0]:
        size = path.stat().st_size
        if size in by_size:
            if size not in digests:
                digests[size] = {_digest(p) for p in by_size[size]}
            if _digest(path) in digests[size]:
                same.append(str(path))
    if same:
        raise UserError(
            f"expected held-out images that are not trained on, got {len(same)} files that are in "
            f"both parts: {_named(same)}; delete them from one"
        )


def _digest(path: Path) -> bytes:
    return blake2b(path.read_bytes(), digest_size=16).digest()


def _splits(root: Path) -> dict[str, Path]:
    """Return the sub-folders that are called like a part of a data set, by their usual name."""
    named = {p.name.lower().replace("-", "_").replace(" ", "_"): p for p in _folders(root)}
    return {name: path for name, path in named.items() if name in TRAIN or name in HELD_OUT}


def _refuse_splits_as_classes(root: Path, splits: dict[str, Path]) -> None:
    if splits and len(splits) == len(_folders(root)):
        names = ", ".join(sorted(path.name for path in splits.values()))
        raise UserError(
            f"expected training images, in {root}/train, beside {names}; found no such folder"
        )


def _folders(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))


def _classes(folder: Path) -> tuple[str, ...]:
    names = [p.name for p in _folders(folder)]
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"expected class names in UTF-8 in {folder}, got {name!r}; rename it")
    if len(names) < 2:
        raise UserError(
            f"expected at least 2 class folders in {folder}, got {len(names)}"
            f"{f': {names[0]}' if names else ''}; put each class's images in {folder}/<class>/"
        )
    return tuple(names)


def _ordered(names: tuple[str, ...], order: Sequence[str]) -> tuple[str, ...]:
    return tuple(order) if sorted(order) == sorted(names) else names


def _files(folder: Path, labels: Sequence[str]) -> tuple[Files, list[Path]]:
    """Return the images with their classes, and the other files."""
    paths: list[Path] = []
    indices: list[int] = []
    others: list[Path] = []
    for index, label in enumerate(labels):
        found = sorted(_all_files(folder / label))
        images = [path for path in found if is_image(path)]
        others += sorted(set(found) - set(images))
        if not images:
            raise UserError(
                f"expected images (.jpg, .png, .webp and others) in {folder / label}, found none "
                f"among {len(found)} files"
            )
        paths += images
        indices += [index] * len(images)
    return (paths, indices), others


def _all_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, through links too; hidden ones and those of systems not."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in files:
            if not name.startswith(".") and name.lower() not in SYSTEM_FILES:
                yield Path(where, name)


def _notes(root: Path, skipped: list[Path]) -> tuple[str, ...]:
    """Return a line about files that are no images, with what would make more of them images."""
    if not skipped:
        return ()
    named = _named([str(path.relative_to(root)) for path in skipped])
    hints = sorted({hint for path in skipped if (hint := how_to_read(path))})
    return ("; ".join([f"{len(skipped)} files are no images and are left out: {named}", *hints]),)


def _named(names: list[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _without(part: Files, bad: dict[Path, str]) -> Files:
    kept = [(path, index) for path, index in zip(*part, strict=True) if path not in bad]
    return [path for path, _ in kept], [index for _, index in kept]
