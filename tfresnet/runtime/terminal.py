"""Standard output as a terminal or another program takes it. Standard library only."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator

BROKEN_PIPE = 128 + 13  # the exit status of a tool that SIGPIPE ended


def printable(path: str | os.PathLike) -> str:
    """Return a path as text, also one whose name is not in the system's encoding."""
    return os.fsencode(path).decode(sys.getfilesystemencoding(), "replace")


def escape_unprintable() -> None:
    """Make print() escape what the terminal's encoding lacks, as in ``\\u82b1``, and not fail."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@contextlib.contextmanager
def quiet_broken_pipe() -> Iterator[None]:
    """End as other tools do, with status 141, when nobody reads what is printed: ``| head -1``."""
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would be written once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(BROKEN_PIPE)
