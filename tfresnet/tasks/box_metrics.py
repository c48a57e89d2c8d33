"""Average precision of boxes, as COCO has it."""

import contextlib
import io
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tfresnet.runtime.boxes import LIMIT
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks.intervals import Z

RESAMPLES = 200
LARGEST = 2_000_000  # array elements that are computed at once
FIRST = 0  # of COCO's thresholds, 0.5 to 0.95
Arrays = Mapping[str, np.ndarray]


class Matched(NamedTuple):
    """The detections of one class in all images, matched with the true boxes at an IoU of 0.5.

    Those that match an ignored box are not among them.

    Attributes:
        scores: float [k].
        right: whether they match a true box, bool [k].
        image: the index of each one's image, int [k].
        boxes: true boxes of each image, without ignored ones, int [images].
    """

    scores: np.ndarray
    right: np.ndarray
    image: np.ndarray
    boxes: np.ndarray


class DetectionMetrics:
    """Average precision of boxes, overall and of each class, by ``pycocotools``.

    It is the mean of the precision at 101 levels of recall. A detection is right if it overlaps a
    true box of its class, which no better one has matched, by an intersection over union (IoU) of
    at least a threshold. Detections of ignored boxes count neither as right nor as wrong.
    """

    similarity = "bbox"  # as COCO calls it

    def __init__(self, output: OutputSpec):
        self.output = output
        self._predictions: list[Arrays] = []
        self._truth: list[Arrays] = []

    def update(self, predictions: Arrays, truth: Arrays) -> None:
        """Add a batch.

        Args:
            predictions: ``boxes`` float32 [n, k, 4], ``scores`` float32 [n, k] and ``classes``
                int32 [n, k], -1 where there is none.
            truth: ``boxes`` float32 [n, N, 4], ``classes`` int32 [n, N], -1 where there is none,
                and ``ignored`` bool [n, N].
        """
        self._predictions.append(predictions)
        self._truth.append(truth)
        self.__dict__.pop("_evaluated", None)

    @cached_property
    def _evaluated(self) -> COCOeval:
        """COCO's evaluation of all images."""
        count = sum(len(truth["classes"]) for truth in self._truth)
        kinds = range(len(self.output.labels))
        with contextlib.redirect_stdout(io.StringIO()):  # it tells how long it takes
            found = COCOeval(
                self._as_coco(self._truth, count, kinds),
                self._as_coco(self._predictions, count, kinds),
                self.similarity,
            )
            self._settings(found)
            found.evaluate()
            found.accumulate()
        return found

    def _settings(self, evaluation: COCOeval) -> None:
        """Set what differs from COCO's evaluation: boxes of any size are counted together."""
        evaluation.params.areaRng, evaluation.params.areaRngLbl = [[0, np.inf]], ["all"]
        evaluation.params.maxDets = [LIMIT]

    def _as_coco(self, parts: Sequence[Arrays], count: int, kinds: Sequence[int]) -> COCO:
        """Return truth or predictions as COCO's annotations; places are in shares of the images."""
        annotations: list[dict[str, Any]] = []
        image = 0
        for part in parts:
            for row, classes in enumerate(part["classes"]):
                for column in np.flatnonzero(classes >= 0).tolist():
                    annotation = {
                        "id": len(annotations) + 1,  # 0 would say that nothing matches
                        "image_id": image,
                        "category_id": int(classes[column]),
                        "iscrowd": int("ignored" in part and part["ignored"][row, column]),
                        **self._place(part, row, column),
                    }
                    if "scores" in part:
                        annotation["score"] = float(part["scores"][row, column])
                    annotations.append(annotation)
                image += 1
        found = COCO()
        found.dataset = {
            "images": [{"id": i} for i in range(count)],
            "categories": [{"id": i} for i in kinds],
            "annotations": annotations,
        }
        found.createIndex()
        return found

    def _place(self, part: Arrays, row: int, column: int) -> dict[str, Any]:
        """Return the place of an annotation in COCO's words."""
        x1, y1, x2, y2 = map(float, part["boxes"][row, column])
        return {"bbox": [x1, y1, x2 - x1, y2 - y1], "area": (x2 - x1) * (y2 - y1)}

    def average_precisions(self) -> np.ndarray:
        """Return the average precision at each threshold, 0.5 to 0.95, of each class.

        Returns:
            float64 [10, classes]; NaN of classes without a true box.
        """
        precision = self._evaluated.eval["precision"][:, :, :, 0, 0]
        return np.where((precision < 0).any(axis=1), np.nan, precision.mean(axis=1))

    def scores(self) -> dict[str, Any]:
        """Return ``map50`` and ``map``, fractions of 1.

        The mean average precision over the classes that an image has, at an IoU of 0.5, and its
        mean over the thresholds 0.5, 0.55, ... 0.95 (https://cocodataset.org/#detection-eval).
        """
        each = self.average_precisions()
        if np.isnan(each).all():
            return {"map50": 0.0, "map": 0.0}
        return {"map50": float(np.nanmean(each[FIRST])), "map": float(np.nanmean(each))}

    def result(self) -> dict[str, Any]:
        """Return the scores and ``map50_interval n per_class per_class_counts``.

        The interval is that of :func:`half_width`; ``per_class`` has the average precision of each
        class at an IoU of 0.5, None if no image has it; ``per_class_counts`` its true boxes.
        """
        scores, each = self.scores(), self.average_precisions()[FIRST]
        matched = self.matched()
        reach = half_width([m for m in matched if m.boxes.any()])
        low, high = max(0.0, scores["map50"] - reach), min(1.0, scores["map50"] + reach)
        labels = self.output.labels
        return scores | {
            "map50_interval": [low, high],
            "n": len(matched[0].boxes),
            "per_class": {
                label: None if np.isnan(value) else float(value)
                for label, value in zip(labels, each, strict=True)
            },
            "per_class_counts": {
                label: int(m.boxes.sum()) for label, m in zip(labels, matched, strict=True)
            },
        }

    def matched(self) -> list[Matched]:
        """Return the detections of each class, matched with the true boxes at the threshold 0.5."""
        images = len(self._evaluated.params.imgIds)
        each = self._evaluated.evalImgs
        count = len(self.output.labels)
        return [_matched(each[i * images : (i + 1) * images]) for i in range(count)]


