"""Choose how the ranges of integer activations are set, on training images held back for it."""

import numpy as np

from tfresnet.config.formats import FLOAT32
from tfresnet.deploy import inspect
from tfresnet.deploy.formats import activation_ranges, kernels, tflite
from tfresnet.deploy.formats.base import Source
from tfresnet.runtime.backends import centered

FALLBACK = "min-max"


def errors(source: Source, images: np.ndarray) -> dict[str, float]:
    """Return the error of int8 with each method: its power in the logits, as a share of theirs.

    Instead of logits, other tasks have the outputs of the last layers with weights.

    Args:
        source: the network and the calibration images.
        images: others, uint8 [n, H, W, C].
    """
    floating = tflite.converted(source, FLOAT32, "float")
    ends = kernels.last(floating)
    exact = inspect.values(floating, ends, images)
    power = sum(float(np.square(values).sum()) for values in exact)
    histograms = activation_ranges.histograms(floating, centered(source.calibration))
    found = {}
    for method in activation_ranges.METHODS:
        ranges = activation_ranges.chosen(floating, histograms, method)
        quantized = tflite.int8_with_ranges(floating, ranges, "float")
        names = inspect.counterparts(floating, quantized)
        noisy = inspect.values(quantized, [names[end] for end in ends], images)
        noise = sum(float(np.square(a - b).sum()) for a, b in zip(noisy, exact, strict=True))
        found[method] = noise / max(power, 1e-30)
    return found


def best(source: Source, images: np.ndarray) -> tuple[str, dict[str, float]]:
    """Return the method with the least error, and the errors of all; see :func:`errors`.

    Without images it is min-max, and there are no errors.
    """
    if not len(images) or tflite.has_own_ranges(source):
        return FALLBACK, {}
    found = errors(source, images)
    return min(found, key=lambda method: found[method]), found
