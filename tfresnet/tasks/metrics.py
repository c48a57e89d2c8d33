"""From probabilities and labels to the numbers that describe a classifier."""

import contextlib
import statistics
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks import intervals

EVAL_BATCH = 250
TINY = 1e-12  # what is less likely counts as that likely, so that a loss is finite


def summary(
    probabilities: np.ndarray,
    classes: np.ndarray,
    labels: tuple[str, ...],
    activation: str = "softmax",
) -> dict:
    """Return top-1, top-5, loss, calibration error and per-class accuracy.

    The keys are ``top1 top1_interval balanced_accuracy top5 loss ece n per_class``: the interval
    is that of :func:`.intervals.share`, the balanced accuracy the mean of the classes' own
    accuracies, whatever their shares of the images, the loss that of :func:`loss`.

    Args:
        probabilities: float [n, classes].
        classes: int [n].
        labels: the name of each class.
        activation: what made the probabilities: ``softmax`` or ``sigmoid``.

    Raises:
        InputError: a probability is no number.
    """
    check(probabilities)
    correct = probabilities.argmax(axis=1) == classes
    found = scores(probabilities, classes, activation)
    per_class = {
        label: float(correct[classes == i].mean()) if (classes == i).any() else None
        for i, label in enumerate(labels)
    }
    return found | {
        "top1_interval": list(intervals.share(found["top1"], len(classes))),
        "balanced_accuracy": statistics.fmean(a for a in per_class.values() if a is not None),
        "n": len(classes),
        "per_class": per_class,
    }


def scores(
    probabilities: np.ndarray, classes: np.ndarray, activation: str = "softmax"
) -> dict[str, float]:
    """Return ``top1``, ``top5``, ``loss`` and ``ece`` as :func:`summary` does."""
    is_true = classes[:, None] == np.arange(probabilities.shape[1])
    true = probabilities[is_true][:, None]
    # For top-5, ties count against the model: an answer among equals is not knowledge.
    rank = (probabilities > true).sum(axis=1) + (probabilities == true).sum(axis=1) - 1
    correct = probabilities.argmax(axis=1) == classes
    return {
        "top1": float(correct.mean()),
        "top5": float((rank < 5).mean()),
        "loss": loss(probabilities, is_true, activation),
        "ece": expected_calibration_error(probabilities.max(axis=1), correct),
    }


def loss(probabilities: np.ndarray, true: np.ndarray, activation: str) -> float:
    """Return the mean loss, in nats, that the probabilities were trained for.

    Of a softmax it is the cross-entropy, of sigmoids the mean over the classes of a binary one.

    Args:
        probabilities: float [n, classes].
        true: which classes an image is of, bool [n, classes]; with a softmax, just one.
        activation: what made the probabilities: ``softmax`` or ``sigmoid``.
    """
    binary = activation == "sigmoid"
    likely = np.where(true, probabilities, 1 - probabilities) if binary else probabilities[true]
    return float(-np.log(np.maximum(likely, TINY)).mean())


def check(probabilities: np.ndarray) -> None:
    """Raise a ``InputError`` if a probability is no number."""
    lost = int((~np.isfinite(probabilities)).any(axis=1).sum())
    if lost:
        raise InputError(
            f"expected probabilities, for {lost} of {len(probabilities)} images got NaN; train "
            "anew at a lower rate, or with train.precision=float32"
        )


def reliability(
    confidence: np.ndarray, correct: np.ndarray, bins: int = 15
) -> list[tuple[float, float, float]]:
    """Return mean confidence, accuracy and share of the images of each bin that is not empty.

    The bins are of equal width from 0 to 1 (Guo et al. 2017, arXiv:1706.04599).
    """
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    members = [index == b for b in range(bins) if (index == b).any()]
    return [
        (float(confidence[m].mean()), float(correct[m].mean()), float(m.mean())) for m in members
    ]


def expected_calibration_error(confidence: np.ndarray, correct: np.ndarray) -> float:
    """Return the mean gap between confidence and accuracy, a fraction of 1.

    Each of the 15 bins of :func:`reliability` counts by its share of the images.
    """
    return sum(abs(sure - right) * share for sure, right, share in reliability(confidence, correct))


def probability_function(
    model: keras.Model, output: OutputSpec
) -> Callable[[tf.Tensor], tf.Tensor]:
    """Return a compiled function from normalised images to probabilities [batch, classes]."""
    activation = keras.activations.get(output.activation)

    @tf.function(reduce_retracing=True)
    def infer(images: tf.Tensor) -> tf.Tensor:
        return activation(model(images, training=False))

    return infer


def with_mirrored(infer: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """Return what averages ``infer``'s answers for NHWC images and for their mirror images."""
    return lambda images: (np.asarray(infer(images)) + infer(images[:, :, ::-1])) / 2


def collect(infer: Callable[[Any], Any], batches: tf.data.Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Return ``infer``'s answers and the classes, each of shape [n, ...], for weighted batches."""
    answers, classes = [], []
    with _float32_as_such():
        for images, batch_classes, weights in batches:
            real = weights.numpy() > 0
            answers.append(np.asarray(infer(images))[real])
            classes.append(batch_classes.numpy()[real])
    return np.concatenate(answers), np.concatenate(classes)


@contextlib.contextmanager
def _float32_as_such() -> Iterator[None]:
    """Let GPUs compute float32 as other devices do: newer ones keep 10 bits of factors (TF32)."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
