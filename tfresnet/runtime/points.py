"""Choose among the scores and points of a file that finds the centers of objects, in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from .boxes import LIMIT, LOWEST, THRESHOLD


class Point(NamedTuple):
    """An object whose center was found.

    Attributes:
        label: its name.
        score: 0 to 1.
        x: of the center, in pixels from the left of the picture as a person sees it.
        y: in pixels from its top.
    """

    label: str
    score: float
    x: float
    y: float


class Points(NamedTuple):
    """The points in one picture, best first.

    Attributes:
        points: x and y in shares of the width and the height, 0 to 1, float32 [k, 2].
        scores: 0 to 1, float32 [k].
        classes: int32 [k].
    """

    points: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def best(scores: np.ndarray, points: np.ndarray, lowest: float = LOWEST) -> dict[str, np.ndarray]:
    """Return the best points in a batch of pictures, of a fixed number.

    Nothing is suppressed: of neighboring cells the file has kept the one with the best score. Of
    equal scores the first place and class comes first.

    Args:
        scores: of each class in each place, 0 to 1, float [batch, n, classes].
        points: x and y in shares of the picture, float [batch, n, 2].
        lowest: score of a point.

    Returns:
        ``points`` float32 [batch, 100, 2], ``scores`` float32 [batch, 100], best first, and
        ``classes`` int32 [batch, 100], -1 where there is no further point.
    """
    count = len(scores)
    found = {
        "points": np.zeros((count, LIMIT, 2), np.float32),
        "scores": np.zeros((count, LIMIT), np.float32),
        "classes": np.full((count, LIMIT), -1, np.int32),
    }
    for row in range(count):
        place, kind = np.nonzero(scores[row] >= lowest)
        score = scores[row][place, kind]
        chosen = np.argsort(-score, kind="stable")[:LIMIT]
        found["points"][row, : len(chosen)] = points[row][place[chosen]].clip(0, 1)
        found["scores"][row, : len(chosen)] = score[chosen]
        found["classes"][row, : len(chosen)] = kind[chosen]
    return found


def shown(found: Mapping[str, np.ndarray], row: int, threshold: float = THRESHOLD) -> Points:
    """Return the points in one picture of a batch whose score is at least ``threshold``."""
    there = (found["classes"][row] >= 0) & (found["scores"][row] >= threshold)
    return Points(*(found[key][row][there] for key in Points._fields))
