"""Average precision: how well scores rank the images with a label above those without it."""

import numpy as np

from tfresnet.tasks.intervals import Z

RESAMPLES = 200
LARGEST = 2_000_000  # array elements that are computed at once


def average_precision(
    scores: np.ndarray, true: np.ndarray, counts: np.ndarray | None = None
) -> np.ndarray:
    """Return the average precision of one label for each row of ``counts``, float64 [rows].

    It is the sum over all thresholds of the precision times the gain in recall, without
    interpolation (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4), as scikit-learn's
    ``average_precision_score`` with ``counts`` as ``sample_weight``. Equal scores have one
    threshold. NaN if no image has the label.

    Args:
        scores: float [n].
        true: bool [n].
        counts: the weight of each image, [rows, n]; by default 1, in one row.
    """
    order = np.argsort(-scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(order) - 1)
    counts = np.ones((1, len(order))) if counts is None else counts[:, order]
    seen = np.cumsum(counts, axis=1)[:, ends]
    found = np.cumsum(counts * true[order], axis=1)[:, ends]
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.where(seen > 0, found / seen, 0.0)
        gained = np.diff(found, axis=1, prepend=0) / found[:, -1:]
    return (precision * gained).sum(axis=1)


def per_label(scores: np.ndarray, true: np.ndarray) -> np.ndarray:
    """Return the average precision of each label, float64 [labels]; NaN if no image has it.

    Args:
        scores: float [n, labels].
        true: bool [n, labels].
    """
    return np.array([average_precision(s, t)[0] for s, t in zip(scores.T, true.T, strict=True)])


def interval(scores: np.ndarray, true: np.ndarray, seed: int = 0) -> tuple[float, float] | None:
    """Return the 95 % bootstrap interval of the mean over the labels that occur; None if none does.

    It is 1.96 standard errors to both sides, estimated by drawing the images with replacement
    (Efron and Tibshirani 1993, "An Introduction to the Bootstrap", chapters 6 and 12; percentiles
    would be biased upwards, since an image that is drawn twice is easy to rank). A label that a
    draw lacks is left out of its mean.

    Args:
        scores: float [n, labels].
        true: bool [n, labels].
        seed: of the random draws.
    """
    there = true.any(axis=0)
    if not there.any():
        return None
    scores, true, count = scores[:, there], true[:, there], len(true)
    mean = float(per_label(scores, true).mean())
    rng = np.random.default_rng(seed)
    means: list[np.ndarray] = []
    rows = max(1, min(RESAMPLES, LARGEST // count))
    for start in range(0, RESAMPLES, rows):
        size = min(rows, RESAMPLES - start)
        counts = rng.multinomial(count, np.full(count, 1 / count), size).astype(float)
        each = [average_precision(s, t, counts) for s, t in zip(scores.T, true.T, strict=True)]
        known = np.isfinite(each)
        some = known.any(axis=0)  # a draw may lack all labels, if there are few pictures
        means.append(np.where(known, each, 0).sum(axis=0)[some] / known.sum(axis=0)[some])
    reach = Z * float(np.concatenate(means).std())
    return max(0.0, mean - reach), min(1.0, mean + reach)
