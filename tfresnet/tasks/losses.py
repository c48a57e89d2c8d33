"""Losses of tasks with labels: a loss for every image, from targets and logits."""

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.keras2 import keras

TINY = 1e-12  # a lower probability counts as this one, so that a loss is finite


def per_image(
    config: TrainConfig,
    targets: tf.Tensor,
    logits: tf.Tensor,
    teacher: tf.Tensor | None = None,
    class_weights: np.ndarray | None = None,
    smoothing_target: float | None = None,
) -> tf.Tensor:
    """Return the loss of every image, float32 [batch].

    Args:
        config: loss, label smoothing, distillation.
        targets: float [batch, classes], rows that sum to 1; for ``bce`` any shares of each class.
        logits: float [batch, classes].
        teacher: the teacher's logits; the loss is then distillation's.
        class_weights: float32 [classes]; an image's loss is multiplied by its class's, that of a
            mixed image by the weights of its classes, each by its share of the targets.
        smoothing_target: the value that label smoothing draws each class's target to; by default
            an equal share of the classes.
    """
    loss = LOSSES[config.loss](targets, logits, config.label_smoothing, smoothing_target)
    if teacher is not None:
        soft = distillation(teacher, logits, config.temperature)
        loss = (1 - config.distillation) * loss + config.distillation * soft
    return loss if class_weights is None else loss * tf.linalg.matvec(targets, class_weights)


def balanced_weights(classes: np.ndarray, count: int) -> np.ndarray:
    """Return a weight for each class, inverse to its share of the images, float32 [count].

    It is n / (k n_c) for n images of k classes, n_c of them of class c, so that the mean over the
    images is 1. A class without images has a weight of 0.

    Args:
        classes: the class of every training image, int [n].
        count: how many classes there are.
    """
    counts = np.bincount(classes, minlength=count)
    present = np.count_nonzero(counts)
    return np.where(counts, len(classes) / (present * np.maximum(counts, 1)), 0).astype(np.float32)


def cross_entropy(
    targets: tf.Tensor, logits: tf.Tensor, smoothing: float, target: float | None = None
) -> tf.Tensor:
    """Return the cross-entropy in nats; ``smoothing`` of each target goes to all classes alike.

    Label smoothing: Szegedy et al. 2015, arXiv:1512.00567, section 7. ``target`` is not used.
    """
    return keras.losses.categorical_crossentropy(
        targets, logits, from_logits=True, label_smoothing=smoothing
    )


def binary_cross_entropy(
    targets: tf.Tensor, logits: tf.Tensor, smoothing: float, target: float | None = None
) -> tf.Tensor:
    """Return the mean over the classes of binary cross-entropies, in nats.

    Source: Wightman et al. 2021, arXiv:2110.00476. ``smoothing`` of each target goes to ``target``,
    by default 1 / classes.
    """
    target = 1 / targets.shape[-1] if target is None else target
    smooth = targets * (1 - smoothing) + smoothing * target
    losses = tf.nn.sigmoid_cross_entropy_with_logits(smooth, tf.cast(logits, targets.dtype))
    return tf.reduce_mean(losses, axis=-1)


def distillation(teacher: tf.Tensor, logits: tf.Tensor, temperature: float) -> tf.Tensor:
    """Return T^2 KL(teacher || student) of softmaxes at temperature T (Hinton et al. 2015).

    Source: arXiv:1503.02531, section 2; T^2 keeps the size of the gradient at any T.
    """
    target = tf.nn.log_softmax(tf.stop_gradient(teacher) / temperature)
    student = tf.nn.log_softmax(tf.cast(logits, target.dtype) / temperature)
    return temperature**2 * tf.reduce_sum(tf.exp(target) * (target - student), axis=-1)


LOSSES = {"cross_entropy": cross_entropy, "bce": binary_cross_entropy}


def negative_log_likelihood(
    probabilities: np.ndarray, true: np.ndarray, activation: str
) -> np.ndarray:
    """Return the loss of each image, in nats, that its probabilities were trained for, float [n].

    With a softmax it is the cross-entropy, with sigmoids the mean over the classes of a binary one.

    Args:
        probabilities: float [n, classes].
        true: which classes an image has, bool [n, classes]; with a softmax, exactly one.
        activation: what made the probabilities: ``softmax`` or ``sigmoid``.
    """
    if activation == "sigmoid":
        likely = np.where(true, probabilities, 1 - probabilities)
        return -np.log(np.maximum(likely, TINY)).mean(axis=1)
    return -np.log(np.maximum(probabilities[true], TINY))
