"""Turn the scores and boxes of a detector into detections: non-maximum suppression in NumPy."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

LIMIT = 100  # detections of a picture, as in COCO's evaluation
CANDIDATES = 300  # boxes that are compared with each other
LOWEST = 0.01  # score of a candidate
OVERLAP = 0.5  # intersection over union with a better box of the same class, from which on it goes
TINY = 1e-12  # an area, so that nothing is divided by 0
THRESHOLD = 0.3  # score of the detections that a person is shown


class Box(NamedTuple):
    """An object that was detected.

    Attributes:
        label: its name.
        score: 0 to 1.
        box: left, top, right, bottom in pixels of the picture as a person sees it.
    """

    label: str
    score: float
    box: tuple[float, float, float, float]


class Detections(NamedTuple):
    """The detections in one picture, best first.

    Attributes:
        boxes: x1, y1, x2, y2 in shares of the width and the height, 0 to 1, float32 [k, 4].
        scores: 0 to 1, float32 [k].
        classes: int32 [k].
    """

    boxes: np.ndarray
    scores: np.ndarray
    classes: np.ndarray


def detections(
    scores: np.ndarray, boxes: np.ndarray, lowest: float = LOWEST, overlap: float = OVERLAP
) -> dict[str, np.ndarray]:
    """Return the detections in a batch of pictures, of a fixed number.

    Args:
        scores: of each class in each place, 0 to 1, float [batch, n, classes].
        boxes: x1, y1, x2, y2 in shares of the picture, float [batch, n, 4].
        lowest: score of a detection.
        overlap: see :func:`suppressed`.

    Returns:
        ``boxes`` float32 [batch, 100, 4], ``scores`` float32 [batch, 100], best first, and
        ``classes`` int32 [batch, 100], -1 where there is no further detection.
    """
    count = len(scores)
    found = {
        "boxes": np.zeros((count, LIMIT, 4), np.float32),
        "scores": np.zeros((count, LIMIT), np.float32),
        "classes": np.full((count, LIMIT), -1, np.int32),
    }
    for row in range(count):
        one = suppressed(scores[row], boxes[row], lowest, overlap)
        for key, values in one._asdict().items():
            found[key][row, : len(values)] = values
    return found


def counted(
    boxes: np.ndarray, classes: np.ndarray, scores: np.ndarray, count: np.ndarray
) -> dict[str, np.ndarray]:
    """Return detections as :func:`detections` does, of a file that has suppressed by itself.

    Args:
        boxes: y1, x1, y2, x2 in shares of the picture, float [batch, 100, 4].
        classes: numbers, float [batch, 100].
        scores: best first, float [batch, 100].
        count: how many of the 100 there are, float [batch].
    """
    there = np.arange(LIMIT) < count.reshape(-1, 1)
    boxes = boxes[..., [1, 0, 3, 2]].clip(0, 1)
    return {
        "boxes": np.where(there[..., None], boxes, 0).astype(np.float32),
        "scores": np.where(there, scores, 0).astype(np.float32),
        "classes": np.where(there, classes, -1).astype(np.int32),
    }


def suppressed(
    scores: np.ndarray, boxes: np.ndarray, lowest: float = LOWEST, overlap: float = OVERLAP
) -> Detections:
    """Return the best boxes of one picture without those that overlap a better one of their class.

    Greedy non-maximum suppression of the 300 best candidates; of equal scores the first place and
    class comes first. Boxes are cut off at the picture's border; those without an area are none.

    Args:
        scores: float [n, classes].
        boxes: float [n, 4].
        lowest: score of a candidate.
        overlap: intersection over union from which on a box is left out.
    """
    scores, boxes = np.asarray(scores, np.float32), np.asarray(boxes, np.float32)
    place, kind = np.nonzero(scores >= lowest)
    score = scores[place, kind]
    best = np.argsort(-score, kind="stable")[:CANDIDATES]
    box, score, kind = boxes[place[best]].clip(0, 1), score[best], kind[best]
    spared = ~((iou(box, box) >= overlap) & (kind[:, None] == kind))
    np.fill_diagonal(spared, False)  # also of a box with hardly an area
    kept: list[int] = []
    alive = (box[:, 2:] > box[:, :2]).all(axis=1)
    while len(kept) < LIMIT and alive.any():
        first = int(alive.argmax())
        kept.append(first)
        alive &= spared[first]
    return Detections(box[kept], score[kept], kind[kept].astype(np.int32))


def iou(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each two boxes, float32 [n, m]; 0 without an area.

    Args:
        ours: x1, y1, x2, y2, float [n, 4].
        theirs: float [m, 4].
    """
    width, height = (
        np.minimum.outer(ours[:, end], theirs[:, end])
        - np.maximum.outer(ours[:, start], theirs[:, start])
        for start, end in ((0, 2), (1, 3))
    )
    # In place, as to ask for memory takes most of the time.
    shared = np.maximum(width, 0, out=width)
    shared *= np.maximum(height, 0, out=height)
    whole = np.add.outer(area(ours), area(theirs))
    whole -= shared
    np.maximum(whole, TINY, out=whole)
    shared /= whole
    return shared.astype(np.float32, copy=False)


def area(boxes: np.ndarray) -> np.ndarray:
    """Return the areas of boxes [n, 4], float [n]; 0 of those that are turned over."""
    return (boxes[:, 2:] - boxes[:, :2]).clip(0).prod(axis=1)


def shown(found: Mapping[str, np.ndarray], row: int, threshold: float = THRESHOLD) -> Detections:
    """Return the detections in one picture of a batch whose score is at least ``threshold``."""
    there = (found["classes"][row] >= 0) & (found["scores"][row] >= threshold)
    return Detections(*(found[key][row][there] for key in Detections._fields))
