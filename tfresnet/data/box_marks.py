"""Boxes as annotation files state them, checked and brought to the pixels of their pictures."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Protocol

import numpy as np

from tfresnet.data.folder import counted, first_names, images_below, map_in_threads
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.picture_files import opened

Box = tuple[float, float, float, float]  # x1, y1, x2, y2

ORIENTATION = 0x0112  # the EXIF tag
EMPTY_SHARE = 0.05  # of all boxes; so many without a width or a height are left out
INSIDE = 0.5  # share of a box's area that must be in the picture
ROUNDING = 0.5  # pixels over the border that are not told


class Mark(NamedTuple):
    """One box as a file states it.

    Attributes:
        label: the name of its class.
        box: x1, y1, x2, y2, of the edges, from the picture's left and top.
        place: in the file, for messages: ``object 2``, ``line 3``.
        ignored: whether it is neither learned nor counted: VOC's ``difficult``, COCO's ``iscrowd``.
    """

    label: str
    box: Box
    place: str
    ignored: bool = False


class Marked(NamedTuple):
    """A picture with its boxes as the files state them.

    Attributes:
        path: of the picture.
        file: that states the boxes.
        marks: the boxes.
        size: width and height of the picture by that file; None if it does not say.
        shares: whether the boxes are in shares of the width and the height, else in pixels.
    """

    path: Path
    file: Path
    marks: Sequence[Mark]
    size: tuple[int, int] | None = None
    shares: bool = False


class Read(NamedTuple):
    """What the files of a folder say.

    Attributes:
        pictures: of each part that was asked for.
        labels: the classes in the order of their numbers; None if only the boxes name them.
        notes: lines for a person.
    """

    pictures: dict[str, list[Marked]]
    labels: tuple[str, ...] | None
    notes: list[str]


class BoxFolder(Protocol):
    """A folder of one of the formats, of which nothing but the names of its files is read yet."""

    @property
    def parts(self) -> Sequence[str]:
        """The names of its splits; a single ``""`` if nothing says what is held out."""
        ...

    def read(self, parts: Sequence[str], skip_broken: bool) -> Read:
        """Read the annotations of some parts, of those to train on first.

        With ``skip_broken`` missing pictures are left out, with a note.

        Raises:
            InputError: the files are not in the format, or say what can't be.
        """
        ...


@dataclass(frozen=True)
class Annotated:
    """A picture with its boxes.

    Attributes:
        path: of the picture.
        size: its width and height in pixels, upright (as its EXIF orientation says).
        boxes: in pixels of the upright picture, x1, y1, x2, y2 of the edges, float32 [n, 4].
        classes: of the boxes, int32 [n].
        ignored: boxes that are neither learned nor counted, bool [n].
    """

    path: Path
    size: tuple[int, int]
    boxes: np.ndarray
    classes: np.ndarray
    ignored: np.ndarray


@dataclass
class Pictures:
    """The pictures below a folder, by the names that annotations may use for them."""

    root: Path
    paths: list[Path] = field(init=False)

    def __post_init__(self) -> None:
        self.paths, _ = images_below(self.root)
        self._known: dict[str, list[Path]] = {}
        for path in self.paths:
            inside = path.relative_to(self.root).as_posix()
            for name in {inside, path.name, path.stem}:
                self._known.setdefault(name, []).append(path)

    def find(self, name: str, near: str, where: str) -> Path | None:
        """Return a picture by its path in the folder, its name, or its name without ending.

        Args:
            name: of the picture.
            near: of several, those with this in the names of their folders are preferred.
            where: what an error begins with.

        Raises:
            InputError: there are several.
        """
        found = self._known.get(name) or self._known.get(name.rpartition("/")[2]) or []
        if len(found) > 1 and near:
            close = [p for p in found if near in p.relative_to(self.root).parent.as_posix().lower()]
            found = close or found
        if len(found) > 1:
            raise InputError(
                f"{where}: expected one picture {name}, got {first_names([str(p) for p in found])}"
                "; rename all but one"
            )
        return found[0] if found else None


@dataclass
class Tally:
    """What was imperfect about boxes, by kind, as places for one note each."""

    clipped: list[str] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    turned: list[str] = field(default_factory=list)
    boxes: int = 0

    def notes(self) -> Iterator[str]:
        """Yield a line about each kind.

        Raises:
            InputError: so many boxes have no width or height that the files must be wrong.
        """
        if len(self.empty) > EMPTY_SHARE * self.boxes:
            raise InputError(
                f"{self.empty[0]}: expected a box with a width and a height, got one without, as "
                f"{len(self.empty)} of {self.boxes} boxes; correct or remove them"
            )
        told = {
            "left out: {} without a width or a height": self.empty,
            "cut off at the border of the picture: {}": self.clipped,
            "left out, as another is the same: {}": self.repeated,
        }
        for text, places in told.items():
            if places:
                yield f"{text.format(counted(len(places), 'box'))}: {first_names(places)}"
        if self.turned:
            yield (
                "boxes were turned with the picture, as its EXIF orientation says, in "
                f"{counted(len(self.turned), 'picture')}: {first_names(self.turned)}"
            )


class Measured(NamedTuple):
    """Width and height of a picture as stored, and its EXIF orientation, 1 to 8."""

    width: int
    height: int
    orientation: int

    @property
    def upright(self) -> tuple[int, int]:
        """Width and height once it is turned as its orientation says."""
        sideways = self.orientation >= 5
        return (self.height, self.width) if sideways else (self.width, self.height)


def measured(path: Path) -> Measured:
    """Return the size of a picture without decoding it."""
    with opened(path) as image:
        orientation = image.getexif().get(ORIENTATION, 1)
        return Measured(*image.size, orientation if orientation in range(1, 9) else 1)


def annotated(pictures: Sequence[Marked], labels: Sequence[str], tally: Tally) -> list[Annotated]:
    """Check the boxes of readable pictures and bring them to the pixels of the upright picture.

    Args:
        pictures: with the boxes as files state them.
        labels: of the classes, in the order of their numbers.
        tally: gets what is imperfect: boxes over the border are cut off, those without a width or
            a height and repeated ones are left out.

    Raises:
        InputError: a class that is not in ``labels``, a box that is no box or lies outside, or a
            size that is not the picture's.
    """
    number_of = {label: number for number, label in enumerate(labels)}
    sizes = map_in_threads(measured, [picture.path for picture in pictures])
    return [
        _annotated(picture, size, number_of, tally)
        for picture, (_, size) in zip(pictures, sizes, strict=True)
    ]


def _annotated(
    picture: Marked, size: Measured, number_of: Mapping[str, int], tally: Tally
) -> Annotated:
    sideways = _stored_sideways(picture, size)
    stated = (size.width, size.height) if sideways else size.upright
    rows: dict[tuple[int, Box], bool] = {}
    for mark in picture.marks:
        where = f"{picture.file}, {mark.place}"
        tally.boxes += 1
        if mark.label not in number_of:
            raise _unknown_class(where, mark.label, number_of)
        box = _checked(mark.box, stated, picture.shares, where, tally)
        if box is None:
            continue
        key = number_of[mark.label], turned(box, size) if sideways else box
        if key in rows:
            tally.repeated.append(where)
        rows[key] = rows.get(key, True) and mark.ignored
    if sideways:
        tally.turned.append(str(picture.path))
    return Annotated(
        picture.path,
        size.upright,
        np.array([box for _, box in rows], np.float32).reshape(-1, 4),
        np.array([number for number, _ in rows], np.int32),
        np.array([*rows.values()], bool),
    )


def _stored_sideways(picture: Marked, size: Measured) -> bool:
    """Tell whether the boxes are in the picture as stored, which is seen turned by 90 degrees.

    The size that the annotation states decides. Where it does not, because the picture is a square
    or turned by 180 degrees, or no size is stated, boxes are in the picture as seen: annotation
    tools in browsers show it so, and Ultralytics reads it so.

    Raises:
        InputError: the stated size is neither.
    """
    if not picture.size or picture.size == size.upright:
        return False
    if picture.size == (size.width, size.height):
        return True
    width, height = picture.size
    raise InputError(
        f"{picture.file}: expected the size of {picture.path.name}, {size.width} x {size.height}, "
        f"got {width} x {height}; the boxes are of another version of the picture: scale both or "
        "take that one"
    )


def turned(box: Box, size: Measured) -> Box:
    """Return a box of a picture as stored, in the picture as seen; of orientations from 5 on."""
    x1, y1, x2, y2 = box
    if size.orientation in (6, 7):
        y1, y2 = size.height - y2, size.height - y1
    if size.orientation in (7, 8):
        x1, x2 = size.width - x2, size.width - x1
    return y1, x1, y2, x2


def _checked(
    given: Box, size: tuple[int, int], shares: bool, where: str, tally: Tally
) -> Box | None:
    """Return a box in pixels within the picture; None if it has no width or no height."""
    width, height = size
    told = " ".join(f"{v:g}" for v in given)
    if not np.isfinite(given).all():
        raise InputError(f"{where}: expected a box of 4 numbers, got {told}; correct or remove it")
    x1, y1, x2, y2 = (v * s for v, s in zip(given, size * 2, strict=True)) if shares else given
    if x2 < x1 or y2 < y1:
        raise InputError(
            f"{where}: expected a box whose left is below its right and whose top is below its "
            f"bottom, got {told} (x1 y1 x2 y2); correct or remove it"
        )
    if x1 == x2 or y1 == y2:
        tally.empty.append(where)
        return None
    inside = max(0.0, x1), max(0.0, y1), min(float(width), x2), min(float(height), y2)
    left, top, right, bottom = inside
    area = max(0.0, right - left) * max(0.0, bottom - top)
    if area < INSIDE * (x2 - x1) * (y2 - y1):
        raise InputError(
            f"{where}: expected a box in the picture of {width} x {height} pixels, got "
            f"{x1:g} {y1:g} {x2:g} {y2:g} (x1 y1 x2 y2), which is outside; correct or remove it"
        )
    if max(left - x1, top - y1, x2 - right, y2 - bottom) > ROUNDING:
        tally.clipped.append(where)
    return inside


def _unknown_class(where: str, label: str, known: Iterable[str]) -> InputError:
    return InputError(
        f"{where}: expected one of the classes {first_names(list(known))}, got {label}; correct "
        "it, or add it to the list of classes"
    )


def missing_pictures(
    places: Sequence[str], skip_broken: bool, of: str = "picture that the annotations name"
) -> list[str]:
    """Return a note about pictures that are not there, if they may be left out.

    Raises:
        InputError: they may not.
    """
    if not places:
        return []
    if skip_broken:
        return [
            f"left out: {counted(len(places), 'annotation')} without picture: {first_names(places)}"
        ]
    raise InputError(
        f"{places[0]}: expected the {of}, it is not there or no image ({len(places)} such); put it "
        "there, or leave them out with --skip-broken (data.skip_broken)"
    )


def without_boxes(paths: Sequence[Path]) -> list[str]:
    """Return a note about pictures that no annotation says anything about."""
    if not paths:
        return []
    count = counted(len(paths), "picture")
    names = first_names([str(path) for path in paths])
    return [f"without annotation, taken as pictures without boxes: {count}: {names}"]


def counts(pictures: Sequence[Annotated], labels: Sequence[str]) -> dict[str, int]:
    """Return how many boxes each class has, without ignored ones."""
    found = Counter(
        int(number) for picture in pictures for number in picture.classes[~picture.ignored]
    )
    return {label: found[number] for number, label in enumerate(labels)}
