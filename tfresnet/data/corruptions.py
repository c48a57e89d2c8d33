"""Corrupt images by noise, blur, light and compression, to measure robustness.

Seven of the fifteen corruptions of CIFAR-10-C (Hendrycks and Dietterich 2019, arXiv:1903.12261),
and three of its four extra ones (speckle noise, Gaussian blur, saturate), with the strengths of its
five severities. The random numbers differ from the benchmark's: compare models that were measured
here with one another, and not with published means.

A corruption takes an image, float [H, W, C] from 0 to 1, its strength, and a random generator.
"""

import io
from collections.abc import Callable, Iterable

import matplotlib.colors
import numpy as np
from PIL import Image
from scipy import ndimage

from tfresnet.runtime.errors import InputError, unknown

SEVERITIES = (1, 2, 3, 4, 5)
Corruption = Callable[[np.ndarray, float, np.random.Generator], np.ndarray]


def gaussian_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise of standard deviation ``sigma``."""
    return image + rng.normal(0, sigma, image.shape)


def shot_noise(image: np.ndarray, photons: float, rng: np.random.Generator) -> np.ndarray:
    """Replace each value by a Poisson sample, where a value of 1 is ``photons`` on average."""
    return rng.poisson(image * photons) / photons


def impulse_noise(image: np.ndarray, share: float, rng: np.random.Generator) -> np.ndarray:
    """Set a ``share`` of the values to 0 or 1 (salt and pepper noise)."""
    value = rng.integers(0, 2, image.shape)
    return np.where(rng.random(image.shape) < share, value, image)


def speckle_noise(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Add Gaussian noise that is proportional to the value."""
    return image + image * rng.normal(0, sigma, image.shape)


def gaussian_blur(image: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    """Blur with a Gaussian of ``sigma`` pixels."""
    return ndimage.gaussian_filter(image, (sigma, sigma, 0), mode="nearest")


def brightness(image: np.ndarray, more: float, rng: np.random.Generator) -> np.ndarray:
    """Add ``more`` to the value in HSV."""
    return _in_hsv(image, 2, lambda value: value + more)


def saturate(
    image: np.ndarray, change: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Multiply the saturation in HSV by a factor, and add to it; gray images stay the same."""
    factor, more = change
    return _in_hsv(image, 1, lambda saturation: saturation * factor + more)


def contrast(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Multiply the distance of all values from their channel's mean by ``factor``."""
    mean = image.mean(axis=(0, 1), keepdims=True)
    return (image - mean) * factor + mean


def pixelate(image: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Shrink the image by ``factor``, and enlarge it again, with a box filter."""
    picture = _picture(image)
    small = [max(1, int(side * factor)) for side in picture.size]
    box = Image.Resampling.BOX
    return _values(picture.resize(small, box).resize(picture.size, box), image)


def jpeg_compression(image: np.ndarray, quality: float, rng: np.random.Generator) -> np.ndarray:
    """Encode the image as JPEG of a ``quality`` from 1 to 100, and decode it."""
    buffer = io.BytesIO()
    _picture(image).save(buffer, "JPEG", quality=int(quality))
    return _values(Image.open(buffer), image)


# Each corruption with its strengths at severities 1 to 5.
CORRUPTIONS: dict[str, tuple[Callable, tuple]] = {
    "gaussian_noise": (gaussian_noise, (0.04, 0.06, 0.08, 0.09, 0.10)),
    "shot_noise": (shot_noise, (500, 250, 100, 75, 50)),
    "impulse_noise": (impulse_noise, (0.01, 0.02, 0.03, 0.05, 0.07)),
    "speckle_noise": (speckle_noise, (0.06, 0.1, 0.12, 0.16, 0.2)),
    "gaussian_blur": (gaussian_blur, (0.4, 0.6, 0.7, 0.8, 1.0)),
    "brightness": (brightness, (0.05, 0.1, 0.15, 0.2, 0.3)),
    "saturate": (saturate, ((0.3, 0), (0.1, 0), (1.5, 0), (2, 0.1), (2.5, 0.2))),
    "contrast": (contrast, (0.75, 0.5, 0.4, 0.3, 0.15)),
    "pixelate": (pixelate, (0.95, 0.9, 0.85, 0.75, 0.65)),
    "jpeg_compression": (jpeg_compression, (80, 65, 58, 50, 40)),
}


def check(name: str, severities: Iterable[int]) -> None:
    """Raise an ``InputError`` for an unknown corruption or severity."""
    if name not in CORRUPTIONS:
        raise unknown("corruption", name, CORRUPTIONS)
    for severity in severities:
        if severity not in SEVERITIES:
            raise InputError(f"severity: expected 1 to 5, got {severity}")


def corrupt(images: np.ndarray, name: str, severity: int, seeds: Iterable[int]) -> np.ndarray:
    """Corrupt images; return uint8 [n, H, W, C].

    Args:
        images: uint8 [n, H, W, C] with 1 or 3 channels.
        name: one of ``CORRUPTIONS``.
        severity: 1 (weakest) to 5.
        seeds: one for each image; the same seed gives the same noise.
    """
    function, strengths = CORRUPTIONS[name]
    result = np.empty_like(images)
    for i, seed in enumerate(seeds):
        rng = np.random.default_rng([seed, severity, list(CORRUPTIONS).index(name)])
        changed = function(images[i] / 255.0, strengths[severity - 1], rng)
        # Truncated, as the benchmark does, without changing values that are whole numbers.
        result[i] = np.clip(changed * 255 + 1e-6, 0, 255)
    return result


def _in_hsv(
    image: np.ndarray, channel: int, change: Callable[[np.ndarray], np.ndarray]
) -> np.ndarray:
    """Change a channel (0 hue, 1 saturation, 2 value) of an image in HSV; gray is all value."""
    hsv = matplotlib.colors.rgb_to_hsv(np.broadcast_to(image, (*image.shape[:2], 3)))
    hsv[..., channel] = np.clip(change(hsv[..., channel]), 0, 1)
    if image.shape[-1] == 1:
        return hsv[..., 2:]
    return matplotlib.colors.hsv_to_rgb(hsv)


def _picture(image: np.ndarray) -> Image.Image:
    pixels = (image * 255).round().astype(np.uint8)
    return Image.fromarray(pixels[..., 0] if image.shape[-1] == 1 else pixels)


def _values(picture: Image.Image, like: np.ndarray) -> np.ndarray:
    return np.asarray(picture).reshape(like.shape) / 255.0
