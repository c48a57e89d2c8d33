"""Check that a picture can be read, before training starts."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from tfresnet.runtime.picture_files import UNREADABLE, opened, reason_unreadable
from tfresnet.runtime.preprocess import upright, used_bits, with_channels


class Examined(NamedTuple):
    """What decoding a picture to its end found out.

    Attributes:
        problem: why that is not possible; None if it is.
        bits: how many are used, of greys of 16 bits; None for all other pictures.
    """

    problem: str | None
    bits: int | None = None


def examine(path: Path) -> Examined:
    """Decode a picture to its end, to see whether that is possible."""
    try:
        if path.stat().st_size == 0:
            return Examined("the file is empty")
        with opened(path) as image:
            # A JPEG is read to its last byte, but at an eighth of its size: 3 times faster.
            image.draft("RGB", (1, 1))
            decoded = upright(image)
            with_channels(decoded, 3)
            deep = decoded.mode[0] == "I"
            return Examined(None, used_bits(np.asarray(decoded)) if deep else None)
    except UNREADABLE as error:
        return Examined(reason_unreadable(error, path))
