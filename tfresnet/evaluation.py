"""The one pass over held-out images: of a run's network, and of an exported file.

A model is here a function from uint8 images, [n, H, W, C], to the predictions of its task.
"""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.data import pipeline
from tfresnet.data.corrupted_split import CorruptedSplit
from tfresnet.data.splits import Split
from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec
from tfresnet.tasks.base import Metrics, Task

BATCH = 250
Predict = Callable[[Any], Any]


def network_predict(model: keras.Model, spec: InputSpec, task: Task) -> Predict:
    """Compile a function from uint8 images to the predictions that a file of ``model`` gives."""

    @tf.function(reduce_retracing=True)
    def outputs(images: tf.Tensor) -> dict[str, tf.Tensor]:
        return task.in_graph(model(pipeline.normalize(images, spec), training=False), spec)

    return lambda images: task.predictions(
        {name: values.numpy() for name, values in outputs(images).items()}
    )


def mirrored(predict: Predict, task: Task) -> Predict:
    """Wrap ``predict`` to average the predictions for an image and its horizontal flip.

    Raises:
        InputError: the task has no such average.
    """
    if not task.averages_flips:
        raise InputError(
            "--flip: expected a model of labels, whose probabilities can be averaged, got one of "
            f"{task.output.task}; leave --flip out"
        )
    return lambda images: with_mirrored(predict, task, images)[1]


def with_mirrored(predict: Predict, task: Task, images: Any) -> tuple[Any, Any]:
    """Return the predictions for images, and their average with those for the horizontal flips."""
    plain, flipped = predict(images), task.unmirrored(predict(images[:, :, ::-1]))
    return plain, tf.nest.map_structure(lambda a, b: (a + b) / 2, plain, flipped)


def batches_of(split: Split, limit: int | None = None) -> tf.data.Dataset:
    """Return uint8 images, truth and weights of a split, see ``pipeline.raw_batches``."""
    return pipeline.raw_batches(split, BATCH, limit)


def predictions(predict: Predict, batches: tf.data.Dataset) -> Iterator[tuple[Any, Any]]:
    """Yield the predictions for each batch and its truth, as NumPy arrays.

    Args:
        predict: takes the images of a batch.
        batches: images, truth (classes, or 1 for each label) and weights; a weight of 0 is for an
            image that only fills up a batch.
    """
    with _float32_without_tf32():
        for images, truth, weights in batches:
            real = weights.numpy() > 0
            yield _chosen(predict(images), real), _chosen(truth, real)


def collect(predict: Predict, batches: tf.data.Dataset) -> tuple[Any, Any]:
    """Return the predictions for all images and their truth, arrays [n, ...]."""
    found, truth = zip(*predictions(predict, batches), strict=True)
    return _joined(found), _joined(truth)


def _joined(parts: Sequence[Any]) -> Any:
    return tf.nest.map_structure(lambda *arrays: np.concatenate(arrays), *parts)


class NotNumbers(InputError):
    """A network's predictions for some images are NaN or infinite."""

    def __init__(self, lost: int, total: int):
        self.images = f"{lost} of {total} images"
        super().__init__(
            f"expected probabilities, for {self.images} got NaN; train anew at a lower rate, or "
            "with train.precision=float32"
        )


def measure(predict: Predict, batches: tf.data.Dataset, task: Task) -> Metrics:
    """Return the metrics of a model's predictions.

    Raises:
        NotNumbers: a prediction is no number.
    """
    return measure_all(lambda images: {"": predict(images)}, batches, task)[""]


def measure_all(
    predict: Callable[[Any], Mapping[str, Any]], batches: tf.data.Dataset, task: Task
) -> dict[str, Metrics]:
    """Return the metrics of several models that are measured in one pass.

    Args:
        predict: takes the images of a batch and gives each model's predictions, by its name.
        batches: as in :func:`predictions`.
        task: of all of them.

    Raises:
        NotNumbers: a prediction is no number.
    """
    found: dict[str, Metrics] = {}
    lost = total = 0
    for by_name, truth in predictions(predict, batches):
        finite = [_finite(values) for values in tf.nest.flatten(by_name)]
        lost, total = lost + int((~np.all(finite, axis=0)).sum()), total + len(finite[0])
        for name, values in by_name.items():
            found.setdefault(name, task.metrics()).update(values, truth)
    if lost:
        raise NotNumbers(lost, total)
    return found


def corrupted(
    predict: Predict, split: Split, task: Task, names: Sequence[str], severities: Sequence[int]
) -> dict[str, Any]:
    """Return the task's primary number on corrupted images, and the mean of all.

    The keys are ``corruptions``, of each name the number at each severity, and ``corrupted_top1``
    or what else the primary number is.

    Args:
        predict: the model.
        split: held-out images.
        task: of the model.
        names: of ``tfresnet.data.corruptions.CORRUPTIONS``.
        severities: 1 to 5.
    """
    table: dict[str, dict[str, float]] = {}
    for name in names:
        table[name] = {}
        for severity in severities:
            batches = batches_of(CorruptedSplit(split, name, severity))
            scores = measure(predict, batches, task).scores()
            table[name][str(severity)] = scores[task.primary]
    every = [value for row in table.values() for value in row.values()]
    return {"corruptions": table, f"corrupted_{task.primary}": float(np.mean(every))}


def _finite(values: np.ndarray) -> np.ndarray:
    """Return which images' predictions are numbers throughout, bool [n]."""
    return np.isfinite(values).reshape(len(values), -1).all(axis=1)


def _chosen(tensors: Any, images: np.ndarray) -> Any:
    """Return a structure of tensors, of some images of their batch, as NumPy arrays."""
    return tf.nest.map_structure(lambda values: np.asarray(values)[images], tensors)


@contextlib.contextmanager
def _float32_without_tf32() -> Iterator[None]:
    """Compute float32 in full on GPUs too: newer ones keep 10 bits of the factors (TF32)."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    try:
        yield
    finally:
        tf.config.experimental.enable_tensor_float_32_execution(before)
