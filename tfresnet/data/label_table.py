"""Read multi-label data sets: a folder of pictures with a table of their labels.

The table is called ``labels.csv``, or ``_classes.csv`` as Roboflow calls it, and may also be in
each of the folders train, val and test.

A line for each picture: its ``file`` and its ``labels``, separated by spaces (or by ``|``, ``;`` or
``,`` where the column has one of these), or a column of 0 and 1 for each label. ``split`` (train,
val, test) or ``is_valid`` may say what is held out, or the folders that the pictures are in.
"""

import csv
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from tfresnet.data import folder
from tfresnet.data.folder import HELD_OUT, TRAIN, Files, Scan, counted, first_names
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_text

NAMES = ("labels.csv", "_classes.csv")
FILES = ("file", "filename", "file_name", "fname", "image", "image_name", "image_id", "name",
         "path", "filepath", "id")  # fmt: skip
LABELS = ("labels", "label", "tags", "tag", "classes", "targets", "target")
SPLITS = ("split", "is_valid")
SEPARATORS = "|;,"  # the first that the column has; else spaces
BITS = {"0": False, "1": True, "0.0": False, "1.0": True, "false": False, "true": True}


@dataclass(frozen=True)
class Line:
    """One line of the table.

    Attributes:
        number: of the line, from 1 on.
        file: the picture, as the table names it.
        labels: of the picture.
        part: ``train``, or the name of a held-out split; None if the table does not say.
    """

    number: int
    file: str
    labels: tuple[str, ...]
    part: str | None


def scan_folder(root: Path, order: Sequence[str] = (), skip_broken: bool = False) -> Scan:
    """Find the images of a folder: by its table of labels, or else by its class folders."""
    return scan(root, order, skip_broken) if find(root) else folder.scan(root, order)


def find(root: Path) -> Path | None:
    """Return the table of labels in a folder; None if it has none."""
    return next(iter(_tables(root)), None)


def scan(root: Path, order: Sequence[str] = (), skip_broken: bool = False) -> Scan:
    """Find the pictures of a folder that its table of labels names.

    Args:
        root: the folder; pictures are looked for in that of the table and those below.
        order: all labels in the order to use; the table may have fewer. By default the labels of
            the table, sorted.
        skip_broken: whether missing pictures are left out.

    Raises:
        InputError: a line is malformed, a picture is missing or named twice, a label is not in
            ``order``, or there are no training pictures.
    """
    tables = {table: read(table) for table in _tables(root)}
    for table, lines in tables.items():
        _check_no_duplicates(table, [(line.file, line.number) for line in lines])
    labels = _labels(tables, order)
    number_of = {label: number for number, label in enumerate(labels)}
    parts: dict[str, Files] = defaultdict(lambda: ([], []))
    notes: list[str] = []
    for table, of_table in _tables(root).items():
        found, told = _matched(table, tables[table], skip_broken)
        notes += told
        for line, path in found:
            part = of_table or line.part or _part_of(path.relative_to(table.parent))
            parts[part][0].append(path)
            parts[part][1].append(tuple(sorted(number_of[label] for label in line.labels)))
    train, held_out, more = _choose_splits(next(iter(tables)), parts)
    return Scan(labels, train, held_out, (*notes, *more), multi_label=True)


def _tables(root: Path) -> dict[Path, str | None]:
    """Return the tables of a folder, each with the split that all its pictures belong to, or None.

    The table in the folder itself, or else those in its folders train, val and test.
    """
    if own := _table_in(root):
        return {own: None}
    found: dict[Path, str | None] = {}
    for path in folder.subfolders(root) if root.is_dir() else ():
        part = folder.part_name(path)
        if part and (table := _table_in(path)):
            found[table] = "train" if part in TRAIN else part
    return found if "train" in found.values() else {}


def _table_in(path: Path) -> Path | None:
    return next((path / name for name in NAMES if (path / name).is_file()), None)


