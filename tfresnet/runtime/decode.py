"""Turn a model's outputs into predictions, by task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from .spec import CLASSIFICATION, MULTI_LABEL

TOP = 5  # labels that are given of a picture that has one of them
THRESHOLD = 0.5  # of the probability of a label, where a picture may have many

Scored = list[tuple[str, float]]  # labels with their probabilities


@dataclass(frozen=True)
class Decoder:
    """How the probabilities of a task are read.

    Attributes:
        default_top: from the number of labels to how many are given by default.
        accepted: from all labels, best first, and a threshold to those that are true of the
            picture; None where that is the first one.
    """

    default_top: Callable[[int], int]
    accepted: Callable[[Scored, float], Scored | None]


def ranked(probabilities: np.ndarray, labels: Sequence[str]) -> Scored:
    """Return all labels with their probabilities, best first.

    Args:
        probabilities: float [classes].
        labels: the name of each class.
    """
    best = np.argsort(-probabilities, kind="stable")
    return [(labels[i], float(probabilities[i])) for i in best]


def above(scored: Scored, threshold: float) -> Scored:
    """Return the labels whose probability is at least ``threshold``."""
    return [one for one in scored if one[1] >= threshold]


# The decoder of each task whose files give a probability of each label.
DECODERS = {
    CLASSIFICATION: Decoder(lambda classes: min(TOP, classes), lambda scored, threshold: None),
    MULTI_LABEL: Decoder(lambda classes: classes, above),
}
