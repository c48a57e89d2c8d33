"""Read boxes in the format of Pascal VOC: an XML file for each picture.

``Annotations/*.xml`` beside ``JPEGImages/`` and the lists ``ImageSets/Main/train.txt``,
``val.txt``, ``test.txt``; pictures may also be in ``images/`` or anywhere below the folder, and XML
files beside the pictures in ``train/``, ``valid/``, ``test/``, as Roboflow writes them.

VOC counts pixels from 1, and ``xmax`` and ``ymax`` are still inside the box: one pixel is taken off
``xmin`` and ``ymin``, and then the four numbers are the edges. Where one of the files has a 0 they
do not count from 1, and all numbers are taken as they are.
"""

import xml.etree.ElementTree as ElementTree
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.data.box_marks import (
    Mark,
    Marked,
    Pictures,
    Read,
    missing_pictures,
    without_boxes,
)
from tfresnet.data.folder import part_name, subfolders
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_text

ANNOTATIONS = ("annotations", "annotation", "xmls", "xml")
EDGES = ("xmin", "ymin", "xmax", "ymax")


@dataclass(frozen=True)
class VocFolder:
    """See :class:`.box_marks.BoxFolder`.

    Attributes:
        root: the folder.
        folders: with the XML files of each part; a single one, ``""``, if there are lists.
        lists: the list of each part; none if there are only folders.
    """

    root: Path
    folders: dict[str, Path]
    lists: dict[str, Path]

    @property
    def parts(self) -> Sequence[str]:
        """The names of the splits."""
        return [*(self.lists or self.folders)]

    def read(self, parts: Sequence[str], skip_broken: bool) -> Read:
        """See :class:`.box_marks.BoxFolder`."""
        pictures = _pictures(self.root)
        missing: list[str] = []
        alone: list[Path] = []
        found = {
            part: [*(self._listed if self.lists else self._all)(part, pictures, missing, alone)]
            for part in parts
        }
        notes = [*missing_pictures(missing, skip_broken), *without_boxes(alone)]
        return Read(_from_zero(found), None, notes)

    def _listed(
        self, part: str, pictures: Pictures, missing: list[str], alone: list[Path]
    ) -> Iterator[Marked]:
        """Yield the pictures that the list of a part names."""
        list_file, (folder,) = self.lists[part], self.folders.values()
        for number, name in _names(list_file):
            where = f"{list_file}, line {number}"
            path = pictures.find(name, "", where)
            annotation = folder / f"{Path(name).name}.xml"
            if path is None:
                missing.append(f"{where}, {name}")
            elif annotation.is_file():
                yield marked(path, annotation)
            else:
                alone.append(path)
                yield Marked(path, list_file, ())

    def _all(
        self, part: str, pictures: Pictures, missing: list[str], alone: list[Path]
    ) -> Iterator[Marked]:
        """Yield the pictures of all XML files of a folder, and those that have none."""
        files = sorted(self.folders[part].glob("*.xml"))
        seen = set()
        for file in files:
            path = pictures.find(file.stem, part and self.folders[part].name.lower(), str(file))
            if path is None:
                missing.append(str(file))
            else:
                seen.add(path)
                yield marked(path, file)
        folder = self.folders[part] if part else pictures.root
        rest = [p for p in pictures.paths if p not in seen and p.is_relative_to(folder)]
        alone += rest
        yield from (Marked(path, path, ()) for path in rest)


def find(root: Path) -> VocFolder | None:
    """Return a folder of VOC's format; None if it is none."""
    folders = {path.name.lower(): path for path in subfolders(root)}
    for name in ANNOTATIONS:
        if name in folders and any(folders[name].glob("*.xml")):
            return VocFolder(root, {"": folders[name]}, _lists(root))
    parts = {part: path for path in folders.values() if (part := part_name(path))}
    beside = {part: path for part, path in parts.items() if any(path.glob("*.xml"))}
    return VocFolder(root, beside, {}) if beside else None


class _WithoutEntities(ElementTree.TreeBuilder):
    """Refuses a document type: in there entities are declared, which may name other files."""

    def doctype(self, *_: str | None) -> None:
        raise ValueError("expected no document type, which this format has not")


