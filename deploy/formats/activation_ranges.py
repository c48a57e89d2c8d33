"""Choose the ranges of integer activations from what calibration images give.

A wide range keeps outliers and has coarse steps; a narrow one cuts them off. Each method finds its
own balance from a histogram of the values (Nagel et al. 2021, arXiv:2106.08295; the entropy as in
Migacz, 8-bit Inference with TensorRT, GTC 2017).
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfresnet.deploy.formats import graph, kernels, running

BINS = 2048  # of a histogram
LEVELS = 256  # that 8 bits have
PERCENTILE = 99.99  # of the values are inside
SHARES = np.linspace(0.2, 1.0, 81)  # of a range, that are tried
Range = tuple[float, float]


@dataclass
class Histogram:
    """How often values of one tensor occur.

    Attributes:
        low: its smallest value, at most 0.
        high: its largest value, at least 0.
        counts: int64 [BINS], over equal parts from ``low`` to ``high``.
    """

    low: float
    high: float
    counts: np.ndarray

    @property
    def centers(self) -> np.ndarray:
        """The middle of each part, float64 [BINS]."""
        return self.low + (np.arange(BINS) + 0.5) * (self.high - self.low) / BINS

    def add(self, values: np.ndarray) -> None:
        """Count more values, all between ``low`` and ``high``."""
        scaled = (values.reshape(-1) - self.low) * (BINS / max(self.high - self.low, 1e-30))
        places = np.clip(scaled.astype(np.int32), 0, BINS - 1)
        self.counts += np.bincount(places, minlength=BINS)


def percentile(histogram: Histogram) -> Range:
    """Return the range that leaves out the outermost ten-thousandth, half of it on each side."""
    outside = (100 - PERCENTILE) / 100
    total = np.cumsum(histogram.counts) / max(histogram.counts.sum(), 1)
    step = (histogram.high - histogram.low) / BINS
    two_sided = histogram.low < 0 < histogram.high
    below = outside / 2 if two_sided else outside
    low = histogram.low + step * int(np.searchsorted(total, below, side="right"))
    high = histogram.low + step * (int(np.searchsorted(total, 1 - below)) + 1)
    return min(low, 0.0), max(high, 0.0)


def mean_squared_error(histogram: Histogram) -> Range:
    """Return the range whose rounding and cutting off together have the least squared error."""
    values, counts = histogram.centers, histogram.counts

    def error(low: float, high: float) -> float:
        step = max(high - low, 1e-30) / (LEVELS - 1)
        zero = np.round(-low / step)
        rounded = (np.clip(np.round(values / step) + zero, 0, LEVELS - 1) - zero) * step
        return float(np.dot(counts, np.square(values - rounded)))

    return _best(histogram, error)


def entropy(histogram: Histogram) -> Range:
    """Return the range in which the rounded values' distribution diverges least (KL)."""
    values, counts = histogram.centers, histogram.counts.astype(np.float64)
    # The zeros of a ReLU are exact in every range, and would outweigh all other values.
    zero = int(np.argmin(np.abs(values)))
    counts[zero] = counts[max(zero - 1, 0) : zero + 2].min()

    def divergence(low: float, high: float) -> float:
        inside = (values >= low) & (values <= high)
        if not counts[inside].any():
            return np.inf
        kept = counts[inside]
        exact = kept.copy()
        exact[0] += counts[values < low].sum()
        exact[-1] += counts[values > high].sum()
        groups = (np.arange(len(kept)) * LEVELS) // len(kept)
        filled = kept > 0
        sums = np.bincount(groups, kept, LEVELS)
        sizes = np.bincount(groups, filled, LEVELS)
        spread = np.where(filled, (sums / np.maximum(sizes, 1))[groups], 0)
        p, q = exact / exact.sum(), spread / max(spread.sum(), 1e-30)
        both = (p > 0) & (q > 0)
        missing = p[(p > 0) & (q == 0)].sum()
        return float(np.sum(p[both] * np.log(p[both] / q[both])) + 20 * missing)

    return _best(histogram, divergence)


def _best(histogram: Histogram, loss: Callable[[float, float], float]) -> Range:
    """Return the best of the shares of a range: first of its upper end, then of its lower one."""
    low, high = histogram.low, histogram.high
    high = min((share * high for share in SHARES), key=lambda end: loss(low, end))
    if low < 0:
        low = min((share * low for share in SHARES), key=lambda end: loss(end, high))
    return low, high


METHODS: dict[str, Callable[[Histogram], Range]] = {
    "min-max": lambda histogram: (histogram.low, histogram.high),
    "percentile": percentile,
    "mse": mean_squared_error,
    "entropy": entropy,
}


def histograms(floating: bytes, images: np.ndarray) -> dict[str, Histogram]:
    """Count the values of the activations of a file, by the names of their tensors.

    Args:
        floating: a float32 TFLite file.
        images: its inputs, float32 [n, H, W, C].
    """
    names = [name for o in graph.operations(floating) if not o.constant for name in o.outputs]
    return counted(running.tensors(floating, names), images)


def counted(run: Callable[[Any], dict[str, np.ndarray]], images: Iterable) -> dict[str, Histogram]:
    """Count the values of tensors, by their names.

    Args:
        run: gives the tensors for one of the images.
        images: are run twice, for the ends and for what is between them.
    """
    ends: dict[str, Range] = {}
    for image in images:
        for name, values in run(image).items():
            low, high = ends.get(name, (0.0, 0.0))
            ends[name] = min(low, float(values.min())), max(high, float(values.max()))
    found = {
        name: Histogram(low, high, np.zeros(BINS, np.int64)) for name, (low, high) in ends.items()
    }
    for image in images:
        for name, values in run(image).items():
            found[name].add(values)
    return found


def of(floating: bytes, images: np.ndarray, method: str) -> dict[str, Range]:
    """Return the range of each activation of a file, by a method; see :func:`chosen`.

    Args:
        floating: a float32 TFLite file.
        images: its inputs, float32 [n, H, W, C].
        method: one of ``METHODS``.
    """
    return chosen(floating, histograms(floating, images), method)


def chosen(floating: bytes, found: dict[str, Histogram], method: str) -> dict[str, Range]:
    """Return the range of each activation of a file whose histograms were ``found``.

    Logits and what follows them keep all values: the largest one is the answer.
    """
    exact = {*kernels.last(floating)}
    for operation in graph.operations(floating):
        if exact & {*operation.inputs}:
            exact |= {*operation.outputs}
    return {
        name: METHODS["min-max" if name in exact else method](histogram)
        for name, histogram in found.items()
    }


def with_ranges(floating: bytes, ranges: dict[str, Range]) -> bytes:
    """Return a float32 file that says what range each tensor has, as calibration leaves it."""
    model = graph.read(floating)
    for subgraph in model.subgraphs:
        for tensor in subgraph.tensors:
            if ends := ranges.get(tensor.name.decode()):
                tensor.quantization = schema.QuantizationParametersT()
                tensor.quantization.min, tensor.quantization.max = (
                    np.array([end], np.float32) for end in ends
                )
    return graph.packed(model)