def _labels(tables: Mapping[Path, Sequence[Line]], order: Sequence[str]) -> tuple[str, ...]:
    """Return all labels, in ``order`` if it is given.

    Raises:
        InputError: a label is not in ``order``, or there are fewer than two.
    """
    every = [
        (table, line, name) for table in tables for line in tables[table] for name in line.labels
    ]
    names = sorted({name for *_, name in every})
    if order and (unknown := [name for name in names if name not in set(order)]):
        table, line, _ = next(entry for entry in every if entry[2] == unknown[0])
        raise InputError(
            f"{table}, line {line.number}: expected only labels that the model or data.labels has, "
            f"got {first_names(unknown)}"
        )
    labels = tuple(order) or tuple(names)
    if len(labels) < 2:
        table = next(iter(tables))
        raise InputError(f"{table}: expected at least 2 different labels, got {len(labels)}")
    return labels


def read(table: Path) -> list[Line]:
    """Return the lines of a table.

    Raises:
        InputError: it is no table of pictures and labels, or a line is malformed.
    """
    text = read_text(table).removeprefix("\ufeff")  # as Excel begins it
    header = text.partition("\n")[0]
    delimiter = max(",;\t", key=header.count)
    try:
        rows = list(csv.reader(text.splitlines(), delimiter=delimiter, strict=True))
    except csv.Error as error:
        raise InputError(f"{table}: expected a CSV file: {error}") from None
    columns = [name.strip() for name in rows[0]] if rows else []
    file, labels, split = (_column(columns, known) for known in (FILES, LABELS, SPLITS))
    if file is None or (labels is None and len(columns) < 2 + (split is not None)):
        raise InputError(
            f"{table}: expected the columns file and labels, or file and one of 0 and 1 for each "
            f"label, got {', '.join(columns) or 'none'}"
        )
    bits = [i for i in range(len(columns)) if i not in (file, split)] if labels is None else []
    separator = _separator(row[labels] for row in rows[1:] if labels is not None and row[labels:])
    lines = []
    for number, row in enumerate(rows[1:], start=2):
        if not any(cell.strip() for cell in row):
            continue
        where = f"{table}, line {number}"
        if len(row) != len(columns) or not row[file].strip():
            raise InputError(
                f"{where}: expected a file and {len(columns)} columns as in the first line, got "
                f"{len(row)}; labels that are separated by {delimiter} belong in quotes"
            )
        if labels is None:
            given = tuple(columns[i] for i in bits if _bit(row[i], f"{where}, {columns[i]}"))
        else:
            given = tuple(dict.fromkeys(filter(None, map(str.strip, row[labels].split(separator)))))
        part = None if split is None else _part(row[split], columns[split].lower(), where)
        lines.append(Line(number, row[file].strip().replace("\\", "/"), given, part))
    if not lines:
        raise InputError(f"{table}: expected a line for each picture, got none")
    return lines


def multi_hot(labels: Sequence[Sequence[int]], count: int) -> np.ndarray:
    """Return the labels of pictures as multi-hot vectors, float32 [pictures, count]."""
    result = np.zeros((len(labels), count), np.float32)
    for row, indices in zip(result, labels, strict=True):
        row[list(indices)] = 1
    return result


def rarest_labels(labels: Sequence[Sequence[int]]) -> list[int]:
    """Return the rarest label of each picture; -1 for a picture without labels.

    Splitting the pictures of each rarest label in the same ratio keeps rare labels in both splits
    (the idea of Sechidis et al. 2011, doi:10.1007/978-3-642-23808-6_10).
    """
    counts = Counter(index for indices in labels for index in indices)
    return [min(indices, key=lambda i: (counts[i], i), default=-1) for indices in labels]


def _column(columns: Sequence[str], known: Sequence[str]) -> int | None:
    names = [name.lower().replace(" ", "_") for name in columns]
    return next((names.index(name) for name in known if name in names), None)


def _separator(cells: Iterable[str]) -> str | None:
    text = "".join(cells)
    return next((character for character in SEPARATORS if character in text), None)