def marked(path: Path, file: Path) -> Marked:
    """Return a picture with the boxes of its XML file, VOC's pixels as they are.

    Raises:
        InputError: the file is no such XML.
    """
    try:
        parser = ElementTree.XMLParser(target=_WithoutEntities())
        tree = ElementTree.fromstring(file.read_bytes(), parser)
    except (OSError, ValueError, ElementTree.ParseError) as error:
        raise InputError(
            f"{file}: expected XML in the format of Pascal VOC: {error}; correct the file"
        ) from None
    objects = enumerate(tree.iter("object"), start=1)
    marks = [_mark(file, number, element) for number, element in objects]
    return Marked(path, file, marks, _size(file, tree))


def _mark(file: Path, number: int, element: ElementTree.Element) -> Mark:
    place = f"object {number}"
    name = (element.findtext("name") or "").strip()
    if not name:
        raise InputError(f"{file}, {place}: expected the name of a class, got none; add <name>")
    texts = [(element.findtext(f"bndbox/{edge}") or "").strip() for edge in EDGES]
    try:
        x1, y1, x2, y2 = map(float, texts)
    except ValueError:
        raise InputError(
            f"{file}, {place}: expected <bndbox> with the numbers {', '.join(EDGES)}, got "
            f"{', '.join(text or 'nothing' for text in texts)}; correct or remove it"
        ) from None
    difficult = (element.findtext("difficult") or "0").strip() not in ("0", "")
    return Mark(name, (x1, y1, x2, y2), place, difficult)


def _size(file: Path, tree: ElementTree.Element) -> tuple[int, int] | None:
    """Return the width and height that a file states; None where they are missing or 0."""
    texts = [(tree.findtext(f"size/{side}") or "0").strip() for side in ("width", "height")]
    try:
        width, height = (round(float(text)) for text in texts)
    except (ValueError, OverflowError):
        raise InputError(
            f"{file}: expected <size> with a width and a height in pixels, got {' x '.join(texts)}"
            "; correct or remove it"
        ) from None
    return (width, height) if width and height else None


def _from_zero(found: dict[str, list[Marked]]) -> dict[str, list[Marked]]:
    """Return the pictures with their boxes as edges that count from 0."""
    marks = [mark for pictures in found.values() for picture in pictures for mark in picture.marks]
    if any(min(mark.box[:2]) < 1 for mark in marks):
        return found

    def edges(mark: Mark) -> Mark:
        x1, y1, x2, y2 = mark.box
        return mark._replace(box=(x1 - 1, y1 - 1, x2, y2) if x1 < x2 and y1 < y2 else mark.box)

    return {
        part: [p._replace(marks=[*map(edges, p.marks)]) for p in pictures]
        for part, pictures in found.items()
    }


def _pictures(root: Path) -> Pictures:
    """Return the pictures of ``JPEGImages`` or ``images``, else all: VOC has masks beside them."""
    folders = {path.name.lower(): path for path in subfolders(root)}
    return Pictures(folders.get("jpegimages") or folders.get("images") or root)


def _lists(root: Path) -> dict[str, Path]:
    """Return the lists of pictures by the names of their parts, without those of single classes."""
    files = sorted((root / "ImageSets" / "Main").glob("*.txt"))
    return {file.stem.lower(): file for file in files if "_" not in file.stem}


def _names(file: Path) -> Iterable[tuple[int, str]]:
    """Yield the numbers and the names of the lines of a list.

    Raises:
        InputError: the list is empty, or names a picture twice.
    """
    seen: dict[str, int] = {}
    for number, line in enumerate(read_text(file).splitlines(), start=1):
        if not (words := line.split()):
            continue
        if words[0] in seen:
            raise InputError(
                f"{file}, line {number}: expected each picture once, got {words[0]} in line "
                f"{seen[words[0]]} too; remove one"
            )
        seen[words[0]] = number
    if not seen:
        raise InputError(f"{file}: expected the name of a picture a line, got none; fill the list")
    return [(number, name) for name, number in seen.items()]