def _matched(images: Sequence[dict[str, Any] | None]) -> Matched:
    """Return the detections of one class from the evaluation of each image."""
    parts = [(i, image) for i, image in enumerate(images) if image]
    boxes = np.zeros(len(images), int)
    scores, right, index = [np.zeros(0)], [np.zeros(0, bool)], [np.zeros(0, int)]
    for i, image in parts:
        boxes[i] = np.count_nonzero(np.asarray(image["gtIgnore"]) == 0)
        counted = ~image["dtIgnore"][FIRST]
        scores.append(np.asarray(image["dtScores"], float)[counted])
        right.append((image["dtMatches"][FIRST] > 0)[counted])
        index.append(np.full(counted.sum(), i))
    return Matched(np.concatenate(scores), np.concatenate(right), np.concatenate(index), boxes)


def average_precision(matched: Matched, counts: np.ndarray) -> np.ndarray:
    """Return COCO's average precision for each row of ``counts``, float64 [rows].

    NaN if the images of a row have no true box.

    Args:
        matched: the detections of a class.
        counts: how often each image is counted, [rows, images].
    """
    order = np.argsort(-matched.scores, kind="mergesort")
    weights = counts[:, matched.image[order]]
    hits = np.cumsum(weights * matched.right[order], axis=1)
    total = counts @ matched.boxes
    with np.errstate(divide="ignore", invalid="ignore"):
        precision = np.nan_to_num(hits / np.cumsum(weights, axis=1))
        recall = hits / total[:, None]
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    best = np.pad(best, ((0, 0), (0, 1)))  # beyond the highest recall it is 0
    levels = np.linspace(0, 1, 101)
    means = [row[np.searchsorted(r, levels)].mean() for row, r in zip(best, recall, strict=True)]
    return np.where(total > 0, means, np.nan)


def half_width(classes: Sequence[Matched], seed: int = 0) -> float:
    """Return half of the 95 % bootstrap interval of the mean average precision at an IoU of 0.5.

    It is 1.96 standard errors, estimated by drawing the images with replacement, as in
    :func:`.average_precision.interval`. A class that a draw lacks is left out of its mean.

    Args:
        classes: those that an image has.
        seed: of the random draws.
    """
    if not classes:
        return 0.0
    images = len(classes[0].boxes)
    rng = np.random.default_rng(seed)
    draws = rng.multinomial(images, np.full(images, 1 / images), RESAMPLES)
    most = max(1, max(len(c.scores) for c in classes))
    parts = -(-RESAMPLES * most // LARGEST)
    each = [
        np.concatenate([average_precision(c, part) for part in np.array_split(draws, parts)])
        for c in classes
    ]
    known = np.isfinite(each)
    some = known.any(axis=0)
    means = np.where(known, each, 0).sum(axis=0)[some] / known.sum(axis=0)[some]
    return Z * float(means.std())
