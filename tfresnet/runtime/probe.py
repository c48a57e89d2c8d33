"""Open models without a checksum: an interpreter may crash on them, so a child tries first.

Interpreters parse model files in C++; a damaged one can end the process that opens it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .backends import Backend, open_model
from .errors import InputError
from .metadata import read_metadata
from .paths import as_path

COMMAND = ("-m", __name__)  # of the child, behind Python
SECONDS = 120  # after which a model is taken for damaged


def open_unknown(path: str | os.PathLike, threads: int = 1) -> Backend:
    """Open a model file that may be anyone's; without a checksum in it a child process is first.

    Raises:
        InputError: it is missing or damaged, or its interpreter crashes on it or is not installed.
    """
    path = as_path(path)
    guard(path)
    return open_model(path, threads)


def guard(path: Path) -> None:
    """Let a child try a model file that has no checksum in it; see :func:`check`."""
    if path.is_file() and not _has_checksum(path):
        check(path)


def check(path: Path, command: Sequence[str] | None = None) -> None:
    """Open and run a model in a child process; raise an ``InputError`` if that ends the child.

    Args:
        path: of the file.
        command: Python's arguments, before the path, for files of another kind.
    """
    places = os.pathsep.join(entry for entry in sys.path if entry)
    try:
        done = subprocess.run(
            [sys.executable, *(command or COMMAND), os.fspath(path)],
            env=os.environ | {"PYTHONPATH": places, "PYTHONSAFEPATH": "1"},
            capture_output=True, timeout=SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        raise InputError(
            f"{path}: expected a whole file, got one that takes over {SECONDS} s; it is damaged"
        ) from None
    if done.returncode:
        raise InputError(
            f"{path}: expected a whole file, got one that crashes its reader "
            f"({_name(done.returncode)}): it is damaged; copy it again"
        )


def _has_checksum(path: Path) -> bool:
    try:
        return read_metadata(path).content is not None
    except InputError:
        return False


def _name(code: int) -> str:
    """Return the name of the signal that ended a process, or its exit status."""
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"exit status {code}"


def main(path: str) -> None:
    """Open a model and run it once; what it raises is for the parent, which opens it too."""
    try:
        model = open_model(path)
        model.outputs(np.zeros((1, *model.input_shape[1:]), np.uint8))
    except Exception:
        return


if __name__ == "__main__":
    main(sys.argv[1])
