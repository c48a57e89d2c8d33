"""Read files that may be damaged, write them atomically, lock directories."""

import contextlib
import hashlib
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import filelock

from tfresnet.runtime.errors import InputError

CHUNK = 2**20  # bytes that are read at a time


def expanded(path: str | os.PathLike) -> Path:
    """Return a path with ``~`` and ``~user`` replaced, unless there is no such user."""
    return Path(os.path.expanduser(path))


def is_there(path: Path) -> bool:
    """Tell whether there is such a file or folder; of a name that is too long for one there is not.

    ``Path.exists`` raises an OSError for that.
    """
    try:
        return path.exists()
    except OSError:
        return False


def digest_of(path: Path, algorithm: str = "sha256") -> str:
    """Return the digest of a file's content, in hexadecimal; it is read in parts."""
    found = hashlib.new(algorithm, usedforsecurity=False)
    with path.open("rb") as file:
        while part := file.read(CHUNK):
            found.update(part)
    return found.hexdigest()


def write_bytes(path: Path, content: bytes) -> Path:
    """Write a file atomically: to a temporary file beside it, which is then renamed."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(content)
    os.replace(temporary, path)
    return path


@contextlib.contextmanager
def lock(directory: Path, instead: str) -> Iterator[None]:
    """Lock a directory, made if missing, so that one process at a time writes in it.

    Raises:
        InputError: another process holds the lock; the message ends with what to do ``instead``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    file = filelock.FileLock(directory / ".lock")
    try:
        file.acquire(timeout=0)
    except filelock.Timeout:
        raise InputError(
            f"expected {directory} for one process, another is at work in it; wait for it, or "
            f"{instead}"
        ) from None
    try:
        yield
    finally:
        file.release()


def png(figure: Any) -> bytes:
    """Return a matplotlib figure as the bytes of a PNG file with 110 dots per inch."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    return buffer.getvalue()


def write_text(path: Path, content: str) -> Path:
    """Write a UTF-8 file atomically; see :func:`write_bytes`."""
    return write_bytes(path, content.encode())


def read_text(path: Path) -> str:
    """Return the text of a UTF-8 file, or raise an ``InputError`` that names it."""
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"expected a readable text file, got {path}: {error}") from None


def read_json(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file, or raise an ``InputError`` that names it."""
    try:
        value = json.loads(read_text(path))
    except ValueError as error:
        raise InputError(f"{path}: expected JSON: {error}") from None
    if not isinstance(value, dict):
        raise InputError(f"{path}: expected a JSON object, got {value!r:.40}")
    return value


def read_json_lines(path: Path) -> list[dict[str, Any]]:
    """Return the JSON objects of a file with one on each line; a truncated last line is ignored."""
    if not path.exists():
        return []
    lines = read_text(path).splitlines()
    records = []
    for number, line in enumerate(lines, start=1):
        try:
            records.append(json.loads(line))
        except ValueError as error:
            if number < len(lines):
                raise InputError(f"{path}, line {number}: expected JSON: {error}") from None
    return records
