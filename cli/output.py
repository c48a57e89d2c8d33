"""Standard output as a terminal or another program takes it.

The device's runtime, which is one file, has its own copy of the last two functions; it can't be
imported from there, since it loads numpy, which ``--help`` does without.
"""

import contextlib
import os
import shutil
import sys
import textwrap
from collections.abc import Iterator

BROKEN_PIPE = 128 + 13  # the exit status of a tool that SIGPIPE ended


def columns() -> int:
    """Return the width of the terminal, or of $COLUMNS; very many where there is no terminal."""
    return shutil.get_terminal_size((10_000, 24)).columns


def hanging(row: str, text: str) -> str:
    """Return a table's row with ``text`` as its last column, in lines as wide as the terminal."""
    width = max(20, columns() - len(row))
    first, *others = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False) or [
        ""
    ]
    return "\n".join([f"{row}{first}".rstrip(), *(" " * len(row) + line for line in others)])


def print_anything() -> None:
    """Escape what the terminal's encoding lacks, as in ``\\u82b1``; print it without an error."""
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
