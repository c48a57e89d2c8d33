"""Find the images of a folder that has one sub-folder a class.

Either ``train/<class>/*`` beside ``val/<class>/*`` (or a synonym in ``TRAIN`` and ``HELD_OUT``, in
any case), or ``<class>/*`` alone, of which a share is then held out.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from tfresnet.data.images import examine
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.picture_files import all_files, how_to_read, is_hidden, is_image

TRAIN = ("train", "training", "train_set", "training_set", "trainset")
# In the order in which they are taken.
HELD_OUT = (
    "val", "valid", "validation", "val_set", "valset", "validation_set", "dev", "eval",
    "evaluation", "test", "testing", "test_set", "testset", "testing_set", "holdout",
)  # fmt: skip
CHUNK = 1000
SHOWN = 5  # files that a message names

T = TypeVar("T")
Files = tuple[list[Path], list[Any]]  # with their classes: an int each, or a tuple of many


@dataclass(frozen=True)
class Scan:
    """The images of a folder with their classes.

    Attributes:
        labels: the names of the classes, in the order of their integers.
        train: image files and their classes; all images where there is no held-out folder.
        held_out: image files and classes of the held-out folder; None if there is none.
        notes: lines for a person: what was left out, and which folder was taken.
        multi_label: whether an image has a tuple of classes (see ``label_table``) instead of one.
    """

    labels: tuple[str, ...]
    train: Files
    held_out: Files | None
    notes: tuple[str, ...]
    multi_label: bool = False

    @property
    def required(self) -> tuple[str, ...]:
        """The labels of which each split must have images."""
        return () if self.multi_label else self.labels


@dataclass(frozen=True)
class Parts:
    """The folders of the training and the held-out split, whose sub-folders are classes.

    Attributes:
        train: of the training split.
        held_out: of the held-out split; None if a share of the training images is held out.
        notes: lines for a person about folders that are not used.
    """

    train: Path
    held_out: Path | None
    notes: tuple[str, ...] = ()


def scan(root: Path, order: Sequence[str] = ()) -> Scan:
    """Find the images of a folder by their endings; only files without an ending are opened.

    Args:
        root: the folder.
        order: the labels in the order to use; if they are not the folder's, the labels are sorted
            by name.

    Raises:
        InputError: a class is empty, the classes of the two splits differ, or there are no
            training images.
    """
    parts = _find_parts(root)
    labels = _ordered(_classes(parts.train), order)
    train, skipped = _files(parts.train, labels)
    held_out, loose = None, [*_images_without_class(root)]
    if parts.held_out:
        names = set(_classes(parts.held_out))
        if names != set(labels):
            odd = ", ".join(sorted(names ^ set(labels)))
            raise InputError(
                f"expected the same classes in {parts.train} and {parts.held_out}, got in one "
                f"alone: {odd}"
            )
        held_out, more = _files(parts.held_out, labels)
        skipped += more
        loose += [*_images_without_class(parts.train), *_images_without_class(parts.held_out)]
    notes = (*parts.notes, *_notes_on_skipped(root, skipped, loose))
    return Scan(labels, train, held_out, notes)


def check(scan: Scan, skip_broken: bool = False) -> Scan:
    """Decode every image, on all cores; return the scan without those that are broken.

    Raises:
        InputError: some are broken and ``skip_broken`` is off; the message names them.
    """
    paths = [*scan.train[0], *(scan.held_out[0] if scan.held_out else [])]
    bad: dict[Path, str] = {}
    deep: dict[int, list[Path]] = defaultdict(list)  # greys of 16 bits, by how many are used
    for path, (problem, bits) in map_in_threads(examine, paths):
        if problem:
            bad[path] = problem
        if bits:
            deep[bits].append(path)
    scan = replace(scan, notes=(*scan.notes, *bit_depth_notes(deep)))
    if not bad:
        return scan
    broken = first_names([f"{path} ({reason})" for path, reason in bad.items()])
    if not skip_broken:
        raise InputError(
            f"expected readable images, got {len(bad)} that are not: {broken}; remove or replace "
            "them, or leave them out with --skip-broken (data.skip_broken)"
        )
    train = without_files(scan.train, bad)
    held_out = scan.held_out and without_files(scan.held_out, bad)
    for _, classes in filter(None, (train, held_out)):
        if empty := labels_without_images(scan.required, classes):
            raise InputError(f"expected readable images of {', '.join(empty)}, got none: {broken}")
    note = f"left out: {counted(len(bad), 'broken image')}: {broken}"
    return replace(scan, train=train, held_out=held_out, notes=(*scan.notes, note))


def bit_depth_notes(found: dict[int, list[Path]]) -> Iterator[str]:
    """Yield a note if pictures of 16 bits use different numbers of them.

    They would be brightened differently: the brightest pixel tells how many bits are used.
    """
    if len(found) > 1:
        told = ", ".join(f"{len(paths):,} as {bits} bits" for bits, paths in sorted(found.items()))
        yield (
            f"greys of 16 bits are read by the brightest pixel of each picture, here {told}, such "
            f"as {found[min(found)][0].name}; if one camera took them all, save them with 8 bits"
        )


def map_in_threads(
    function: Callable[[Path], T], paths: Sequence[Path]
) -> Iterator[tuple[Path, T]]:
    """Call ``function`` for each path in threads; yield the paths with the results, in order."""
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):  # the pool keeps a kilobyte for each that waits
            part = paths[start : start + CHUNK]
            yield from zip(part, pool.map(function, part), strict=True)


def first_names(names: Sequence[str]) -> str:
    """Return the first few names as text, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def counted(count: int, noun: str) -> str:
    """Return a number with its noun: ``1 image``, ``2,000 images``, ``2 boxes``."""
    ending = "es" if noun.endswith("x") else "s"
    return f"{count:,} {noun}{'' if count == 1 else ending}"


