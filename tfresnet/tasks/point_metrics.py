"""Average precision of points as COCO has it, and what is found at the threshold that is shown."""

import math
from typing import Any

import numpy as np
from pycocotools.cocoeval import COCOeval

from tfresnet.runtime.boxes import THRESHOLD
from tfresnet.tasks.box_metrics import Arrays, DetectionMetrics

# Of OKS: it is 0.5 at a distance of half the side of a square with the area of the true box.
SIGMA = 1 / math.sqrt(32 * math.log(2))
KNOWN = 2  # COCO's flag of a key point that is labeled and visible


class PointMetrics(DetectionMetrics):
    """Average precision of points, overall and of each class, by ``pycocotools``.

    It is that of :class:`.DetectionMetrics`, with COCO's object keypoint similarity (OKS) instead
    of the intersection over union. The only key point of an object is the center of its box. The
    OKS of a point and a box is ``0.5 ** (4 * distance ** 2 / area)``, in shares of the image's
    sides: 0.5 for a point on the circle in a square box. A point in an ignored box counts neither
    as right nor as wrong.
    """

    similarity = "keypoints"

    def scores(self) -> dict[str, Any]:
        """Return ``map50``, ``map``, ``precision``, ``recall`` and ``f1``, fractions of 1.

        The last three are of all points with a score of at least 0.3, whatever their class; right
        are those that match a true box of their class by an OKS of 0.5.
        """
        matched = self.matched()
        shown = [m.right[m.scores >= THRESHOLD] for m in matched]
        right, found = sum(int(each.sum()) for each in shown), sum(map(len, shown))
        total = sum(int(m.boxes.sum()) for m in matched)
        return super().scores() | {
            "precision": right / max(1, found),
            "recall": right / max(1, total),
            "f1": 2 * right / max(1, found + total),
        }

    def result(self) -> dict[str, Any]:
        """Return the scores, ``threshold`` and the rest of :meth:`.DetectionMetrics.result`."""
        return super().result() | {"threshold": THRESHOLD}

    def _settings(self, evaluation: COCOeval) -> None:
        super()._settings(evaluation)
        evaluation.params.kpt_oks_sigmas = np.array([SIGMA])

    def _place(self, part: Arrays, row: int, column: int) -> dict[str, Any]:
        """Return the place of an annotation in COCO's words."""
        if "points" in part:
            x, y = map(float, part["points"][row, column])
            return {"keypoints": [x, y, KNOWN], "num_keypoints": 1, "area": 0.0}
        place = super()._place(part, row, column)
        left, top, width, height = place["bbox"]
        if "ignored" in part and part["ignored"][row, column]:
            # Without a known key point COCO takes all within the box, enlarged to three times.
            third = [left + width / 3, top + height / 3, width / 3, height / 3]
            return place | {"bbox": third, "keypoints": [0, 0, 0], "num_keypoints": 0}
        center = [left + width / 2, top + height / 2, KNOWN]
        return place | {"keypoints": center, "num_keypoints": 1}
