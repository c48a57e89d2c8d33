"""Read boxes in the format of YOLO: a text file for each picture, and ``data.yaml``.

``data.yaml`` has ``names``, and the pictures of ``train``, ``val`` and ``test``: folders, lists of
pictures, or several of them, relative to ``path``, as https://docs.ultralytics.com/datasets/detect
has it; Roboflow's ``../train/images`` is understood too. The boxes of ``images/train/a.jpg`` are in
``labels/train/a.txt``: a line for each, the class's number, then center x, center y, width and
height in shares of the picture. A picture without a file, or with an empty one, has no boxes. Of a
polygon (more numbers) the box around it is taken.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from tfresnet.data import class_file
from tfresnet.data.box_marks import Mark, Marked, Read, missing_pictures, without_boxes
from tfresnet.data.folder import counted, first_names, images_below, part_name, subfolders
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.picture_files import is_image
from tfresnet.system.files import is_there, read_text

NAMES = ("classes.txt", "obj.names")  # where there is no data.yaml
ROUNDING = 0.001  # above 1 that writing few digits may give


@dataclass(frozen=True)
class YoloFolder:
    """See :class:`.box_marks.BoxFolder`.

    Attributes:
        root: the folder.
        file: that names the classes.
        labels: the classes.
        where: folders of pictures and lists of them, by part.
        keypoints: whether the numbers after the box are key points, not a polygon.
    """

    root: Path
    file: Path
    labels: tuple[str, ...]
    where: dict[str, list[Path]]
    keypoints: bool = False

    @property
    def parts(self) -> Sequence[str]:
        """The names of the splits."""
        return [*self.where]

    def read(self, parts: Sequence[str], skip_broken: bool) -> Read:
        """See :class:`.box_marks.BoxFolder`."""
        reading = _Reading(self.root, self.labels, self.keypoints)
        found = {
            part: [reading.marked(path) for place in self.where[part] for path in _paths(place)]
            for part in parts
        }
        for part, pictures in found.items():
            if not pictures:
                raise InputError(
                    f"{self.file}: expected pictures in {part or 'images'}, "
                    f"{', '.join(map(str, self.where[part]))}, got none"
                )
        known = {_labels_of(p.path, self.root) for pictures in found.values() for p in pictures}
        folders = sorted({file.parent for file in known})
        files = sorted(file for folder in folders for file in folder.glob("*.txt"))
        alone = [str(f) for f in files if f not in known and f.name not in NAMES]
        missing = missing_pictures(alone, skip_broken, "picture of these labels")
        notes = [*missing, *without_boxes(reading.alone), *reading.notes()]
        return Read(found, self.labels, notes)


@dataclass
class _Reading:
    """Reads files of labels, and notes what is odd."""

    root: Path
    labels: tuple[str, ...]
    keypoints: bool
    alone: list[Path] = field(default_factory=list)
    polygons: list[str] = field(default_factory=list)

    def notes(self) -> Iterator[str]:
        """Yield a note about polygons."""
        if self.polygons:
            count = counted(len(self.polygons), "polygon")
            yield f"of {count} the box around it is taken: {first_names(self.polygons)}"

    def marked(self, path: Path) -> Marked:
        """Return a picture with the boxes of its file."""
        file = _labels_of(path, self.root)
        if not file.is_file():
            self.alone.append(path)
            return Marked(path, file, (), shares=True)
        lines = enumerate(read_text(file).splitlines(), start=1)
        marks = [self._mark(file, number, line.split()) for number, line in lines if line.strip()]
        return Marked(path, file, marks, shares=True)

    def _mark(self, file: Path, line: int, words: list[str]) -> Mark:
        where = f"{file}, line {line}"
        try:
            number, *values = (float(word) for word in words)
        except ValueError:
            number, values = -1.0, []
        is_polygon = len(values) >= 6 and len(values) % 2 == 0 and not self.keypoints
        if len(values) != 4 and not is_polygon and not (self.keypoints and len(values) > 4):
            raise InputError(
                f"{where}: expected 5 numbers, class, center x, center y, width and height, got "
                f"{' '.join(words)[:60]}; correct or remove the line"
            )
        if number not in range(len(self.labels)):
            raise InputError(
                f"{where}: expected the number of a class, 0 to {len(self.labels) - 1}, got "
                f"{words[0]}; correct it, or add the class to names"
            )
        values = values if is_polygon else values[:4]
        if any(abs(value) > 1 + ROUNDING for value in values):
            raise InputError(
                f"{where}: expected shares of the picture's width and height, 0 to 1, got "
                f"{' '.join(words[1:])[:60]}; divide pixels by the width and the height"
            )
        if is_polygon:
            self.polygons.append(where)
            xs, ys = values[::2], values[1::2]
            box = (min(xs), min(ys), max(xs), max(ys))
        else:
            x, y, width, height = values
            box = (x - width / 2, y - height / 2, x + width / 2, y + height / 2)
        return Mark(self.labels[int(number)], box, f"line {line}")


def find(root: Path) -> YoloFolder | None:
    """Return a folder of YOLO's format; None if it is none.

    Raises:
        InputError: it is one, but its ``data.yaml`` is wrong, or nothing names the classes.
    """
    for file in sorted((*root.glob("*.yaml"), *root.glob("*.yml")), key=_usual_first):
        text = read_text(file)
        if re.search(r"^(names|nc)\s*:", text, re.MULTILINE) and "train" in text:
            return _described(root, file, text)
    if not _has_labels(root):
        return None
    names = next((root / name for name in NAMES if (root / name).is_file()), None)
    if names is None:
        raise InputError(
            f"{root}: expected the names of the classes of labels/*.txt, got neither data.yaml nor "
            "classes.txt; write them in classes.txt, one a line"
        )
    return YoloFolder(root, names, class_file.read(names, 1).labels, _folders(root))


def _usual_first(path: Path) -> tuple[bool, str]:
    return path.stem not in ("data", "dataset"), path.name


def _has_labels(root: Path) -> bool:
    labels = root / "labels"
    return (root / "images").is_dir() and labels.is_dir() and any(labels.glob("**/*.txt"))


def _folders(root: Path) -> dict[str, list[Path]]:
    """Return the folders of pictures of ``images/``, by part."""
    parts = {name: [path] for path in subfolders(root / "images") if (name := part_name(path))}
    return parts or {"": [root / "images"]}


def _described(root: Path, file: Path, text: str) -> YoloFolder:
    try:
        content = yaml.safe_load(text)
    except yaml.YAMLError as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{file}: expected YAML: {reason}; correct the file") from None
    if not isinstance(content, dict):
        raise InputError(f"{file}: expected names, train and val, got {content!r:.60}")
    where = {
        part: [_place(root, content.get("path"), text, f"{file}, {part}") for text in places]
        for part in ("train", "val", "test")
        if (places := _listed(content.get(part)))
    }
    labels = _distinct(file, _names(file, content.get("names")))
    return YoloFolder(root, file, labels, where, "kpt_shape" in content)


def _listed(value: Any) -> list[str]:
    return [str(one) for one in value] if isinstance(value, list) else [str(value)] if value else []


def _names(file: Path, names: Any) -> tuple[str, ...]:
    """Return the classes' names, given as a list or by their numbers from 0 on."""
    if isinstance(names, dict) and [*names] != [*range(len(names))]:
        if sorted(names, key=str) != sorted(range(len(names)), key=str):
            raise InputError(
                f"{file}, names: expected a name for each number from 0 to {len(names) - 1}, got "
                f"{first_names([str(key) for key in names])}; number them so"
            )
        names = {key: names[key] for key in sorted(names)}
    found = [*names.values()] if isinstance(names, dict) else names
    return tuple(str(name) for name in found) if isinstance(found, list) else ()