def without_files(part: Files, bad: Iterable[Path]) -> Files:
    """Return image files and their classes without the files in ``bad``."""
    left_out = set(bad)
    kept = [(path, index) for path, index in zip(*part, strict=True) if path not in left_out]
    return [path for path, _ in kept], [index for _, index in kept]


def labels_without_images(labels: Sequence[str], classes: Iterable[int]) -> list[str]:
    """Return the labels that no image has, given the classes of all images."""
    there = set(classes)
    return [label for index, label in enumerate(labels) if index not in there]


def _find_parts(root: Path) -> Parts:
    """Find the folders of the training and the held-out split.

    Without such folders, the sub-folders are classes. A folder called like a split is a class where
    it holds no folders and stands among other classes: a train is a vehicle, too.

    Raises:
        InputError: only one of the two splits is there.
    """
    folders = subfolders(root)
    called = {path: part_name(path) for path in folders if part_name(path)}
    with_classes = {path: name for path, name in called.items() if subfolders(path)}
    if with_classes or len(called) < len(folders):
        called = with_classes
    trains, others = (
        sorted((p for p, name in called.items() if name in names),
               key=lambda p: (names.index(called[p]), p.name))
        for names in (TRAIN, HELD_OUT)
    )  # fmt: skip
    if not trains:
        _check_no_parts_are_classes(root, folders, others)
        return Parts(root, None)
    train = trains[0]
    if not others:
        raise InputError(
            f"expected {root}/val or {root}/test beside {train}, found neither with class folders; "
            f"to hold out a part of the images in {train}, give that folder as the data set"
        )
    unused = ", ".join(f"{p.name}/" for p in folders if p not in (train, others[0]))
    if not unused:
        return Parts(train, others[0])
    told = (
        f"images to train on are those in {train.name}/, held-out ones those in {others[0].name}/"
    )
    return Parts(train, others[0], (f"{told}; not used: {unused}",))


def part_name(path: Path) -> str | None:
    """Return the usual name of a split for a folder that is called like one; else None."""
    name = path.name.lower().replace("-", "_").replace(" ", "_")
    return name if name in TRAIN or name in HELD_OUT else None


def _check_no_parts_are_classes(root: Path, folders: list[Path], parts: list[Path]) -> None:
    """Raise an ``InputError`` if folders of held-out splits would be taken for classes.

    That is so if all folders are called like one, or if one holds folders of the same names as
    those beside it.
    """
    names = {path.name for path in folders}
    repeated = [path for path in parts if names & {inner.name for inner in subfolders(path)}]
    if found := folders if all(part_name(path) for path in folders) else repeated:
        raise InputError(
            f"expected training images, in {root}/train/<class>, beside "
            f"{', '.join(path.name for path in found)}; found no such folder"
        )


def subfolders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted, without hidden ones."""
    return sorted(p for p in folder.iterdir() if not is_hidden(p.name) and p.is_dir())


def _classes(folder: Path) -> tuple[str, ...]:
    names = [p.name for p in subfolders(folder)]
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise InputError(f"expected class names in UTF-8 in {folder}, got {name!r}; rename it")
    if len(names) < 2:
        raise InputError(
            f"expected at least 2 class folders in {folder}, got {len(names)}"
            f"{f': {names[0]}' if names else ''}; put each class's images in {folder}/<class>/, or "
            "name the labels of each image in a labels.csv"
        )
    return tuple(names)


def _ordered(names: tuple[str, ...], order: Sequence[str]) -> tuple[str, ...]:
    return tuple(order) if sorted(order) == sorted(names) else names


def _files(folder: Path, labels: Sequence[str]) -> tuple[Files, list[Path]]:
    """Return the images of all class folders with their classes, and the other files."""
    paths: list[Path] = []
    indices: list[int] = []
    others: list[Path] = []
    for index, label in enumerate(labels):
        images, more = images_below(folder / label)
        others += more
        if not images:
            raise InputError(
                f"expected images (.jpg, .png, .webp and others) in {folder / label}, found none "
                f"among {len(more)} files"
            )
        paths += images
        indices += [index] * len(images)
    return (paths, indices), others


def images_below(folder: Path) -> tuple[list[Path], list[Path]]:
    """Return the images in a folder and those below it, and the other files, both sorted."""
    found = sorted(all_files(folder))
    images = [path for path in found if is_image(path)]
    return images, sorted(set(found) - set(images))


def _images_without_class(folder: Path) -> Iterator[Path]:
    """Yield the images directly in a folder, in none of its class folders."""
    for path in sorted(folder.iterdir()):
        if path.suffix and not is_hidden(path.name) and is_image(path) and path.is_file():
            yield path


def _notes_on_skipped(root: Path, others: list[Path], loose: list[Path]) -> Iterator[str]:
    """Yield a note about files that are no images, and one about images without a class."""
    if others:
        names = first_names([str(path.relative_to(root)) for path in others])
        hints = sorted({hint for path in others if (hint := how_to_read(path))})
        told = f"left out: {counted(len(others), 'file')} that can't be read as an image: {names}"
        yield "; ".join([told, *hints])
    if loose:
        names = first_names([str(path.relative_to(root)) for path in loose])
        yield f"left out: {counted(len(loose), 'image')} in no class folder: {names}"
