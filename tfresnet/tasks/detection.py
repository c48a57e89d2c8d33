"""Detection: boxes around objects, each with one of the labels."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.splits import Split
from tfresnet.models import heads
from tfresnet.models.network import Head
from tfresnet.runtime import boxes
from tfresnet.runtime.boxes import OVERLAP, THRESHOLD, Detections
from tfresnet.runtime.metadata import BOXES, DETECTIONS
from tfresnet.runtime.spec import DETECTION, InputSpec
from tfresnet.tasks.base import Agreement, Loss, Task
from tfresnet.tasks.box_metrics import DetectionMetrics
from tfresnet.tasks.center_decoding import scores_and_boxes
from tfresnet.tasks.center_losses import at_centers, center_loss
from tfresnet.tasks.center_targets import CenterTargets, center_targets
from tfresnet.tasks.headings import HEADINGS

Truth = Mapping[str, Any]


class Detection(Task):
    """What is true of a batch is a dictionary, whose N is the same for all of a data set.

    ``boxes`` float32 [batch, N, 4] are x1, y1, x2, y2 in shares of the image's width and height,
    ``classes`` int32 [batch, N], -1 where there is no box, and ``ignored`` bool [batch, N] says
    which are neither learned nor counted. The network gives maps, see
    :class:`tfresnet.models.center_head.CenterHead`. Predictions are those of
    :func:`tfresnet.runtime.boxes.detections`.
    """

    headings = HEADINGS[DETECTION]
    output_kinds: ClassVar[tuple[str, ...]] = (BOXES, DETECTIONS)
    least_agreement = 0.9
    averages_flips = False  # boxes of two images have no mean

    def head(self, config: ModelConfig, num_classes: int) -> Head:
        """Build the head that ``model.head`` names."""
        return heads.detection(config, num_classes)

    def targets(self, truth: Truth) -> Truth:
        """Return the truth as it is: the maps' size is known with the outputs."""
        return truth

    def loss(self, config: TrainConfig, train: Split) -> Loss:
        """Return a function of boxes and maps, see :func:`.center_losses.center_loss`."""

        def per_image(targets: Truth, outputs: Any, teacher: Any = None) -> tf.Tensor:
            return center_loss(_maps(targets, outputs), outputs)

        return per_image

    def correct(self, targets: Truth, outputs: Any) -> tf.Tensor:
        """Return the share of the boxes whose center is seen; 1 for an image without boxes."""
        true = _maps(targets, outputs)
        logits = at_centers(outputs["heat"], true)
        logits = tf.gather(logits, true.classes[..., None], batch_dims=2)[..., 0]
        seen = tf.cast(tf.sigmoid(logits) >= THRESHOLD, tf.float32) * true.there
        count = tf.reduce_sum(true.there, axis=1)
        return tf.where(count > 0, tf.math.divide_no_nan(tf.reduce_sum(seen, axis=1), count), 1.0)

    def in_graph(self, outputs: Any, spec: InputSpec, kind: str = "") -> dict[str, tf.Tensor]:
        """Return what is in all cells, see :func:`.center_decoding.scores_and_boxes`.

        That is so of both kinds: which boxes stay is up to a file's format.
        """
        return scores_and_boxes(outputs)

    def metrics(self) -> DetectionMetrics:
        """Return metrics of no images yet."""
        return DetectionMetrics(self.output)

    def decisions(self, predictions: Mapping[str, np.ndarray]) -> np.ndarray:
        """Return the classes of what is detected, int32 [n, 100]; -1 stands for nothing."""
        return np.where(predictions["scores"] >= THRESHOLD, predictions["classes"], -1)

    def name_of(self, decision: Any) -> str:
        """Return how many there are of each class: ``2 cat, 1 dog``.

        Args:
            decision: the classes of what is detected, or a dictionary of what is true.
        """
        classes = decision["classes"] if isinstance(decision, Mapping) else decision
        counts = Counter(int(kind) for kind in classes if kind >= 0)
        named = [f"{counts[i]} {self.output.labels[i]}" for i in sorted(counts)]
        return ", ".join(named) or "nothing"

    def shown(self, found: Mapping[str, np.ndarray], row: int, threshold: float = THRESHOLD) -> Any:
        """Return the detections in one image of a batch whose score is at least ``threshold``."""
        return boxes.shown(found, row, threshold)

    def pairs(self, ours: Any, theirs: Any) -> list[tuple[int, int]]:
        """Return which detections of two models are the same, see :func:`pairs_of`."""
        return pairs_of(ours, theirs)

    def agreement(
        self, predictions: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]
    ) -> Agreement:
        """Compare what is detected: the share of it, of both, that matches one of the other.

        What matches is up to :meth:`pairs`; all have a score of at least 0.3. The error is the
        largest difference of the scores of two that match.
        """
        pairs = total = 0
        error = 0.0
        for row in range(len(reference["scores"])):
            ours, theirs = (self.shown(found, row) for found in (predictions, reference))
            matched = self.pairs(ours, theirs)
            total += len(ours.scores) + len(theirs.scores)
            pairs += len(matched)
            error = max([error, *(abs(ours.scores[i] - theirs.scores[j]) for i, j in matched)])
        return Agreement(2 * pairs / total if total else 1.0, float(error))


def _maps(truth: Truth, outputs: Any) -> CenterTargets:
    _, height, width, classes = outputs["heat"].shape
    return center_targets(truth, height, width, classes)


def pairs_of(ours: Detections, theirs: Detections) -> list[tuple[int, int]]:
    """Return which detections of two models are the same: an IoU of 0.5 or more, the same class."""
    overlap = boxes.iou(ours.boxes, theirs.boxes)
    return best_pairs(overlap, ours.classes, theirs.classes, OVERLAP)


def best_pairs(
    likeness: np.ndarray, ours: np.ndarray, theirs: np.ndarray, least: float
) -> list[tuple[int, int]]:
    """Return the pairs, of one of ours and one of theirs, that are the same.

    Each of ours, best first, is matched with the one of theirs that it is most like among those of
    its class that are left.

    Args:
        likeness: of each two, above 0, float [n, m]; changed.
        ours: classes, int32 [n].
        theirs: classes, int32 [m].
        least: likeness of a pair.
    """
    likeness[ours[:, None] != theirs] = 0
    found = []
    for i in range(len(likeness)):
        j = int(likeness[i].argmax()) if likeness.shape[1] else 0
        if likeness.shape[1] and likeness[i, j] >= least:
            found.append((i, j))
            likeness[:, j] = 0
    return found
