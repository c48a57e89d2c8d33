"""Find the images of a folder that has a mask for each of them.

``images/<split>/NAME.jpg`` (or any other picture) beside ``masks/<split>/NAME.png``, and
``classes.txt`` with the names of the classes (see ``class_file``): a pixel of a mask is the index
of its class, or 255, void, where it has none. Without splits, ``images/*`` beside ``masks/*.png``,
a share is held out.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfresnet.data import class_file, masks, parts
from tfresnet.data.class_file import Classes
from tfresnet.data.folder import (
    Files,
    bit_depth_notes,
    counted,
    first_names,
    images_below,
    map_in_threads,
    part_name,
    subfolders,
    without_files,
)
from tfresnet.data.masks import PROBLEMS, Examined, MaskFile
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import VOID

IMAGES, MASKS = "images", "masks"


@dataclass(frozen=True)
class MaskScan:
    """The images of a folder with their masks.

    Attributes:
        root: the folder.
        classes: names and colors.
        train: image files and their masks; all where there is no held-out part.
        held_out: image files and masks of the held-out part; None if there is none.
        notes: lines for a person: what was left out, and which part was taken.
    """

    root: Path
    classes: Classes
    train: Files
    held_out: Files | None
    notes: tuple[str, ...]


def is_one(root: Path) -> bool:
    """Tell whether a folder has images beside masks."""
    return (root / IMAGES).is_dir() and (root / MASKS).is_dir()


def scan(
    root: Path,
    labels: Path | None = None,
    skip_missing: bool = False,
    train_split: str = "train",
    eval_split: str = "test",
) -> MaskScan:
    """Find images and masks by their names; none is opened.

    Args:
        root: the folder.
        labels: the file with the classes; by default ``classes.txt`` in the folder.
        skip_missing: whether images without a mask are left out.
        train_split: the folders in ``images`` to train on, see :func:`.parts.choose`.
        eval_split: those to hold out.

    Raises:
        InputError: there are no classes, images to train on, or masks of some images.
    """
    for part in (IMAGES, MASKS):
        if not (root / part).is_dir():
            raise InputError(
                f"expected {IMAGES}/ and {MASKS}/ in {root}, found no {part}/; a mask is called "
                f"as its image: {IMAGES}/train/a.jpg, {MASKS}/train/a.png"
            )
    file = labels or root / class_file.NAME
    if not file.is_file():
        raise InputError(
            f"expected {file} with the names of the classes, one a line, in the order of the "
            "indices in the masks, found no such file"
        )
    classes = class_file.read(file)
    train_parts, held_parts, notes = _find_parts(root / IMAGES, train_split, eval_split)
    pngs = [path for path in images_below(root / MASKS)[0] if path.suffix.lower() == ".png"]
    known = {path.relative_to(root / MASKS).with_suffix("").as_posix(): path for path in pngs}
    train, more = _matched(root, train_parts, known, skip_missing)
    notes += more
    held_out = None
    if held_parts:
        held_out, more = _matched(root, held_parts, known, skip_missing)
        notes += more
    images = (*train[0], *(held_out or ((),))[0])
    notes += _notes_on_lone_masks(root, [*train_parts, *held_parts], known, images)
    return MaskScan(root, classes, train, held_out, tuple(notes))


def check(scan: MaskScan, skip_broken: bool = False) -> MaskScan:
    """Decode all images and masks, on all cores; return the scan without those that are broken.

    Masks of images that EXIF turns are turned too, if they are as large as what is stored. Without
    colors in ``classes.txt`` those of the first palette PNG are taken.

    Raises:
        InputError: a mask does not fit its image or the classes, only one class has pixels to
            train on, or files are broken and ``skip_broken`` is off; the message names them.
    """
    seen = _examined(scan)
    _check_problems(scan, seen)
    bad = {image: found.broken for image, found in seen.items() if found.broken}
    notes = list(scan.notes)
    if bad:
        told = first_names([f"{path} ({reason})" for path, reason in bad.values()])
        if not skip_broken:
            raise InputError(
                f"expected readable images and masks, got {len(bad)} that are not: {told}; remove "
                "or replace them, or leave them out with --skip-broken (data.skip_broken)"
            )
        notes.append(f"left out: {counted(len(bad), 'image')} that can't be read: {told}")
    deep: dict[int, list[Path]] = defaultdict(list)
    for image, found in seen.items():
        if found.bits:
            deep[found.bits].append(image)
    train, held_out = (
        part and _with_turns(without_files(part, bad), seen) for part in (scan.train, scan.held_out)
    )
    for part in (train, held_out):
        if part and not part[0]:
            raise InputError(f"expected readable images with masks in {scan.root}, got none")
    assert train
    notes += [*bit_depth_notes(deep), *_notes_on_classes(scan, [seen[path] for path in train[0]])]
    classes = scan.classes
    if not classes.colors:
        classes = replace_colors(classes, [found.palette for found in seen.values()])
    return replace(scan, classes=classes, train=train, held_out=held_out, notes=tuple(notes))


def _find_parts(
    images: Path, train_split: str, eval_split: str
) -> tuple[list[Path], list[Path], list[str]]:
    """Return the folders of the training and the held-out images, and a note about others."""
    names = [path.name for path in subfolders(images)]
    asked = (train_split, eval_split) != parts.DEFAULTS
    if not names or not (asked or any(part_name(Path(name)) for name in names)):
        names = [""]  # folders of any other names are no parts: all images belong together
    found = parts.choose(images, names, train_split, eval_split)
    train, held_out = ([images / name for name in part] for part in (found.train, found.held_out))
    return train, held_out, [*found.notes]


def _matched(
    root: Path, folders: Sequence[Path], known: dict[str, Path], skip_missing: bool
) -> tuple[Files, list[str]]:
    """Match the images of folders with their masks; return both, and notes on what is left out."""
    images: list[Path] = []
    others: list[Path] = []
    for folder in folders:
        found_images, found_others = images_below(folder)
        if not found_images:
            raise InputError(
                f"expected images in {folder}, found none among {len(found_others)} files"
            )
        images += found_images
        others += found_others
    found = {path: known.get(_inside(root, path)) for path in images}
    notes = []
    if others:
        names = first_names([str(path.relative_to(root)) for path in others])
        notes.append(f"left out: {counted(len(others), 'file')} that can't be read: {names}")
    if missing := [path for path, mask in found.items() if mask is None]:
        wanted = Path(MASKS) / f"{_inside(root, missing[0])}.png"
        names = first_names([str(path.relative_to(root)) for path in missing])
        if len(missing) == len(images) or not skip_missing:
            hint = "" if len(missing) == len(images) else (
                "; add them, or leave such images out with --skip-broken (data.skip_broken)"
            )  # fmt: skip
            raise InputError(
                f"{root}: expected a mask for each image, such as {wanted}, {len(missing)} of "
                f"{len(images)} have none: {names}{hint}"
            )
        notes.append(f"left out: {counted(len(missing), 'image')} without a mask: {names}")
    pairs = [(path, MaskFile(mask)) for path, mask in found.items() if mask]
    return ([path for path, _ in pairs], [mask for _, mask in pairs]), notes


def _inside(root: Path, image: Path) -> str:
    """Return the name of an image in its folder, without the ending: ``train/a``."""
    return image.relative_to(root / IMAGES).with_suffix("").as_posix()


def _notes_on_lone_masks(
    root: Path, folders: Sequence[Path], known: dict[str, Path], images: Sequence[Path]
) -> Iterator[str]:
    """Yield a note about masks, in the folders of these parts, that belong to no image."""
    there = {_inside(root, path) for path in images}
    beside = [root / MASKS / folder.relative_to(root / IMAGES) for folder in folders]
    lone = [
        path.relative_to(root).as_posix()
        for name, path in known.items()
        if name not in there and any(path.is_relative_to(folder) for folder in beside)
    ]
    if lone:
        yield f"not used: {counted(len(lone), 'mask')} without an image: {first_names(lone)}"


def _examined(scan: MaskScan) -> dict[Path, Examined]:
    """Decode all pairs in threads."""
    both = [scan.train, *([scan.held_out] if scan.held_out else [])]
    mask_of = {image: mask for part in both for image, mask in zip(*part, strict=True)}
    count = len(scan.classes.labels)

    def examine(image: Path) -> Examined:
        return masks.examine(image, mask_of[image], count)

    return dict(map_in_threads(examine, list(mask_of)))


def _check_problems(scan: MaskScan, seen: dict[Path, Examined]) -> None:
    """Raise an ``InputError`` for the first kind of problem that any mask has."""
    for kind, (expected, advice) in PROBLEMS.items():
        told = [
            f"{found.mask.path.relative_to(scan.root)} ({found.problem[1]})"
            for found in seen.values()
            if found.problem and found.problem[0] == kind
        ]
        if told:
            expected = expected.format(highest=len(scan.classes.labels) - 1)
            raise InputError(f"{scan.root}: expected {expected}, got {first_names(told)}; {advice}")


def _with_turns(part: Files, seen: dict[Path, Examined]) -> Files:
    return part[0], [seen[image].mask for image in part[0]]


def _notes_on_classes(scan: MaskScan, seen: Sequence[Examined]) -> Iterator[str]:
    """Yield a note if classes have no pixel to train on.

    Raises:
        InputError: only one has.
    """
    labels = scan.classes.labels
    counts = np.sum([found.counts for found in seen if found.counts is not None], axis=0)
    there = np.flatnonzero(counts[: len(labels)])
    if len(there) < 2:
        only = f"only {labels[there[0]]}" if len(there) else "none"
        binary = "; where 255 is meant as a class, write 1" if counts[VOID] else ""
        raise InputError(
            f"{scan.root}: expected pixels of at least 2 classes in the masks to train on, got "
            f"{only}{' and void (255)' if counts[VOID] else ''}{binary}"
        )
    if len(there) < len(labels):
        missing = ", ".join(label for i, label in enumerate(labels) if i not in there)
        yield f"no mask to train on has a pixel of: {missing}; they can't be learned"


def replace_colors(classes: Classes, palettes: Sequence[np.ndarray | None]) -> Classes:
    """Return the classes in the colors of the first palette that has different ones for them."""
    count = len(classes.labels)
    for palette in palettes:
        if palette is None or len(palette) < count:
            continue
        colors = tuple("#{:02x}{:02x}{:02x}".format(*color) for color in palette[:count])
        if len(set(colors)) == count and np.ptp(palette[:count], axis=1).any():  # no gray ramp
            return Classes(classes.labels, colors)
    return classes