def _bit(cell: str, where: str) -> bool:
    try:
        return BITS[cell.strip().lower()]
    except KeyError:
        raise InputError(
            f"{where}: expected 0 or 1, got {cell!r}; a column with the labels' names is called "
            "labels"
        ) from None


def _part(cell: str, column: str, where: str) -> str:
    """Return ``train``, or the usual name of a held-out split."""
    if column == "is_valid":
        return "valid" if _bit(cell, f"{where}, is_valid") else "train"
    name = cell.strip().lower().replace("-", "_").replace(" ", "_")
    if name in TRAIN:
        return "train"
    if name not in HELD_OUT:
        raise InputError(f"{where}, split: expected train, val or test, got {cell!r}")
    return name


def _part_of(path: Path) -> str:
    """Return the split that a picture's folder is named after; ``train`` if it is none."""
    name = folder.part_name(Path(path.parts[0])) if len(path.parts) > 1 else None
    return name if name in HELD_OUT else "train"


def _check_no_duplicates(table: Path, places: Sequence[tuple[str, int]]) -> None:
    seen: dict[str, int] = {}
    for name, number in places:
        if name in seen:
            raise InputError(
                f"{table}: expected one line for each picture, got {name} in lines {seen[name]} "
                f"and {number}; put its labels on one"
            )
        seen[name] = number


def _matched(
    table: Path, lines: Sequence[Line], skip_missing: bool
) -> tuple[list[tuple[Line, Path]], list[str]]:
    """Match lines with pictures; return the pairs, and notes about what is left out."""
    images, _ = folder.images_below(table.parent)
    paths = _by_name(table.parent, images)
    found, missing = [], []
    for line in lines:
        candidates = paths.get(PurePosixPath(line.file).as_posix(), [])
        if len(candidates) > 1:
            raise InputError(
                f"{table}, line {line.number}: expected one picture {line.file}, got "
                f"{first_names([str(path) for path in candidates])}; write its folder too"
            )
        if candidates:
            found.append((line, candidates[0]))
        else:
            missing.append(line)
    _check_no_duplicates(table, [(str(path), line.number) for line, path in found])
    notes = []
    if missing:
        told = first_names([f"{line.file} (line {line.number})" for line in missing])
        if not skip_missing:
            raise InputError(
                f"{table}: expected the pictures that it names, {len(missing)} of {len(lines)} are "
                f"not there or no images: {told}; mend the lines, or leave them out with "
                "--skip-broken (data.skip_broken)"
            )
        notes.append(f"left out: {counted(len(missing), 'picture')} that are not there: {told}")
    if others := sorted(set(images) - {path for _, path in found}):
        names = first_names([path.relative_to(table.parent).as_posix() for path in others])
        count = counted(len(others), "picture")
        notes.append(f"left out: {count} that {table.name} does not name: {names}")
    return found, notes


def _by_name(root: Path, images: Iterable[Path]) -> Mapping[str, list[Path]]:
    """Return pictures by the names that a table may use for them.

    The path in the folder, the file name, or either without the ending.
    """
    whole: dict[str, list[Path]] = defaultdict(list)
    short: dict[str, list[Path]] = defaultdict(list)
    for path in images:
        inside = path.relative_to(root).as_posix()
        whole[inside].append(path)
        for name in {path.name, path.stem, inside.removesuffix(path.suffix)} - {inside}:
            short[name].append(path)
    return short | whole


def _choose_splits(
    table: Path, parts: Mapping[str, Files]
) -> tuple[Files, Files | None, list[str]]:
    """Return the training split, the held-out split, and a note about others."""
    if not parts.get("train"):
        raise InputError(f"{table}: expected pictures to train on, got only {', '.join(parts)}")
    others = [name for name in HELD_OUT if name in parts]
    if not others:
        return parts["train"], None, []
    unused = ", ".join(others[1:])
    notes = [f"held-out pictures are those of {others[0]}; not used: {unused}"] if unused else []
    return parts["train"], parts[others[0]], notes
