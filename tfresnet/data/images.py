"""One picture: read it, make it RGB or grey, fit it to the model's input.

``tfresnet.deploy.device.runtime`` repeats these steps on the device, where tfresnet is
not installed; a test holds the two equal.
"""

import contextlib
import functools
import importlib
import re
import struct
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec

# Formats that not every Pillow reads: endings, first bytes ("ftyp" and then these), what to do.
INSTALLED = (
    ((".heic", ".heif", ".hif"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"),
     "for HEIC: pip install pillow-heif"),
    ((".avif", ".avifs"), (b"avif", b"avis"), "for AVIF: pip install --upgrade Pillow"),
)  # fmt: skip
# Formats that Pillow knows by name only, or hands on to programs that may not be there.
STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# What Pillow raises for a file that is damaged, or none of its formats.
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)


class Examined(NamedTuple):
    """What reading a picture to its end tells.

    Attributes:
        problem: why that is not possible; None if it is.
        bits: how many are used, of greys of 16 bits; None for all other pictures.
    """

    problem: str | None
    bits: int | None = None


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
    if not path.is_file():
        return False
    try:
        with opened(path):
            return True
    except UNREADABLE:
        return False


def how_to_read(path: str | Path) -> str | None:
    """Return what to install so that a file is an image, or None if that is not known to help."""
    suffix = Path(path).suffix.lower()
    brand = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(12)
        brand = head[8:] if head[4:8] == b"ftyp" else b""
    for endings, brands, hint in INSTALLED:
        if (suffix in endings or brand in brands) and endings[0] not in extensions():
            return hint
    return None


def opened(file: str | Path | BinaryIO) -> Image.Image:
    """Return the picture in a file, not decoded yet; HEIC too, where pillow-heif is installed."""
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        extensions()  # which tells Pillow of pillow-heif
        return Image.open(file)


def upright(image: Image.Image) -> Image.Image:
    """Decode a picture that :func:`opened` returned, and turn it as its EXIF orientation says.

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


def read(path: str, spec: InputSpec) -> np.ndarray:
    """Return the picture at ``path`` as uint8 [spec.height, spec.width, channels]."""
    return decode(path, spec, path)


def decode(file: str | BinaryIO, spec: InputSpec, name: str) -> np.ndarray:
    """Return the picture in ``file``, called ``name``, as :func:`read` does."""
    try:
        with opened(file) as image:
            # A large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice what is needed.
            image.draft("RGB", (spec.decoded_side, spec.decoded_side))
            return fit(upright(image), spec)
    except UNREADABLE as error:
        reason = _reason(error, file if isinstance(file, str) else None)
        raise InputError(f"{name}: expected a readable image: {reason}") from None


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
        shift = used_bits(pixels) - 8
        image = Image.fromarray((pixels.astype(np.uint16) >> shift).astype(np.uint8))
    return image.convert("L" if channels == 1 else "RGB")


def used_bits(pixels: np.ndarray) -> int:
    """Return how many of 16 bits the brightest pixel tells to be used: 8, 12 or 16."""
    return next(bits for bits in (8, 12, 16) if pixels.max() < 2**bits)


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
        return Examined(_reason(error, path))


def _reason(error: Exception, path: str | Path | None) -> str:
    text = " ".join(str(error).split())
    if not isinstance(error, UnidentifiedImageError):
        return text
    return (path and how_to_read(path)) or "not an image"
