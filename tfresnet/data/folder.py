"""A folder of images, one sub-folder a class.

Either ``train/<class>/*`` beside ``val/<class>/*`` (or ``validation``, ``test``), or
``<class>/*`` alone, from which a held-out share is then drawn.
"""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tfresnet.data.images import EXTENSIONS, problem
from tfresnet.errors import UserError

HELD_OUT_NAMES = ("val", "validation", "test")

CHUNK = 1000

Files = tuple[list[Path], list[int]]


def scan(root: Path) -> tuple[tuple[str, ...], Files, Files | None]:
    """Return class names, training files with labels, and held-out ones if they have a folder.

    Raises:
        UserError: an empty class, classes that differ between the two, or unreadable images.
    """
    train = root / "train"
    if not train.is_dir():
        labels = _classes(root)
        return labels, _files(root, labels), None
    held_out = next((root / n for n in HELD_OUT_NAMES if (root / n).is_dir()), None)
    if held_out is None:
        raise UserError(f"expected {root}/val or {root}/test beside {train}, found neither")
    labels = _classes(train)
    if _classes(held_out) != labels:
        odd = sorted(set(_classes(held_out)) ^ set(labels))
        raise UserError(f"expected the same classes in {train} and {held_out}, got more: {odd}")
    return labels, _files(train, labels), _files(held_out, labels)


def check(paths: list[Path]) -> None:
    """Read every image to its end, on all cores, and raise one ``UserError`` for all bad ones."""
    bad: list[str] = []
    with ThreadPoolExecutor() as pool:
        for start in range(0, len(paths), CHUNK):  # the pool keeps a kilobyte for each that waits
            part = paths[start : start + CHUNK]
            found = zip(part, pool.map(problem, part), strict=True)
            bad += [f"{path} ({reason})" for path, reason in found if reason]
    if bad:
        more = f" and {len(bad) - 5} more" if len(bad) > 5 else ""
        raise UserError(
            f"expected readable images, got {len(bad)} that are not: {', '.join(bad[:5])}{more}; "
            "remove or replace them"
        )


def _classes(folder: Path) -> tuple[str, ...]:
    names = sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    for name in names:
        if name.encode(errors="replace").decode() != name:
            raise UserError(f"expected class names in UTF-8 in {folder}, got {name!r}; rename it")
    if len(names) < 2:
        raise UserError(
            f"expected at least 2 class folders in {folder}, got {len(names)}"
            f"{f': {names[0]}' if names else ''}; put each class's images in {folder}/<class>/"
        )
    return tuple(names)


def _files(folder: Path, labels: tuple[str, ...]) -> Files:
    paths: list[Path] = []
    indices: list[int] = []
    for index, label in enumerate(labels):
        found = sorted(p for p in (folder / label).rglob("*") if p.suffix.lower() in EXTENSIONS)
        if not found:
            endings = " ".join(sorted(EXTENSIONS))
            raise UserError(f"expected images ({endings}) in {folder / label}, found none")
        paths += found
        indices += [index] * len(found)
    return paths, indices
