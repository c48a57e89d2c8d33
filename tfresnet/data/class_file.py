"""Read ``classes.txt``: the names of the classes of pixels or boxes, in the order of their indices.

A name a line. Behind it, after spaces or a tab, there may be the color to draw the class in, as
``#rrggbb``; then each line has one: ``traffic light  #fa8072``. A name may have spaces in it. Empty
lines are allowed at the end alone, as a class's index is the number of its line.
"""

import re
from pathlib import Path
from typing import NamedTuple

from tfresnet.data.folder import first_names
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_text

NAME = "classes.txt"
LINE = re.compile(r"(?P<name>.*?)(?:\s+(?P<color>#[0-9a-fA-F]{6}))?")


class Classes(NamedTuple):
    """The classes of a data set.

    Attributes:
        labels: their names.
        colors: one ``#rrggbb`` a class, in small letters; () where the file has none.
    """

    labels: tuple[str, ...]
    colors: tuple[str, ...] = ()


def read(file: Path, fewest: int = 2) -> Classes:
    """Read the names and colors of classes.

    Args:
        file: the path of the text file.
        fewest: the smallest number of classes that is allowed.

    Raises:
        InputError: there is no such file, it has too few names, an empty line, a name twice, or
            colors on some of its lines.
    """
    lines = [line.strip() for line in read_text(file).removeprefix("\ufeff").splitlines()]
    while lines and not lines[-1]:
        lines.pop()
    if "" in lines:
        raise InputError(
            f"{file}, line {lines.index('') + 1}: expected a name, got an empty line; a class's "
            "index is the number of its line, from 0 on"
        )
    found = [match.groups() for line in lines if (match := LINE.fullmatch(line))]
    labels = tuple(name for name, _ in found)
    colors = tuple(color.lower() for _, color in found if color)
    if len(labels) < fewest:
        raise InputError(
            f"{file}: expected at least {fewest} names of classes, one a line, got {len(labels)}"
            + (f" ({labels[0]}); name the background, too" if labels and fewest > 1 else "")
        )
    if twice := sorted({name for name in labels if labels.count(name) > 1}):
        raise InputError(f"{file}: expected each name once, got twice: {first_names(twice)}")
    if colors and len(colors) < len(labels):
        raise InputError(
            f"{file}: expected a color #rrggbb on each line or on none, got {len(colors)} on "
            f"{len(labels)} lines"
        )
    return Classes(labels, colors)
