"""All that differs between pictures of one class and pictures with any number of labels.

Which of the two a model does is in its output spec; ``of`` returns the row of this table.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.data import pipeline
from tfresnet.data.splits import Split
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks import metrics, multi_label
from tfresnet.tasks.headings import EPOCHS, HEADINGS


@dataclass(frozen=True)
class Task:
    """How a model is trained, judged and read.

    Attributes:
        primary: the number among its ``scores`` that epochs and files are judged by.
        fit: the same of the training images of an epoch: the share that is answered right.
        fit_name: what that is called beside a progress bar.
        axis: what ``fit`` and ``primary`` are called beside their curves.
        answered: from labels and logits [batch, classes] to 1 where an image is answered right,
            float [batch].
        smoothing_target: from the number of classes to what label smoothing draws the targets of
            binary cross-entropy to.
        decisions: from probabilities [n, classes] to what is said of an image, [n, ...].
        names: from an image's label and the classes to its name.
        scores: of probabilities, true labels and an activation, a dictionary with ``primary``.
        summary: the same, given the names of the classes too, with intervals and each class.
    """

    primary: str
    fit: str
    fit_name: str
    axis: str
    answered: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    smoothing_target: Callable[[int], float]
    decisions: Callable[[np.ndarray], np.ndarray]
    names: Callable[[np.ndarray, tuple[str, ...]], str]
    scores: Callable[[np.ndarray, np.ndarray, str], dict[str, Any]]
    summary: Callable[[np.ndarray, np.ndarray, tuple[str, ...], str], dict[str, Any]]

    @property
    def epoch_line(self) -> str:
        """The words and numbers of an epoch's record that are printed."""
        return EPOCHS[self.primary]

    @property
    def heading(self) -> str:
        """What ``primary`` is called in a table."""
        return HEADINGS[self.primary]


def _all_answered(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    right = tf.equal(labels >= 0.5, logits >= 0)
    return tf.cast(tf.reduce_all(right, axis=-1), tf.float32)


def _joined(label: np.ndarray, names: tuple[str, ...]) -> str:
    return ", ".join(names[i] for i in np.flatnonzero(label > 0.5)) or "none"


SINGLE_LABEL = Task(
    primary="top1",
    fit="accuracy",
    fit_name="acc",
    axis="top-1 accuracy (%)",
    answered=keras.metrics.categorical_accuracy,
    # As timm has it for "ResNet strikes back" (Wightman et al. 2021, arXiv:2110.00476).
    smoothing_target=lambda classes: 1 / classes,
    decisions=lambda probabilities: probabilities.argmax(axis=1),
    names=lambda label, names: names[label],
    scores=metrics.scores,
    summary=metrics.summary,
)
MULTI_LABEL = Task(
    primary="map",
    fit="exact_match",
    fit_name="exact",
    axis="exact match; held-out: mAP (%)",
    answered=_all_answered,
    # Each label is a question of its own with two answers, so smoothing (Szegedy et al. 2015,
    # arXiv:1512.00567, section 7) goes to 1/2 each, as in Keras's BinaryCrossentropy.
    smoothing_target=lambda classes: 1 / 2,
    decisions=multi_label.decisions,
    names=_joined,
    scores=multi_label.scores,
    summary=multi_label.summary,
)


def of(output: OutputSpec) -> Task:
    """Return the task of a model with these outputs."""
    return MULTI_LABEL if output.multi_label else SINGLE_LABEL


def measure(
    infer: Callable[[Any], Any], split: Split, spec: InputSpec, output: OutputSpec
) -> dict[str, Any]:
    """Return the summary of what gives probabilities for normalised images."""
    batches = pipeline.eval_batches(split, spec, metrics.EVAL_BATCH)
    answers, truth = metrics.collect(infer, batches)
    return of(output).summary(answers, truth, output.labels, output.activation)
