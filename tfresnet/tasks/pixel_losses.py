"""Losses of segmentation: a loss for every image, from its classes and logits at every pixel."""

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.data.splits import Split, pixel_counts
from tfresnet.runtime.spec import VOID

SMALLEST = 1e-6  # keeps the Dice coefficient finite where a class has no pixels


def per_image(
    config: TrainConfig, classes: tf.Tensor, logits: tf.Tensor, weights: np.ndarray | None = None
) -> tf.Tensor:
    """Return the loss of every image, float32 [batch].

    It is the mean cross-entropy of the pixels that are not void, in nats, each weighted by its
    class; with ``train.dice`` that share of the loss is :func:`dice`.

    Args:
        config: label smoothing, share of Dice.
        classes: the class of each pixel, integers [batch, H, W]; ``VOID`` where there is none.
        logits: float32 [batch, H, W, classes].
        weights: of each class, float32 [classes].
    """
    known = tf.not_equal(classes, VOID)
    index = tf.where(known, tf.cast(classes, tf.int32), 0)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(index, logits)
    if config.label_smoothing:
        even = -tf.reduce_mean(tf.nn.log_softmax(logits), -1)
        losses = (1 - config.label_smoothing) * losses + config.label_smoothing * even
    counts = tf.cast(known, tf.float32)
    if weights is not None:
        counts *= tf.gather(weights, index)
    loss = _share(losses, counts)
    if config.dice:
        overlap = dice(index, tf.nn.softmax(logits), tf.cast(known, tf.float32))
        loss = (1 - config.dice) * loss + config.dice * overlap
    return loss


def _share(values: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
    """Return the weighted mean over the pixels of each image; 0 for one that is all void."""
    return tf.math.divide_no_nan(
        tf.reduce_sum(values * weights, [1, 2]), tf.reduce_sum(weights, [1, 2])
    )


def dice(classes: tf.Tensor, probabilities: tf.Tensor, known: tf.Tensor) -> tf.Tensor:
    """Return 1 - Dice coefficient, the mean over the classes of each image, float32 [batch].

    Milletari et al. 2016, arXiv:1606.04797, equation 3: 2 sum(p g) / (sum(p^2) + sum(g^2)), over
    the classes that an image has.

    Args:
        classes: int32 [batch, H, W].
        probabilities: float32 [batch, H, W, classes].
        known: 1 for pixels that count, else 0, float32 [batch, H, W].
    """
    probabilities *= known[..., None]
    true = tf.one_hot(classes, probabilities.shape[-1]) * known[..., None]
    overlap = tf.reduce_sum(probabilities * true, [1, 2])
    sizes = tf.reduce_sum(probabilities**2, [1, 2]) + tf.reduce_sum(true, [1, 2])
    has = tf.cast(tf.reduce_any(true > 0, [1, 2]), tf.float32)
    coefficient = 2 * overlap / (sizes + SMALLEST)
    return 1 - tf.math.divide_no_nan(tf.reduce_sum(coefficient * has, -1), tf.reduce_sum(has, -1))


def median_frequency(split: Split, classes: int) -> np.ndarray:
    """Return a weight of each class, large for rare ones, float32 [classes].

    Eigen and Fergus 2015, arXiv:1411.4734, section 6.3.2: the median of all frequencies over the
    class's own, which is its share of the pixels of those images that have it. Void pixels do not
    count. A class without pixels has a weight of 0.

    Args:
        split: training images with masks.
        classes: how many there are.
    """
    counts = pixel_counts(split, classes)
    there = np.where(counts > 0, counts.sum(axis=1, keepdims=True), 0).sum(axis=0)
    frequency = np.divide(counts.sum(axis=0), there, out=np.zeros(classes), where=there > 0)
    median = np.median(frequency[frequency > 0]) if frequency.any() else 0.0
    weights = np.divide(median, frequency, out=np.zeros(classes), where=frequency > 0)
    return weights.astype(np.float32)
