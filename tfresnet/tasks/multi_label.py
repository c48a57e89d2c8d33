"""From probabilities and labels to the numbers that describe a model with many labels a picture."""

import statistics
from typing import Any

import numpy as np

from tfresnet.tasks import average_precision, metrics

THRESHOLD = 0.5  # of a probability, from which on a picture is said to have a label


def scores(probabilities: np.ndarray, truth: np.ndarray, activation: str = "sigmoid") -> dict:
    """Return ``map micro_f1 macro_f1 exact_match loss``, all but the loss fractions of 1.

    ``map`` is the mean of the labels' average precisions, ``macro_f1`` that of their F1 scores at
    a threshold of 0.5, both over the labels that a picture has; ``micro_f1`` counts all decisions
    together; ``exact_match`` is the share of pictures whose labels are all right. Without any label
    in ``truth`` the first three are 0. The loss is that of :func:`.metrics.loss`.

    Args:
        probabilities: float [n, labels].
        truth: what is true, 0 or 1, [n, labels].
        activation: what made the probabilities.
    """
    true = truth > 0.5
    each = average_precision.per_label(probabilities, true)
    return {
        "map": _mean(each[true.any(axis=0)]),
        **_f1(decisions(probabilities), true),
        "exact_match": float((decisions(probabilities) == true).all(axis=1).mean()),
        "loss": metrics.loss(probabilities, true, activation),
    }


def summary(
    probabilities: np.ndarray,
    truth: np.ndarray,
    labels: tuple[str, ...],
    activation: str = "sigmoid",
) -> dict[str, Any]:
    """Return :func:`scores` and ``map_interval threshold n per_class per_class_counts``.

    The interval is that of :func:`.average_precision.interval`; ``per_class`` has each label's
    average precision, None if no picture has it, ``per_class_counts`` how many have.

    Raises:
        InputError: a probability is no number.
    """
    metrics.check(probabilities)
    true = truth > 0.5
    each, counts = average_precision.per_label(probabilities, true), true.sum(axis=0).tolist()
    interval = average_precision.interval(probabilities, true)
    return {
        **scores(probabilities, truth, activation),
        "map_interval": interval and list(interval),
        "threshold": THRESHOLD,
        "n": len(truth),
        "per_class": {
            label: float(value) if count else None
            for label, value, count in zip(labels, each, counts, strict=True)
        },
        "per_class_counts": dict(zip(labels, counts, strict=True)),
    }


def decisions(probabilities: np.ndarray) -> np.ndarray:
    """Return which labels a picture is said to have, bool [n, labels]."""
    return probabilities >= THRESHOLD


def _f1(said: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return ``micro_f1`` and ``macro_f1``: 2 hits / (all that is said + all that is true)."""
    hits, total = (said & true).sum(axis=0), said.sum(axis=0) + true.sum(axis=0)
    there = true.any(axis=0)
    return {
        "micro_f1": float(2 * hits.sum() / max(1, total.sum())),
        "macro_f1": _mean(2 * hits[there] / total[there]),
    }


def _mean(values: np.ndarray) -> float:
    return statistics.fmean(values.tolist()) if len(values) else 0.0
