"""Choose how the ranges of integer activations are set, on training images held back for it."""

import tempfile
from pathlib import Path

import numpy as np

from tfresnet.config.formats import FLOAT32
from tfresnet.deploy.formats import activation_ranges, float_softmax, tflite
from tfresnet.deploy.formats.base import Source
from tfresnet.runtime.backends import centered, open_model

FALLBACK = "min-max"


def errors(source: Source, images: np.ndarray) -> dict[str, float]:
    """Return how far the outputs of int8 are from float32's with each method.

    That is the mean over the outputs of the squared difference, as a share of float32's mean
    square; of classes, as in class maps, the share that differ.

    Args:
        source: the network and the calibration images.
        images: others, uint8 [n, H, W, C].
    """
    floating = tflite.converted(source, FLOAT32, "float")
    histograms = activation_ranges.histograms(floating, centered(source.calibration))
    exact = _outputs(floating, images)
    found = {}
    for method in activation_ranges.METHODS:
        ranges = activation_ranges.chosen(floating, histograms, method)
        quantized = float_softmax.apply(tflite.int8_with_ranges(floating, ranges, "float"))
        pairs = zip(exact, _outputs(quantized, images), strict=True)
        found[method] = float(np.mean([_difference(*pair) for pair in pairs]))
    return found


def _outputs(content: bytes, images: np.ndarray) -> list[np.ndarray]:
    """Return the outputs of a file, in its order, each [n, ...]."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        return [*open_model(path).outputs(images).values()]


def _difference(exact: np.ndarray, found: np.ndarray) -> float:
    if exact.dtype.kind != "f":
        return float((exact != found).mean())
    return float(np.square(exact - found).mean() / max(np.square(exact).mean(), 1e-30))


def best(source: Source, images: np.ndarray) -> tuple[str, dict[str, float]]:
    """Return the method with the least error, and the errors of all; see :func:`errors`.

    Without images it is min-max, and there are no errors.
    """
    if not len(images) or tflite.has_own_ranges(source):
        return FALLBACK, {}
    found = errors(source, images)
    return min(found, key=lambda method: found[method]), found
