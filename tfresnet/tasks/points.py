"""Points: the centers of objects, each with one of the labels; learned from boxes."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import ModelConfig
from tfresnet.models import heads
from tfresnet.models.network import Head
from tfresnet.runtime import points
from tfresnet.runtime.boxes import THRESHOLD
from tfresnet.runtime.metadata import POINTS_KIND
from tfresnet.runtime.spec import POINTS, InputSpec
from tfresnet.tasks.center_decoding import scores_and_points
from tfresnet.tasks.detection import Detection, best_pairs
from tfresnet.tasks.headings import HEADINGS
from tfresnet.tasks.point_metrics import PointMetrics

NEAR = 0.05  # of the picture's sides: two points that are nearer are the same one


class Points(Detection):
    """Detection without the sizes of boxes, for the smallest devices.

    What is true of a batch is the same, as are targets and loss. Predictions are those of
    :func:`tfresnet.runtime.points.best`.
    """

    headings = HEADINGS[POINTS]
    output_kinds = (POINTS_KIND,)

    def head(self, config: ModelConfig, num_classes: int) -> Head:
        """Build the head that ``model.head`` names."""
        return heads.points(config, num_classes)

    def in_graph(self, outputs: Any, spec: InputSpec, kind: str = "") -> dict[str, tf.Tensor]:
        """Return what is in all cells, see :func:`.center_decoding.scores_and_points`."""
        return scores_and_points(outputs)

    def metrics(self) -> PointMetrics:
        """Return metrics of no images yet."""
        return PointMetrics(self.output)

    def shown(
        self, found: Mapping[str, np.ndarray], row: int, threshold: float = THRESHOLD
    ) -> points.Points:
        """Return the points in one image of a batch whose score is at least ``threshold``."""
        return points.shown(found, row, threshold)

    def pairs(self, ours: points.Points, theirs: points.Points) -> list[tuple[int, int]]:
        """Return which points of two models are the same: those of a class that are near.

        Their distance is at most 0.05, x and y being shares of the image's sides.
        """
        apart = np.linalg.norm(ours.points[:, None] - theirs.points, axis=-1)
        return best_pairs(1 - apart, ours.classes, theirs.classes, 1 - NEAR)
