"""tf.data pipelines: which images are in which batch, augmented and normalised.

The training stream is a pure function of (seed, step): every batch is drawn with stateless
operations from its step number, so a resumed run sees what the uninterrupted one would have.
"""

import numpy as np
import tensorflow as tf

from tfresnet.config import DataConfig
from tfresnet.data import augment
from tfresnet.data.splits import Split
from tfresnet.errors import UserError
from tfresnet.spec import InputSpec


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the whole batches in an epoch; the rest is dropped, other images each time."""
    count = len(split.labels)
    if batch_size > count:
        raise UserError(
            f"train.batch_size: expected at most {count} (the training images), got {batch_size}"
        )
    return count // batch_size


def train_batches(
    split: Split,
    spec: InputSpec,
    config: DataConfig,
    batch_size: int,
    seed: int,
    first_step: int,
    last_step: int,
) -> tf.data.Dataset:
    """Return batches for steps ``first_step`` up to ``last_step``.

    Each is float32 images [batch, H, W, C], normalised, and float32 labels [batch, classes].
    """
    per_epoch = steps_per_epoch(split, batch_size)
    if config.crop_padding >= min(spec.height, spec.width):
        raise UserError(
            f"data.crop_padding: expected less than the image's {min(spec.height, spec.width)} "
            f"pixels, got {config.crop_padding}"
        )
    last_index = tf.constant(len(split.labels) - 1, tf.int64)

    def indices(step: tf.Tensor) -> tf.Tensor:
        position = (step % per_epoch) * batch_size + tf.range(batch_size, dtype=tf.int64)
        position = tf.ensure_shape(position, [batch_size])
        return tf.random.experimental.index_shuffle(
            position, tf.stack([tf.constant(seed, tf.int64), step // per_epoch]), last_index
        )

    def augmented(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple:
        images, classes = batch
        labels = tf.one_hot(classes, len(spec.labels))
        return _augment(images, labels, spec, config, tf.stack([seed, step]))

    steps = tf.data.Dataset.range(first_step, last_step)
    batches = split.batches(steps.map(indices, tf.data.AUTOTUNE))
    dataset = tf.data.Dataset.zip((steps, batches))
    return dataset.map(augmented, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)


def eval_batches(split: Split, spec: InputSpec, batch_size: int) -> tf.data.Dataset:
    """Return every image once, in order: normalised images, classes [batch], weights [batch].

    The last batch is filled up with copies of the first image, whose weight is 0.
    """
    raw = raw_batches(split, batch_size)
    return raw.map(lambda x, y, w: (normalise(x, spec), y, w), tf.data.AUTOTUNE).prefetch(2)


def raw_batches(split: Split, batch_size: int, limit: int | None = None) -> tf.data.Dataset:
    """Return uint8 images, classes and weights, as in :func:`eval_batches`.

    With ``limit``, that many images, evenly spread over the split.
    """
    count = len(split.labels)
    chosen = np.arange(count) if not limit or limit >= count else spread(count, limit)
    padded = np.zeros(-(-len(chosen) // batch_size) * batch_size, np.int64)
    padded[: len(chosen)] = chosen
    weights = (np.arange(len(padded)) < len(chosen)).astype(np.float32)
    indices = tf.data.Dataset.from_tensor_slices(padded.reshape(-1, batch_size))
    batches = tf.data.Dataset.zip(
        (split.batches(indices), tf.data.Dataset.from_tensor_slices(weights).batch(batch_size))
    )
    return batches.map(lambda batch, weight: (*batch, weight))


def spread(count: int, limit: int) -> np.ndarray:
    """Return ``limit`` of ``count`` indices, evenly spaced (classes often come in order)."""
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def normalise(images: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Return float32 ``(pixel - mean) / std``."""
    return (tf.cast(images, tf.float32) - tf.constant(spec.mean)) / tf.constant(spec.std)


def _augment(
    images: tf.Tensor, labels: tf.Tensor, spec: InputSpec, config: DataConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    crop, flip, mix, choice = augment.split_seed(seed, 4)
    if config.crop_padding:
        images = augment.random_crop(images, config.crop_padding, crop)
    if config.flip:
        images = augment.random_flip(images, flip)
    images = normalise(images, spec)
    mixup_alpha, cutmix_alpha = config.mixup_alpha, config.cutmix_alpha
    if mixup_alpha and cutmix_alpha:  # one of them a batch, each with probability 1/2
        return tf.cond(
            tf.random.stateless_uniform([], choice) < 0.5,
            lambda: augment.mixup(images, labels, mixup_alpha, mix),
            lambda: augment.cutmix(images, labels, cutmix_alpha, mix),
        )
    if mixup_alpha:
        return augment.mixup(images, labels, mixup_alpha, mix)
    if cutmix_alpha:
        return augment.cutmix(images, labels, cutmix_alpha, mix)
    return images, labels
