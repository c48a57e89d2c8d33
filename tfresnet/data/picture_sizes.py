"""Look at the sizes of some of many pictures."""

from collections.abc import Sequence
from pathlib import Path

from tfresnet.runtime.picture_files import UNREADABLE, opened

SAMPLED = 100  # pictures that are opened
UNKNOWN = (32, 32)  # where none can be opened


def sample(paths: Sequence[Path]) -> list[tuple[int, int]]:
    """Return height and width in pixels of a hundred pictures, spread over all; none is decoded.

    Those that can't be opened are left out; if none can, there is one of 32 x 32.
    """
    chosen = paths[:: -(-len(paths) // SAMPLED)] if paths else []
    return [size for path in chosen if (size := _size(path))] or [UNKNOWN]


def _size(path: Path) -> tuple[int, int] | None:
    try:
        with opened(path) as image:
            return image.height, image.width
    except UNREADABLE:
        return None
