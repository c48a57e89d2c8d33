"""Compare a file's predictions with the checkpoint's, on the same images."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import tensorflow as tf

from tfresnet.tasks.base import Task

TOP = 5


@dataclass(frozen=True)
class Reference:
    """The checkpoint's predictions for some images, and what is true of the images.

    Attributes:
        predictions: as the task has them, arrays [n, ...]: probabilities, class maps.
        truth: the same of the truth: classes, masks.
        task: what the model does.
    """

    predictions: Any
    truth: Any
    task: Task

    @property
    def n(self) -> int:
        """The number of images."""
        return len(tf.nest.flatten(self.truth)[0])

    @property
    def headline(self) -> dict[str, float | None]:
        """The checkpoint's primary metric, under the keys of report.json.

        ``checkpoint_top1`` is always there; it is None in tasks that have another one, such as
        ``checkpoint_map``.
        """
        primary = self.task.primary
        return {"checkpoint_top1": None, f"checkpoint_{primary}": self.scores[primary]}

    @cached_property
    def scores(self) -> dict[str, Any]:
        """The metrics of the checkpoint, see :func:`scores_of`."""
        return scores_of(self.predictions, self)


def scores_of(predictions: Any, reference: Reference) -> dict[str, Any]:
    """Return the task's metrics of predictions for the reference's images.

    ``top5`` is None where there are no more than 5 classes.
    """
    task = reference.task
    metrics = task.metrics()
    metrics.update(predictions, reference.truth)
    scores = metrics.scores()
    if "top5" in scores and len(task.output.labels) <= TOP:
        scores["top5"] = None
    return scores


def compare(predictions: Any, reference: Reference) -> dict[str, Any]:
    """Return the metrics of a file's predictions and how far they are from the checkpoint's.

    Beside the metrics of :func:`scores_of` the dictionary has ``metric``, the name of the primary
    metric; ``value``, its value; ``drop``, how much lower than the checkpoint's it is, in
    percentage points; ``agreement``, the share of equal decisions, 0 to 1; and ``max_abs_error``,
    the largest difference of a predicted number.
    """
    task, scores = reference.task, scores_of(predictions, reference)
    return scores | {
        "metric": task.primary,
        "value": scores[task.primary],
        "drop": 100 * (reference.scores[task.primary] - scores[task.primary]),
        **task.agreement(predictions, reference.predictions)._asdict(),
    }
