"""Read masks, the pictures whose pixels are class indices, and check them against their images."""

from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from tfresnet.data.images import examine as examine_image
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.picture_files import UNREADABLE, opened, reason_unreadable
from tfresnet.runtime.spec import VOID, InputSpec

ORIENTATION = 0x0112  # the EXIF tag
# How an image is turned to be upright, by its EXIF orientation; as PIL.ImageOps has it.
TURNS = {
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Pillow spreads gray levels of 2 and 4 bits over 0 to 255: the factor, by how they are stored.
SPREAD = {"L;2": 85, "L;4": 17}

# What may be wrong with a mask, and what to do about it.
PROBLEMS = {
    "size": (
        "masks as large as their images",
        "resize them by nearest neighbor, or look for masks of other images",
    ),
    "channels": (
        "masks of one channel, gray or palette PNGs whose pixels are class indices",
        "replace each color by the index of its class, and save that as uint8",
    ),
    "bits": ("masks of 8 bits a pixel", "save the class indices as uint8"),
    "index": (
        "class indices from 0 to {highest}, or 255 for void, in all masks",
        "add the missing names to classes.txt, or correct the masks",
    ),
}


@dataclass(frozen=True)
class MaskFile:
    """The file of a mask.

    Attributes:
        path: of a gray or palette PNG.
        turn: how the mask is turned to lie on the upright image, one of Pillow's transpositions;
            None for as it is stored.
    """

    path: Path
    turn: Image.Transpose | None = None

    def read(self, spec: InputSpec) -> np.ndarray:
        """Return the mask at a model's size, uint8 [height, width], by nearest neighbor.

        Raises:
            InputError: it can't be read.
        """
        try:
            with opened(self.path) as picture:
                mask = Image.fromarray(indices(picture))
        except UNREADABLE as error:
            reason = reason_unreadable(error, self.path)
            raise InputError(f"{self.path}: expected a readable mask: {reason}") from None
        return fit(mask if self.turn is None else mask.transpose(self.turn), spec)


class Examined(NamedTuple):
    """What decoding an image and its mask found out.

    Attributes:
        mask: the mask, turned as its image is.
        broken: the file that can't be read and why; None if both can.
        problem: a key of ``PROBLEMS`` and what was got instead; None if nothing is wrong.
        counts: pixels of each value, int64 [256].
        palette: of a palette PNG, uint8 [n, 3]; None of a gray one.
        bits: see :class:`tfresnet.data.images.Examined`.
    """

    mask: MaskFile
    broken: tuple[Path, str] | None = None
    problem: tuple[str, str] | None = None
    counts: np.ndarray | None = None
    palette: np.ndarray | None = None
    bits: int | None = None


def fit(mask: Image.Image, spec: InputSpec) -> np.ndarray:
    """Resize a mask to a model's size by nearest neighbor; return uint8 [height, width]."""
    return np.asarray(mask.resize((spec.width, spec.height), Image.Resampling.NEAREST))


def indices(picture: Image.Image) -> np.ndarray:
    """Return the class indices in a gray or palette picture, uint8 [H, W].

    Raises:
        ValueError: it has several channels, or more than 8 bits.
    """
    if picture.mode not in ("1", "L", "P"):
        raise ValueError(f"expected a gray or palette picture of 8 bits, got {picture.mode}")
    stored = {str(tile[3]) for tile in getattr(picture, "tile", ())}
    factor = next((SPREAD[how] for how in stored if how in SPREAD), 1)
    return np.asarray(picture).astype(np.uint8) // np.uint8(factor)


def examine(image: Path, mask: MaskFile, classes: int) -> Examined:
    """Decode an image and its mask to their ends, and compare them.

    Args:
        image: the image's file.
        mask: the mask's; its turn is found here.
        classes: the number of classes.
    """
    seen = examine_image(image)
    if seen.problem:
        return Examined(mask, (image, seen.problem))
    try:
        with opened(image) as picture:
            size, orientation = picture.size, picture.getexif().get(ORIENTATION, 1)
        with opened(mask.path) as picture:
            return _examine_mask(picture, size, orientation, mask, classes, seen.bits)
    except UNREADABLE as error:
        return Examined(mask, (mask.path, reason_unreadable(error, mask.path)))


def _examine_mask(
    picture: Image.Image,
    size: tuple[int, int],
    orientation: int,
    mask: MaskFile,
    classes: int,
    bits: int | None,
) -> Examined:
    """Compare a mask with an image of ``size``, width and height as it is stored."""
    turn = TURNS.get(orientation)
    upright = size if turn is None else size[::-1]
    if picture.mode[0] in "IF":
        return Examined(mask, problem=("bits", "16 or 32"))
    if picture.mode not in ("1", "L", "P"):
        return Examined(mask, problem=("channels", picture.mode))
    if picture.size not in (size, upright):
        got, wanted = (f"{width} x {height}" for width, height in (picture.size, upright))
        return Examined(mask, problem=("size", f"{got}, the image {wanted}"))
    if picture.size == upright:
        turn = None
    counts = np.bincount(indices(picture).reshape(-1), minlength=VOID + 1)
    if wrong := [index for index in np.flatnonzero(counts) if classes <= index < VOID]:
        told = ", ".join(map(str, wrong[:5])) + (" and others" if len(wrong) > 5 else "")
        return Examined(mask, problem=("index", told))
    return Examined(MaskFile(mask.path, turn), None, None, counts, _palette(picture), bits)


def _palette(picture: Image.Image) -> np.ndarray | None:
    """Return the colors of a palette picture, uint8 [n, 3]; None of a gray one."""
    values = picture.getpalette("RGB") if picture.mode == "P" else None
    return np.array(values, np.uint8).reshape(-1, 3) if values else None
