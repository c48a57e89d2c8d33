"""One picture: read it, make it RGB or grey, fit it to the model's input.

``tfresnet.deploy.device.runtime`` repeats these steps on the device, where tfresnet is
not installed; a test holds the two equal.
"""

import contextlib
import functools
import importlib
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps

from tfresnet.errors import UserError
from tfresnet.spec import InputSpec

HEIF = {".heic", ".heif", ".hif"}
# Formats that Pillow knows by name only, or hands on to programs that may not be there.
STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# What Pillow raises for a file that is damaged, or none of its formats.
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)


@functools.cache
def extensions() -> frozenset[str]:
    """Return the endings of the files that Pillow can open here; HEIC with pillow-heif's help."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(e for e, name in known.items() if name in Image.OPEN and name not in STUBS)


def is_image(path: Path) -> bool:
    """Tell whether a file is an image: by its ending, and without one by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in extensions()
    extensions()
    try:
        with Image.open(path):
            return True
    except UNREADABLE:
        return False


def how_to_read(path: Path) -> str | None:
    """Return what to install so that a file is an image, or None."""
    return "for HEIC: pip install pillow-heif" if path.suffix.lower() in HEIF else None


def read(path: str, spec: InputSpec) -> np.ndarray:
    """Return the picture at ``path`` as uint8 [spec.height, spec.width, channels]."""
    return decode(path, spec, path)


def decode(file: str | BinaryIO, spec: InputSpec, name: str) -> np.ndarray:
    """Return the picture in ``file``, called ``name``, as :func:`read` does."""
    try:
        with Image.open(file) as image:
            # A large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice what is needed.
            image.draft("RGB", (spec.decoded_side, spec.decoded_side))
            return fit(ImageOps.exif_transpose(image), spec)
    except UNREADABLE as error:
        raise UserError(f"{name}: expected a readable image: {_reason(error)}") from None


def fit(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """Return an upright picture of any size as uint8 [spec.height, spec.width, channels]."""
    resample = Image.Resampling[spec.interpolation.upper()]
    image = with_channels(image, spec.shape[2])
    size = (spec.width, spec.height)
    pixels = np.asarray(image.resize(size, resample, box=spec.crop_box(*image.size)))
    return pixels.reshape(spec.shape)


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Return ``image`` in RGB (3) or grey (1).

    Greys of 16 bits keep the upper 8 of those that are used: cameras store 8, 12 or 16 bits in 16,
    and the brightest pixel tells which. Transparency is dropped; a ``ValueError`` for more bits.
    """
    if image.mode[0] in "IF":
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("expected 8 or 16 bits for each pixel and channel, got 32")
        used = next(bits for bits in (8, 12, 16) if pixels.max() < 2**bits)
        image = Image.fromarray((pixels.astype(np.uint16) >> (used - 8)).astype(np.uint8))
    return image.convert("L" if channels == 1 else "RGB")


def problem(path: Path) -> str | None:
    """Return why ``path`` can't be decoded to its end, or None if it can."""
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        with Image.open(path) as image:
            # A JPEG is read to its last byte, but at an eighth of its size: 3 times faster.
            image.draft("RGB", (1, 1))
            with_channels(ImageOps.exif_transpose(image), 3)
    except UNREADABLE as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "not an image" if text.startswith("cannot identify image file") else text
