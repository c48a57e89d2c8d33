"""Calibration: whether a classifier is right as often as its probabilities say."""

import numpy as np


def reliability(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 15
) -> list[tuple[float, float, float]]:
    """Return mean confidence, accuracy and share of the images of each bin that is not empty.

    The bins are of equal width from 0 to 1 (Guo et al. 2017, arXiv:1706.04599).

    Args:
        confidence: the probability of the predicted class, float [n].
        correct: whether that is the true one, bool [n].
        bins: how many there are.
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    members = [index == b for b in range(bins) if (index == b).any()]
    return [
        (float(confidence[m].mean()), float(correct[m].mean()), float(m.mean())) for m in members
    ]


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean gap between confidence and accuracy, a fraction of 1.

    Each of the 15 bins of :func:`reliability` counts by its share of the images.
    """
    return sum(abs(sure - right) * share for sure, right, share in reliability(confidence, correct))
