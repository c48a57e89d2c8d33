"""Describe a folder of pictures as Croissant, metadata of a data set: its files and records.

https://docs.mlcommons.org/croissant/docs/croissant-spec.html; a test reads what is written here
with ``mlcroissant``, which is too large (pandas, networkx) to be needed by every install. Nothing
of the pictures is in it but names of classes and digests; the same folder gives the same text.
"""

import json
import mimetypes
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tfresnet.data import folder, label_table
from tfresnet.deploy.provenance import FolderDigest
from tfresnet.runtime.picture_files import is_image
from tfresnet.system.files import digest_of

FILE = "croissant.json"
PICTURES, MARKS = "pictures", "annotations"
SPLITS = {name.lower() for name in (*folder.TRAIN, *folder.HELD_OUT)}
# Of the last folder above a picture, and of the one above that.
LABEL, SPLIT = r"([^/\\]+)[/\\][^/\\]+$", r"([^/\\]+)[/\\][^/\\]+[/\\][^/\\]+$"
TYPES = mimetypes.MimeTypes()  # Python's own, without those of the machine
MARKED_BY = (".xml", ".json", ".txt", ".csv", ".yaml", ".yml")
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{
        key: f"cr:{key}"
        for key in (
            "citeAs", "column", "equivalentProperty", "extract", "field", "fileObject",
            "fileProperty", "fileSet", "format", "includes", "isLiveDataset", "jsonPath", "key",
            "md5", "parentField", "path", "recordSet", "references", "regex", "repeated",
            "replace", "samplingRate", "separator", "source", "subField", "transform",
        )
    },
}  # fmt: skip


def text(root: Path, task: str, labels: Sequence[str], digest: FolderDigest) -> str:
    """Return the Croissant description of a folder of pictures, as JSON-LD.

    It can be read where the pictures are: its paths are relative to the folder.

    Args:
        root: the folder, in any layout that ``tfresnet train`` takes.
        task: ``classify``, ``segment`` or ``detect``.
        labels: names of the classes.
        digest: of the folder.
    """
    files = [path for path in sorted(root.rglob("*")) if _is_visible(path, root)]
    pictures = [path for path in files if is_image(path)]
    marks = [path for path in files if path.suffix.lower() in MARKED_BY]
    table = label_table.find(root) if task == "classify" else None
    named = bool(pictures) and task == "classify" and table is None
    distribution = [_file_set(PICTURES, pictures, root, task)]
    if task == "segment":
        distribution.append(_file_set("masks", pictures, root, "masks"))
    distribution += [_file(path, root) for path in marks if path.parent == root]
    if deep := [path for path in marks if path.parent != root]:
        distribution.append(_file_set(MARKS, deep, root, None))
    values = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "name": root.resolve().name,
        "description": (
            f"{len(pictures):,} pictures to {task}, labels: {', '.join(labels)}. SHA-256 of its "
            f"{digest.files:,} files, as a line each ({digest.lines}): {digest.sha256}."
        ),
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "distribution": distribution,
        "recordSet": [_records(named, _has_splits(root) if named else False)],
    }
    return json.dumps(values, indent=1, ensure_ascii=False) + "\n"


def _is_visible(path: Path, root: Path) -> bool:
    parts = path.relative_to(root).parts
    return not any(part.startswith(".") for part in parts) and path.is_file()


def _has_splits(root: Path) -> bool:
    """Tell whether the folders of the classes are in folders like ``train``."""
    return any(path.is_dir() and path.name.lower() in SPLITS for path in root.iterdir())


def _file_set(name: str, files: Iterable[Path], root: Path, part: str | None) -> dict[str, Any]:
    """Return files as a set, by patterns for their endings.

    Args:
        name: of the set.
        files: all that may be in it.
        root: the folder.
        part: ``segment``: those in the folder ``images``; ``masks``: those in that folder.
    """
    above = {"segment": "images/", "masks": "masks/"}.get(part or "", "")
    inside = [path for path in files if path.relative_to(root).as_posix().startswith(above)]
    endings = sorted({path.suffix for path in inside if path.suffix})
    types = sorted({_type(ending) for ending in endings})
    return {
        "@type": "cr:FileSet",
        "@id": name,
        "name": name,
        "encodingFormat": types,
        # The first as readers have it whose * is also any folder, the second as shells have it.
        "includes": [f"{above}{any_}{e}" for e in endings for any_ in ("*", "**/*")],
    }


def _file(path: Path, root: Path) -> dict[str, Any]:
    name = path.relative_to(root).as_posix()
    return {
        "@type": "cr:FileObject",
        "@id": name,
        "name": name,
        "contentUrl": name,
        "encodingFormat": _type(path.suffix),
        "sha256": digest_of(path),
    }


def _type(ending: str) -> str:
    return TYPES.guess_type(f"x{ending.lower()}")[0] or "application/octet-stream"


def _records(labeled: bool, split: bool) -> dict[str, Any]:
    """Return a record for each picture: the picture, its path, and what its folders say."""
    fields = [
        _field("image", "sc:ImageObject", "content"),
        _field("path", "sc:Text", "fullpath"),
    ]
    if labeled:
        fields.append(_field("label", "sc:Text", "fullpath", LABEL))
    if split:
        fields.append(_field("split", "sc:Text", "fullpath", SPLIT))
    return {"@type": "cr:RecordSet", "@id": "records", "name": "records", "field": fields}


def _field(name: str, kind: str, what: str, pattern: str | None = None) -> dict[str, Any]:
    source: dict[str, Any] = {"fileSet": {"@id": PICTURES}, "extract": {"fileProperty": what}}
    if pattern:
        source["transform"] = {"regex": f"(?:.*[/\\\\])?{pattern}"}
    return {
        "@type": "cr:Field",
        "@id": f"records/{name}",
        "name": name,
        "dataType": kind,
        "source": source,
    }
