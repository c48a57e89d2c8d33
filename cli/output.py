"""Fit tables into the width of the terminal."""

import shutil
import textwrap


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
