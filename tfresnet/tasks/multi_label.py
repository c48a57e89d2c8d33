"""Multi-label classification: any number of the labels is true of an image."""

import statistics
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.runtime.decode import THRESHOLD
from tfresnet.runtime.spec import MULTI_LABEL, OutputSpec
from tfresnet.tasks import average_precision
from tfresnet.tasks.headings import HEADINGS
from tfresnet.tasks.label_task import LabelTask
from tfresnet.tasks.losses import negative_log_likelihood


class MultiLabel(LabelTask):
    """What is true of a batch is 1 for each label that an image has, float32 [batch, labels]."""

    headings = HEADINGS[MULTI_LABEL]

    @property
    def smoothing_target(self) -> float:
        """1/2: each label is a question with two answers, as in Keras's BinaryCrossentropy.

        Label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7.
        """
        return 1 / 2

    def targets(self, truth: tf.Tensor) -> tf.Tensor:
        """Return the truth as it is, float32 [batch, labels]."""
        return truth

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return 1 where all labels of an image are predicted right, float32 [batch]."""
        right = tf.equal(targets >= 0.5, outputs >= 0)
        return tf.cast(tf.reduce_all(right, axis=-1), tf.float32)

    def metrics(self) -> "MultiLabelMetrics":
        """Return metrics of no images yet."""
        return MultiLabelMetrics(self.output)

    def decisions(self, predictions: np.ndarray) -> np.ndarray:
        """Return which labels an image is predicted to have, bool [n, labels]."""
        return predictions >= THRESHOLD

    def name_of(self, decision: np.ndarray) -> str:
        """Return the names of an image's labels, separated by commas."""
        names = [self.output.labels[i] for i in np.flatnonzero(decision > 0.5)]
        return ", ".join(names) or "none"


class MultiLabelMetrics:
    """Average precision of each label, F1 scores, exact matches and loss.

    All probabilities are kept: average precision ranks the images.
    """

    def __init__(self, output: OutputSpec):
        self.output = output
        self._predictions: list[np.ndarray] = []
        self._truth: list[np.ndarray] = []

    def update(self, predictions: np.ndarray, truth: np.ndarray) -> None:
        """Add probabilities and what is true, 0 or 1, both float [n, labels]."""
        self._predictions.append(predictions)
        self._truth.append(truth)

    def _all(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities and what is true, bool, of all images, [n, labels]."""
        return np.concatenate(self._predictions), np.concatenate(self._truth) > 0.5

    def scores(self) -> dict[str, Any]:
        """Return ``map micro_f1 macro_f1 exact_match loss``, all but the loss fractions of 1.

        ``map`` is the mean of the labels' average precisions, ``macro_f1`` that of their F1 scores
        at a threshold of 0.5, both over the labels that an image has; ``micro_f1`` counts all
        decisions together; ``exact_match`` is the share of images whose labels are all right. If no
        image has a label the first three are 0. The loss is the mean over images and labels of
        :func:`.losses.negative_log_likelihood`, in nats.
        """
        probabilities, true = self._all()
        predicted = probabilities >= THRESHOLD
        each = average_precision.per_label(probabilities, true)
        loss = negative_log_likelihood(probabilities, true, self.output.activation)
        return {
            "map": _mean(each[true.any(axis=0)]),
            **_f1(predicted, true),
            "exact_match": float((predicted == true).all(axis=1).mean()),
            "loss": float(loss.mean()),
        }

    def result(self) -> dict[str, Any]:
        """Return the scores and ``map_interval threshold n per_class per_class_counts``.

        The interval is that of :func:`.average_precision.interval`; ``per_class`` has each label's
        average precision, None if no image has it, ``per_class_counts`` how many have.
        """
        (probabilities, true), labels = self._all(), self.output.labels
        each, counts = average_precision.per_label(probabilities, true), true.sum(axis=0).tolist()
        interval = average_precision.interval(probabilities, true)
        return {
            **self.scores(),
            "map_interval": interval and list(interval),
            "threshold": THRESHOLD,
            "n": len(true),
            "per_class": {
                label: float(value) if count else None
                for label, value, count in zip(labels, each, counts, strict=True)
            },
            "per_class_counts": dict(zip(labels, counts, strict=True)),
        }


def _f1(predicted: np.ndarray, true: np.ndarray) -> dict[str, float]:
    """Return ``micro_f1`` and ``macro_f1``: 2 hits / (all that is predicted + all that is true)."""
    hits, total = (predicted & true).sum(axis=0), predicted.sum(axis=0) + true.sum(axis=0)
    there = true.any(axis=0)
    return {
        "micro_f1": float(2 * hits.sum() / max(1, total.sum())),
        "macro_f1": _mean(2 * hits[there] / total[there]),
    }


def _mean(values: np.ndarray) -> float:
    return statistics.fmean(values.tolist()) if len(values) else 0.0
