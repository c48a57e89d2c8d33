"""Turn any picture into the pixels that a model takes, uint8 [H, W, C].

Training, evaluation, calibration and the device all read pictures with these functions.
"""

from __future__ import annotations

import io
import os
import re
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

from .errors import InputError
from .picture_files import UNREADABLE, opened, reason_unreadable
from .spec import InputSpec
from .terminal import printable

GREYS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool))  # of arrays [H, W]


def read(source: Any, spec: InputSpec, name: str | None = None) -> np.ndarray:
    """Read a picture and fit it to a model's input.

    Args and errors are those of :func:`read_with_size`.

    Returns:
        Pixels, uint8 [spec.height, spec.width, channels]; upright, cropped and resized.
    """
    return read_with_size(source, spec, name)[0]


def read_with_size(
    source: Any, spec: InputSpec, name: str | None = None
) -> tuple[np.ndarray, tuple[int, int]]:
    """Read a picture and fit it to a model's input; return also its width and height.

    Args:
        source: a path, the content of a picture file (bytes, or a file opened for reading), a
            Pillow image, or pixels of any size: uint8 [H, W, 3], [H, W, 1] or [H, W].
        spec: the model's input.
        name: what an error calls the picture; by default its path.

    Returns:
        Pixels, uint8 [spec.height, spec.width, channels]; upright, cropped and resized. Width and
        height of the whole picture as a person sees it: upright.

    Raises:
        InputError: the picture is missing, damaged, empty, or of another kind.
    """
    path = source if isinstance(source, (str, os.PathLike)) else None
    name = name or ("the picture" if path is None else printable(path))
    try:
        if path is not None and not Path(path).exists():
            raise InputError(f"expected an image, {name} does not exist")
        if isinstance(source, Image.Image):
            if not source.width or not source.height:
                raise InputError(f"expected a picture, got an empty one of {source.size} pixels")
            turned = upright(source)
            return fit(turned, spec), turned.size
        with _opened(source) as picture:
            size = picture.size
            # A large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice what is needed.
            picture.draft("RGB", (spec.decoded_side, spec.decoded_side))
            before, turned = picture.size, upright(picture)
            return fit(turned, spec), size if turned.size == before else size[::-1]
    except InputError:
        raise
    except UNREADABLE as error:
        reason = reason_unreadable(error, path)
        raise InputError(f"{name}: expected a readable image: {reason}") from None


def whole(source: Any, channels: int = 3) -> Image.Image:
    """Return a whole picture, upright, in RGB or (with 1 channel) gray; see :func:`read`."""
    with _opened(source) as picture:
        return with_channels(upright(picture), channels)


def fit(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """Crop the center of an upright picture of any size, and resize it to a model's input.

    Returns:
        Pixels, uint8 [spec.height, spec.width, channels].
    """
    image = with_channels(image, spec.shape[2])
    resample = Image.Resampling[spec.interpolation.upper()]
    size = (spec.width, spec.height)
    pixels = np.asarray(image.resize(size, resample, box=spec.crop_box(*image.size)))
    return pixels.reshape(spec.shape)


def upright(image: Image.Image) -> Image.Image:
    """Decode a picture and turn it as its EXIF orientation says.

    Raises:
        ValueError: colors of 16 bits, of which 12 at most are used: Pillow keeps the upper 8 bits,
            which would be black.
    """
    deep = image.mode[0] not in "IF" and any(
        re.search(r";16[BLN]\b", str(tile[3])) for tile in getattr(image, "tile", ())
    )
    image = ImageOps.exif_transpose(image)
    if deep and np.asarray(image.convert("RGB")).max() < 16:
        raise ValueError("expected colors of 8 bits, or of 16 that are used, got 12 bits in 16")
    return image


def with_channels(image: Image.Image, channels: int) -> Image.Image:
    """Convert a picture to RGB (3 channels) or to grey (1 channel).

    Greys of 16 bits keep the upper 8 of those that are used: cameras store 8, 12 or 16 bits in 16,
    and the brightest pixel tells which. Transparency is dropped.

    Raises:
        ValueError: greys of more than 16 bits, or floating-point ones.
    """
    if image.mode[0] in "IF":
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("expected 8 or 16 bits for each pixel and channel, got 32")
        shift = used_bits(pixels) - 8
        image = Image.fromarray((pixels.astype(np.uint16) >> shift).astype(np.uint8))
    return image.convert("L" if channels == 1 else "RGB")


def used_bits(pixels: np.ndarray) -> int:
    """Return how many of 16 bits are used, by the brightest pixel: 8, 12 or 16."""
    return next(bits for bits in (8, 12, 16) if pixels.max() < 2**bits)


def _opened(source: Any) -> Image.Image:
    """Return a path, the content of a file or an array of pixels as a Pillow image."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return opened(io.BytesIO(source))
    if isinstance(source, (str, os.PathLike)):
        return opened(source)
    if isinstance(source, io.IOBase) or hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise InputError("expected a file opened for bytes, mode 'rb', got one opened for text")
        return opened(source)
    if hasattr(source, "__array__"):
        return _of_pixels(np.asarray(source))
    raise InputError(
        "expected a path, bytes, a Pillow image or an array of uint8 pixels, got "
        f"{type(source).__name__}"
    )


def _of_pixels(pixels: np.ndarray) -> Image.Image:
    """Return an array of pixels as a Pillow image; one channel may have an axis of its own."""
    got = f"{pixels.dtype} {list(pixels.shape)}"
    if pixels.dtype.kind == "f":
        raise InputError(
            f"expected uint8 pixels, 0 to 255, got {got}; if yours are from 0 to 1, give "
            "(pixels * 255).round().astype('uint8')"
        )
    if not pixels.size:
        raise InputError(f"expected a picture, got an empty array, {got}")
    if pixels.ndim == 4:
        raise InputError(f"expected one picture, [H, W, 3], got {got}; give them one by one")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    grey = pixels.ndim == 2 and pixels.dtype in GREYS
    colored = pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4) and pixels.dtype == np.uint8
    if not (grey or colored):
        raise InputError(f"expected uint8 pixels [H, W, 3], [H, W, 1] or [H, W], got {got}")
    return Image.fromarray(np.ascontiguousarray(pixels))
