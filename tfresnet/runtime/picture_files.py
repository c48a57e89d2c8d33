"""Find picture files: which endings and contents Pillow can read here, and which files to skip."""

from __future__ import annotations

import contextlib
import functools
import importlib
import os
import struct
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from .errors import InputError

# Formats that Pillow knows by name only, or hands on to programs that may not be there.
STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# Formats that not every Pillow reads: endings, first bytes ("ftyp" and then these), what to do.
INSTALLED = (
    ((".heic", ".heif", ".hif"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"),
     "for HEIC: pip install pillow-heif"),
    ((".avif", ".avifs"), (b"avif", b"avis"), "for AVIF: pip install --upgrade Pillow"),
)  # fmt: skip
# Files and folders that systems leave behind, besides hidden ones.
SYSTEM = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found",
    "$recycle.bin", "system volume information",
})  # fmt: skip
# What Pillow raises for a file that is damaged, or none of its formats.
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)

Skip = Callable[[Any, InputError], None]  # called with a picture that can't be used, and why


@functools.cache
def suffixes() -> frozenset[str]:
    """Return the endings of the files that Pillow can open here; HEIC with pillow-heif's help."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(e for e, name in known.items() if name in Image.OPEN and name not in STUBS)


def opened(file: Any) -> Image.Image:
    """Open the picture in a file without decoding it; HEIC too, where pillow-heif is installed.

    Args:
        file: a path, or a file opened for reading bytes.

    Raises:
        One of ``UNREADABLE``: there is no such file, or it is no picture.
    """
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        suffixes()  # which tells Pillow of pillow-heif
        return Image.open(file)


def is_image(path: Path) -> bool:
    """Tell whether a file is an image: by its ending, and without one by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in suffixes()
    if not path.is_file():
        return False
    try:
        with opened(path):
            return True
    except UNREADABLE:
        return False


def how_to_read(path: str | os.PathLike) -> str | None:
    """Return what to install so that a file can be read, or None if that is not known to help."""
    suffix = Path(path).suffix.lower()
    brand = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(12)
        brand = head[8:] if head[4:8] == b"ftyp" else b""
    for endings, brands, hint in INSTALLED:
        if (suffix in endings or brand in brands) and endings[0] not in suffixes():
            return hint
    return None


def reason_unreadable(error: Exception, path: str | os.PathLike | None) -> str:
    """Return in one line why a picture can't be read, and what to install if that would help.

    Args:
        error: one of ``UNREADABLE``.
        path: of the picture; None if it did not come from a file with a name.
    """
    if not isinstance(error, UnidentifiedImageError):
        return " ".join(str(error).split())
    return (path is not None and how_to_read(path)) or "not an image"


def is_hidden(name: str) -> bool:
    """Tell whether a file or folder is a hidden one or one that a system left behind."""
    return name.startswith(".") or name.lower() in SYSTEM


def pictures_in(paths: Iterable[str | Path], skip: Skip) -> Iterator[str]:
    """Yield the paths of pictures, and of all pictures in those that are folders.

    ``skip`` is called with each folder that has none.
    """
    for path in paths:
        try:
            yield from pictures_of(path)
        except InputError as error:
            skip(path, error)


def pictures_of(path: str | Path) -> list[str]:
    """Return a picture's path in a list, or those of all pictures in a folder, sorted.

    Pictures of a format that can be read once something is installed are among them.

    Raises:
        InputError: the folder has none.
    """
    if not Path(path).is_dir():
        return [str(path)]
    found = [p for p in sorted(all_files(Path(path))) if is_image(p) or how_to_read(p)]
    if not found:
        known = ", ".join(sorted(suffixes()))
        raise InputError(f"expected pictures ({known}) in {path}, got none")
    return [str(p) for p in found]


def all_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, through links too, without hidden ones."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield from (Path(where, name) for name in files if not is_hidden(name))