def _distinct(file: Path, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names; ``InputError`` if there are none, or one twice."""
    twice = sorted({name for name in names if names.count(name) > 1})
    if not names or twice:
        raise InputError(
            f"{file}, names: expected the names of the classes, each once, got "
            f"{', '.join(twice) + ' twice' if twice else 'none'}; correct the list"
        )
    return names


def _place(root: Path, base: Any, text: str, where: str) -> Path:
    """Return a folder of pictures or a list of them; where it is there, by Ultralytics' rules."""
    bases = [root / str(base), root] if base else [root]
    tried = [folder / name for folder in bases for name in (text, re.sub(r"^(\.\./)+", "", text))]
    for path in tried:
        if is_there(path):
            return path
    raise InputError(
        f"{where}: expected a folder of pictures or a list of them, {text} is not in {root}; "
        "correct the path"
    )


def _paths(place: Path) -> Iterator[Path]:
    """Yield the pictures of a folder, or of a list."""
    if place.is_dir():
        yield from images_below(place)[0]
        return
    seen: set[str] = set()
    for number, line in enumerate(read_text(place).splitlines(), start=1):
        if not (name := line.strip()):
            continue
        path = place.parent / name
        if name in seen or not (is_there(path) and path.is_file() and is_image(path)):
            got = "it again" if name in seen else "no such picture"
            raise InputError(
                f"{place}, line {number}: expected a picture that is named once, got {got}, {name};"
                " correct the list"
            )
        seen.add(name)
        yield path


def _labels_of(picture: Path, root: Path) -> Path:
    """Return the file with a picture's boxes: the last folder ``images`` is ``labels``."""
    above = root if picture.is_relative_to(root) else Path(picture.anchor)
    parts = [*picture.relative_to(above).parts]
    folders = parts[:-1][::-1]
    if "images" in folders:
        parts[len(folders) - 1 - folders.index("images")] = "labels"
    return above.joinpath(*parts).with_suffix(".txt")
