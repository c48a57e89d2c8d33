"""Find the pictures of a folder with boxes around objects: in VOC's, COCO's or YOLO's format.

The formats are those of ``voc``, ``coco`` and ``yolo``. The pictures to train on are those of the
part ``train``, held-out ones those of ``test``, or else of ``val``; without such parts a share is
held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.data import coco, folder, parts, voc, yolo
from tfresnet.data.box_marks import Annotated, BoxFolder, Marked, Tally, annotated, counts
from tfresnet.data.folder import first_names
from tfresnet.runtime.errors import InputError


@dataclass(frozen=True)
class Scan:
    """The pictures of a folder with their boxes.

    Attributes:
        labels: the names of the classes, in the order of their numbers.
        train: pictures to train on; all pictures where nothing says what is held out.
        held_out: pictures to evaluate on; None if a share of the others is to be held out.
        notes: lines for a person: what was left out, what was corrected, what is not used.
    """

    labels: tuple[str, ...]
    train: list[Annotated]
    held_out: list[Annotated] | None
    notes: tuple[str, ...]


def find(root: Path) -> BoxFolder | None:
    """Return the folder as one of the formats, of which only the names of files are read.

    None if it is in none of them.

    Raises:
        InputError: it is in YOLO's format, but what names the classes is wrong or missing.
    """
    return voc.find(root) or coco.find(root) or yolo.find(root)


def scan(
    root: Path,
    order: Sequence[str] = (),
    skip_broken: bool = False,
    train_split: str = "train",
    eval_split: str = "test",
) -> Scan:
    """Read the boxes of a folder, check them, and decode each picture to see that it is readable.

    Args:
        root: the folder.
        order: all labels in the order to use; by default that of the files, or else by name.
        skip_broken: whether pictures that are missing or can't be read are left out.
        train_split: the parts to train on, see :func:`.parts.choose`.
        eval_split: those to hold out.

    Raises:
        InputError: the folder is in none of the formats, or one of many mistakes in it.
    """
    found = find(root)
    if found is None:
        raise InputError(
            f"expected boxes in {root}, in the format of VOC (Annotations/*.xml), COCO "
            "(annotations/*.json) or YOLO (data.yaml, images, labels), got none of them"
        )
    chosen = parts.choose(root, found.parts, train_split, eval_split)
    read = found.read([*chosen.train, *chosen.held_out], skip_broken)
    roles = {"train": chosen.train, "held_out": chosen.held_out}
    marked = {
        role: [picture for name in names for picture in read.pictures[name]]
        for role, names in roles.items()
        if names
    }
    pictures, more = _readable(marked, skip_broken)
    labels = _labels(root, read.labels, pictures, order)
    tally = Tally()
    found_in = {role: annotated(part, labels, tally) for role, part in pictures.items()}
    train = found_in["train"]
    unseen = _check_counts(root, labels, train)
    notes = (*chosen.notes, *read.notes, *more, *tally.notes(), *unseen)
    return Scan(labels, train, found_in.get("held_out"), notes)


def _readable(
    parts: dict[str, list[Marked]], skip_broken: bool
) -> tuple[dict[str, list[Marked]], list[str]]:
    """Return the pictures that can be decoded, and notes; see :func:`.folder.check`."""
    files = [([p.path for p in part], [()] * len(part)) for part in parts.values()]
    scan = folder.Scan((), files[0], files[1] if len(files) > 1 else None, (), multi_label=True)
    scan = folder.check(scan, skip_broken)
    kept = {*scan.train[0], *(scan.held_out[0] if scan.held_out else ())}
    readable = {name: [p for p in part if p.path in kept] for name, part in parts.items()}
    return readable, [*scan.notes]


def _labels(
    root: Path,
    stated: tuple[str, ...] | None,
    parts: dict[str, list[Marked]],
    order: Sequence[str],
) -> tuple[str, ...]:
    """Return the labels in the order of their numbers.

    ``order`` may have more labels than the folder. That it has fewer is found with the first box.
    """
    if order:
        if missing := sorted(set(stated or ()) - set(order)):
            raise InputError(
                f"{root}: expected the classes {first_names(order)}, got also "
                f"{first_names(missing)}; take them off the folder's list, or use its own"
            )
        return tuple(order)
    if stated:
        return stated
    pictures = [picture for part in parts.values() for picture in part]
    return tuple(sorted({mark.label for picture in pictures for mark in picture.marks}))


def _check_counts(root: Path, labels: Sequence[str], train: Sequence[Annotated]) -> list[str]:
    """Return notes about classes of which no picture to train on has a box.

    Raises:
        InputError: there is no box at all.
    """
    found = counts(train, labels)
    if not any(found.values()):
        raise InputError(
            f"{root}: expected boxes to learn from in {folder.counted(len(train), 'picture')}, got "
            "none; add annotations"
        )
    missing = [label for label, count in found.items() if not count]
    if not missing:
        return []
    return [f"no picture to train on has: {first_names(missing)}; they can't be learned"]
