"""One picture: read it, make it RGB, fit it to the model's input.

``tfresnet.deploy.device.runtime`` repeats these steps on the device, where tfresnet is
not installed; a test holds the two equal.
"""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from tfresnet.errors import UserError
from tfresnet.spec import InputSpec

EXTENSIONS = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm"})


def read(path: str, spec: InputSpec) -> np.ndarray:
    """Return the picture at ``path`` as uint8 [spec.height, spec.width, 3]."""
    try:
        with Image.open(path) as image:
            return fit(ImageOps.exif_transpose(image), spec)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise UserError(f"{path}: expected a readable image: {_reason(error)}") from None


def fit(image: Image.Image, spec: InputSpec) -> np.ndarray:
    """Return an upright picture of any size as uint8 [spec.height, spec.width, 3]."""
    resample = Image.Resampling[spec.interpolation.upper()]
    rgb = to_rgb(image)
    size = (spec.width, spec.height)
    return np.asarray(rgb.resize(size, resample, box=spec.crop_box(*rgb.size)))


def to_rgb(image: Image.Image) -> Image.Image:
    """Return ``image`` in RGB; 16-bit greys keep their upper byte, transparency is dropped."""
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image).astype(np.uint16) >> 8).astype(np.uint8))
    return image.convert("RGB")


def problem(path: Path) -> str | None:
    """Return why ``path`` can't be decoded to its end, or None if it can."""
    try:
        if path.stat().st_size == 0:
            return "the file is empty"
        with Image.open(path) as image:
            # A JPEG is read to its last byte, but at an eighth of its size: 3 times faster.
            image.draft("RGB", (1, 1))
            image.load()
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        return _reason(error)
    return None


def _reason(error: Exception) -> str:
    text = " ".join(str(error).split())
    return "not an image" if text.startswith("cannot identify image file") else text
