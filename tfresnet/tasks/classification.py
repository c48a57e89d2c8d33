"""Classification: exactly one of the labels is true of an image."""

import statistics
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.keras2 import keras
from tfresnet.runtime.spec import CLASSIFICATION, OutputSpec
from tfresnet.tasks import intervals
from tfresnet.tasks.calibration_error import expected_calibration_error
from tfresnet.tasks.headings import HEADINGS
from tfresnet.tasks.label_task import LabelTask
from tfresnet.tasks.losses import negative_log_likelihood


class Classification(LabelTask):
    """What is true of an image is a class; of a batch, int64 [batch]."""

    headings = HEADINGS[CLASSIFICATION]

    @property
    def smoothing_target(self) -> float:
        """An equal share of the classes, as in timm for arXiv:2110.00476 (Wightman et al. 2021)."""
        return 1 / len(self.output.labels)

    def targets(self, truth: tf.Tensor) -> tf.Tensor:
        """Return one-hot rows, float32 [batch, classes]."""
        return tf.one_hot(truth, len(self.output.labels))

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return 1 where the largest logit is the largest target's, float32 [batch]."""
        return keras.metrics.categorical_accuracy(targets, outputs)

    def metrics(self) -> "ClassificationMetrics":
        """Return metrics of no images yet."""
        return ClassificationMetrics(self.output)

    def decisions(self, predictions: np.ndarray) -> np.ndarray:
        """Return the most probable class, int64 [n]."""
        return predictions.argmax(axis=1)

    def name_of(self, decision: np.ndarray) -> str:
        """Return the name of a class."""
        return self.output.labels[decision]


class ClassificationMetrics:
    """Top-1, top-5, loss and calibration error, overall and for each class.

    Of the images, only vectors are kept, which are public: for each the true ``classes`` and the
    ``predicted`` ones, int64 [n], and the ``confidence``, the probability of the latter, float [n].
    """

    def __init__(self, output: OutputSpec):
        self.output = output
        self._columns: list[tuple[np.ndarray, ...]] = []

    def update(self, predictions: np.ndarray, truth: np.ndarray) -> None:
        """Add probabilities, float [n, classes], and true classes, int [n]."""
        is_true = truth[:, None] == np.arange(predictions.shape[1])
        true = predictions[is_true][:, None]
        # For top-5, ties count against the model: one among equal predictions is a guess.
        rank = (predictions > true).sum(axis=1) + (predictions == true).sum(axis=1) - 1
        losses = negative_log_likelihood(predictions, is_true, self.output.activation)
        self._columns.append(
            (truth, predictions.argmax(axis=1), predictions.max(axis=1), rank, losses)
        )

    def _column(self, number: int) -> np.ndarray:
        return np.concatenate([columns[number] for columns in self._columns])

    @property
    def classes(self) -> np.ndarray:
        """The true classes, int [n]."""
        return self._column(0)

    @property
    def predicted(self) -> np.ndarray:
        """The most probable classes, int64 [n]."""
        return self._column(1)

    @property
    def confidence(self) -> np.ndarray:
        """The probabilities of the predicted classes, float [n]."""
        return self._column(2)

    def scores(self) -> dict[str, Any]:
        """Return ``top1 top5 loss ece``, all but the loss (in nats) fractions of 1.

        The loss is that of :func:`.losses.negative_log_likelihood`, ``ece`` that of
        :func:`.calibration_error.expected_calibration_error`.
        """
        correct = self.predicted == self.classes
        return {
            "top1": float(correct.mean()),
            "top5": float((self._column(3) < 5).mean()),
            "loss": float(self._column(4).mean()),
            "ece": expected_calibration_error(self.confidence, correct),
        }

    def result(self) -> dict[str, Any]:
        """Return the scores and ``top1_interval balanced_accuracy n per_class``.

        The interval is that of :func:`.intervals.share`; the balanced accuracy is the mean of the
        classes' own accuracies, whatever their shares of the images; ``per_class`` has the accuracy
        of each class, None of one without images.
        """
        found, classes = self.scores(), self.classes
        correct = self.predicted == classes
        per_class = {
            label: float(correct[classes == i].mean()) if (classes == i).any() else None
            for i, label in enumerate(self.output.labels)
        }
        return found | {
            "top1_interval": list(intervals.share(found["top1"], len(classes))),
            "balanced_accuracy": statistics.fmean(a for a in per_class.values() if a is not None),
            "n": len(classes),
            "per_class": per_class,
        }
