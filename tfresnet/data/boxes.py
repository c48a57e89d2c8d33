"""Find the pictures of a folder with boxes around objects: in VOC's, COCO's or YOLO's format.

The formats are those of ``voc``, ``coco`` and ``yolo``. The pictures to train on are those of the
part ``train``, held-out ones those of ``test``, or else of ``val``; without such parts a share is
held out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.data import coco, folder, voc, yolo
from tfresnet.data.box_marks import Annotated, BoxFolder, Marked, Tally, annotated, counts
from tfresnet.data.folder import HELD_OUT, TRAIN, first_names
from tfresnet.runtime.errors import InputError

TRAINING = (*TRAIN, "trainval")
VALIDATION = tuple(name for name in HELD_OUT if "test" not in name)
HELD_OUT_FIRST = (*(name for name in HELD_OUT if "test" in name), *VALIDATION)


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
    train: str = "train",
    held_out: str = "test",
) -> Scan:
    """Read the boxes of a folder, check them, and decode each picture to see that it is readable.

    Args:
        root: the folder.
        order: all labels in the order to use; by default that of the files, or else by name.
        skip_broken: whether pictures that are missing or can't be read are left out.
        train: the part to train on; ``train`` also stands for its usual synonyms.
        held_out: the part to hold out; ``test`` also stands for its synonyms, and for those of
            ``val`` if there is none.

    Raises:
        InputError: the folder is in none of the formats, or one of many mistakes in it.
    """
    found = find(root)
    if found is None:
        raise InputError(
            f"expected boxes in {root}, in the format of VOC (Annotations/*.xml), COCO "
            "(annotations/*.json) or YOLO (data.yaml, images, labels), got none of them"
        )
    ours, theirs, notes = _choose(root, found.parts, train, held_out)
    read = found.read([ours] if theirs is None else [ours, theirs], skip_broken)
    pictures, more = _readable(read.pictures, skip_broken)
    labels = _labels(root, read.labels, pictures, order)
    tally = Tally()
    parts = {part: annotated(marked, labels, tally) for part, marked in pictures.items()}
    notes += [*read.notes, *more, *tally.notes(), *_check_counts(root, labels, parts[ours])]
    return Scan(labels, parts[ours], None if theirs is None else parts[theirs], tuple(notes))


def _choose(
    root: Path, parts: Sequence[str], train: str, held_out: str
) -> tuple[str, str | None, list[str]]:
    """Return the parts to train on and to hold out, and a note about those that are not used."""
    if [*parts] == [""]:
        return "", None, []
    ours = _chosen(parts, "data.train_split", train, "train", TRAINING)
    theirs = _chosen(parts, "data.eval_split", held_out, "test", HELD_OUT_FIRST)
    if ours is None:
        raise InputError(
            f"expected pictures to train on in {root}, a part train, got only {', '.join(parts)}"
        )
    if ours == theirs:
        raise InputError(f"data.eval_split: expected another part than {ours}, got the same")
    unused = ", ".join(part for part in parts if part not in (ours, theirs))
    told = f"pictures to train on are those of {ours}, held-out ones " + (
        f"those of {theirs}" if theirs else "a share of them"
    )
    return ours, theirs, [f"{told}; not used: {unused}"] if unused else []


def _chosen(
    parts: Sequence[str], key: str, name: str, default: str, synonyms: Sequence[str]
) -> str | None:
    """Return the part called ``name``, or by the first synonym of the default."""
    if name in parts:
        return name
    if name != default:
        raise InputError(f"{key}: expected one of {', '.join(parts)}, got {name}")
    usual = {folder.part_name(Path(part)) or part: part for part in parts}
    return next((usual[synonym] for synonym in synonyms if synonym in usual), None)


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
