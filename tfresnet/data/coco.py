"""Read boxes in the format of COCO: a JSON file for each split.

``annotations/instances_train2017.json`` and the like, pictures in ``images/``, ``train2017/`` or
anywhere below; also ``train/_annotations.coco.json`` beside the pictures, as Roboflow writes it.
A box is ``[left, top, width, height]`` in pixels that count from 0. Boxes with ``iscrowd`` are
ignored, of which https://cocodataset.org/#format-data says that they stand for many objects.
"""

import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.data.box_marks import Box, Mark, Marked, Pictures, Read, missing_pictures
from tfresnet.data.folder import part_name, subfolders
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_text

BESIDE = "_annotations.coco.json"
IDS = ("id", "image_id", "category_id")


@dataclass(frozen=True)
class CocoFolder:
    """See :class:`.box_marks.BoxFolder`; ``files`` has the JSON file of each part."""

    root: Path
    files: dict[str, Path]

    @property
    def parts(self) -> Sequence[str]:
        """The names of the splits."""
        return [*self.files]

    def read(self, parts: Sequence[str], skip_broken: bool) -> Read:
        """See :class:`.box_marks.BoxFolder`."""
        pictures = Pictures(self.root)
        missing: list[str] = []
        contents = {part: _content(self.files[part]) for part in parts}
        names = {part: _categories(self.files[part], contents[part]) for part in parts}
        found = {
            part: _read(self.files[part], part, contents[part], names[part], pictures, missing)
            for part in parts
        }
        labels = tuple(names[parts[0]].values())
        return Read(found, labels, missing_pictures(missing, skip_broken))


def find(root: Path) -> CocoFolder | None:
    """Return a folder of COCO's format; None if it is none."""
    folders = subfolders(root)
    beside = {name: path / BESIDE for path in folders if (name := part_name(path))}
    if here := {name: file for name, file in beside.items() if file.is_file()}:
        return CocoFolder(root, here)
    inside = [path for path in folders if path.name.lower() == "annotations"]
    files = sorted(file for path in inside for file in path.glob("*.json"))
    # COCO has captions and key points of the same pictures beside the boxes.
    files = [file for file in files if "instances" in file.stem] or files
    return CocoFolder(root, {_part(file, len(files)): file for file in files}) if files else None


def _part(file: Path, count: int) -> str:
    """Return the part that a file is named after, as in ``instances_train2017``; its stem if none.

    The only file of a folder that is named after no part has all pictures.
    """
    words = re.split(r"[^a-z]+", file.stem.lower())
    known = [word for word in words if part_name(Path(word)) or word == "trainval"]
    return known[-1] if known else "" if count == 1 else file.stem


def _content(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(read_text(file))
    except ValueError as error:
        raise InputError(f"{file}: expected JSON: {error}; correct the file") from None
    for key in ("images", "annotations", "categories"):
        if not isinstance(content, dict) or not isinstance(content.get(key), list):
            raise InputError(
                f"{file}: expected a list under images, annotations and categories, got none under "
                f"{key}; write it in the format of COCO's instances"
            )
        for number, entry in enumerate(content[key], start=1):
            if not isinstance(entry, dict) or not all(_is_id(entry.get(name)) for name in IDS):
                raise InputError(
                    f"{file}, {key}, entry {number}: expected an object whose ids are numbers, got "
                    f"{json.dumps(entry)[:80]}; correct or remove it"
                )
    return content


def _is_id(value: Any) -> bool:
    return value is None or isinstance(value, (int, str))


def _categories(file: Path, content: dict[str, Any]) -> dict[Any, str]:
    """Return the names of the categories by their ids, in that order.

    Roboflow puts the name of the data set first, as the others' ``supercategory``, without boxes.
    """
    used = {annotation.get("category_id") for annotation in content["annotations"]}
    above = [category.get("supercategory") for category in content["categories"]]
    found: dict[Any, str] = {}
    for category in content["categories"]:
        number, name = category.get("id"), category.get("name")
        if type(number) is not int or not isinstance(name, str) or name in found.values():
            raise InputError(
                f"{file}, categories: expected an id and a name of its own for each, got "
                f"{json.dumps(category)[:80]}; correct it"
            )
        if number in used or name not in above or category.get("supercategory") != "none":
            found[number] = name
    if not found:
        raise InputError(f"{file}, categories: expected the classes of the boxes, got none")
    return dict(sorted(found.items()))


def _read(
    file: Path,
    part: str,
    content: dict[str, Any],
    names: Mapping[Any, str],
    pictures: Pictures,
    missing: list[str],
) -> list[Marked]:
    images = _images(file, content["images"])
    marks: dict[Any, list[Mark]] = defaultdict(list)
    for number, annotation in enumerate(content["annotations"]):
        place = f"annotation {annotation.get('id', number)}"
        where = f"{file}, {place}"
        image, category = annotation.get("image_id"), annotation.get("category_id")
        if image not in images:
            raise InputError(
                f"{where}: expected the id of one of the images, got {image}; add the image or "
                "remove the annotation"
            )
        if category not in names:
            raise InputError(
                f"{where}: expected the id of one of the categories, got {category}; add the "
                "category or correct it"
            )
        box = _box(annotation.get("bbox"), where)
        marks[image].append(Mark(names[category], box, place, bool(annotation.get("iscrowd"))))
    found = []
    for key, image in images.items():
        path = pictures.find(image["file_name"], part, f"{file}, image {key}")
        if path is None:
            missing.append(f"{file}, image {key}, {image['file_name']}")
        else:
            found.append(Marked(path, file, marks[key], _size(image)))
    return found


def _images(file: Path, images: Sequence[dict[str, Any]]) -> dict[Any, dict[str, Any]]:
    """Return the pictures by their ids."""
    found: dict[Any, dict[str, Any]] = {}
    names: set[str] = set()
    for image in images:
        key, name = image.get("id"), image.get("file_name")
        if key is None or not isinstance(name, str) or key in found or name in names:
            raise InputError(
                f"{file}, images: expected an id and a file_name of its own for each, got "
                f"{json.dumps(image)[:80]}; correct or remove it"
            )
        found[key] = image
        names.add(name)
    if not found:
        raise InputError(f"{file}, images: expected pictures, got none; fill the list")
    return found


def _size(image: dict[str, Any]) -> tuple[int, int] | None:
    width, height = image.get("width"), image.get("height")
    if not isinstance(width, int) or not isinstance(height, int) or not width or not height:
        return None
    return width, height


def _box(bbox: Any, where: str) -> Box:
    """Return left, top, width and height as the edges."""
    if not isinstance(bbox, list) or [type(v) in (int, float) for v in bbox] != [True] * 4:
        raise InputError(
            f"{where}: expected bbox as 4 numbers, left, top, width and height, got "
            f"{json.dumps(bbox)[:60]}; correct or remove it"
        )
    try:
        left, top, width, height = map(float, bbox)
    except OverflowError:  # whole numbers of JSON have no limit
        raise InputError(f"{where}: expected bbox in pixels, got numbers beyond 1e308") from None
    return left, top, left + width, top + height
