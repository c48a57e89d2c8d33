"""Compare a file's predictions with the checkpoint's, on the same images."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfresnet.tasks.base import Task

TOP = 5


@dataclass(frozen=True)
class Reference:
    """The checkpoint's predictions for some images, and the images' true classes.

    Attributes:
        probabilities: float32 [n, classes], 0 to 1.
        classes: the true class of each image, int [n]; in multi-label classification 1 for each
            label that an image has, else 0, [n, classes].
        task: what the model does.
    """

    probabilities: np.ndarray
    classes: np.ndarray
    task: Task

    @property
    def headline(self) -> dict[str, float | None]:
        """The checkpoint's primary metric, under the keys of report.json.

        ``checkpoint_top1`` is always there; it is None in multi-label classification, which has
        ``checkpoint_map``.
        """
        primary = self.task.primary
        return {"checkpoint_top1": None, f"checkpoint_{primary}": self.scores[primary]}

    @cached_property
    def scores(self) -> dict[str, Any]:
        """The metrics of the checkpoint, see :func:`scores_of`."""
        return scores_of(self.probabilities, self)


def scores_of(probabilities: np.ndarray, reference: Reference) -> dict[str, Any]:
    """Return the task's metrics of predictions for the reference's images.

    ``top5`` is None where there are no more than 5 classes.

    Args:
        probabilities: float [n, classes], 0 to 1.
    """
    metrics = reference.task.metrics()
    metrics.update(probabilities, reference.classes)
    scores = metrics.scores()
    if "top5" in scores and probabilities.shape[1] <= TOP:
        scores["top5"] = None
    return scores


def compare(probabilities: np.ndarray, reference: Reference) -> dict[str, Any]:
    """Return the metrics of a file's predictions and how far they are from the checkpoint's.

    Beside the metrics of :func:`scores_of` the dictionary has ``metric``, the name of the primary
    metric; ``value``, its value; ``drop``, how much lower than the checkpoint's it is, in
    percentage points; ``agreement``, the share of equal decisions, 0 to 1; and ``max_abs_error``,
    the largest difference of a probability.

    Args:
        probabilities: of the file, float [n, classes], 0 to 1.
    """
    task, scores = reference.task, scores_of(probabilities, reference)
    return scores | {
        "metric": task.primary,
        "value": scores[task.primary],
        "drop": 100 * (reference.scores[task.primary] - scores[task.primary]),
        **task.agreement(probabilities, reference.probabilities)._asdict(),
    }
