"""tf.data pipelines of training batches and of held-out batches.

The training stream is a pure function of (seed, step): every batch is drawn with stateless
operations from its step number, so a resumed run sees what the uninterrupted one would have.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import DataConfig
from tfresnet.data import augment, erasing, policies, service, shuffle, spatial, task_settings
from tfresnet.data.splits import Split
from tfresnet.data.task_settings import NO_SCALE, has_places
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION, InputSpec


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the number of batches in an epoch, rounded up.

    The last batch is filled up with the first images of the epoch's order.

    Raises:
        InputError: a batch is larger than the split.
    """
    count = len(split)
    if batch_size > count:
        raise InputError(
            f"train.batch_size: expected at most {count} (the training images), got {batch_size}; "
            f"try train.batch_size={min(32, count)}"
        )
    return -(-count // batch_size)


def train_batches(
    split: Split,
    spec: InputSpec,
    targets: Callable[[tf.Tensor], tf.Tensor],
    config: DataConfig,
    batch_size: int,
    seed: int,
    first_step: int,
    last_step: int,
    size: int | None = None,
    task: str = CLASSIFICATION,
) -> tf.data.Dataset:
    """Return the augmented batches of the steps from ``first_step`` up to ``last_step``.

    Args:
        split: the training images.
        spec: the size and the normalization of the images.
        targets: from what is true of a batch, as the split has it, to what the loss sees.
        config: the augmentation.
        batch_size: images per batch.
        seed: of the run; equal seeds give equal batches.
        first_step: the number of the first batch, from 0.
        last_step: the number after that of the last batch.
        size: the shorter side of the images in pixels; by default the spec's.
        task: as the output's spec has it; masks and boxes are moved with the pixels.

    Returns:
        A dataset of normalized images, float32 [batch, H, W, C], and targets: of classification
        float32 [batch, classes].

    Raises:
        InputError: settings that do not go together, or a batch larger than the split.
    """
    check(config, spec, batch_size, task)
    order = EpochOrder.of(split, batch_size, config.repeats, seed)

    def augmented(step: tf.Tensor, batch: tuple[tf.Tensor, Any]) -> tuple:
        def mirrored(flip_seed: tf.Tensor) -> tf.Tensor:
            if config.flip != "alternating":
                return augment.random_half(batch_size, flip_seed)
            indices = order.repeated(order.indices(step))
            # Epochs are numbered from 0, so that -1 is the key of no epoch's order.
            halves = tf.constant([seed, -1], tf.int64)
            return augment.alternating_half(indices, order.count, order.epoch(step), halves)

        images, truth = tf.nest.map_structure(order.repeated, batch)
        step_seed = tf.stack([seed, step])
        if has_places(task):
            images, truth = _augment_together(images, truth, config, step_seed, mirrored)
            return normalize(images, spec), targets(truth)
        images = _augment(images, config, step_seed, mirrored)
        if size:
            images = tf.image.resize(images, scaled(spec, size), antialias=True)
        return _mix(normalize(images, spec), targets(truth), config, step_seed)

    if config.service:
        found = service.batches(
            config.service, split, order.indices, augmented, first_step, last_step
        )
        return _untuned(found.prefetch(tf.data.AUTOTUNE))
    steps = tf.data.Dataset.range(first_step, last_step)
    batches = split.batches(steps.map(order.indices, tf.data.AUTOTUNE))
    dataset = tf.data.Dataset.zip((steps, batches))
    return _untuned(dataset.map(augmented, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


@dataclass(frozen=True)
class EpochOrder:
    """The order of the training images in each epoch, as a function of the step.

    Attributes:
        count: images in the split.
        distinct: different images in a batch.
        repeats: copies of each image in a batch.
        steps: per epoch.
        seed: of the run.
    """

    count: int
    distinct: int
    repeats: int
    steps: int
    seed: int

    @classmethod
    def of(cls, split: Split, batch_size: int, repeats: int, seed: int) -> "EpochOrder":
        """Return the order of a split's images; a batch may not be larger than the split."""
        steps = steps_per_epoch(split, batch_size)
        return cls(len(split), batch_size // repeats, repeats, steps, seed)

    def epoch(self, step: tf.Tensor) -> tf.Tensor:
        """Return the number of the epoch that a step is in, from 0."""
        return step // self.steps

    def indices(self, step: tf.Tensor) -> tf.Tensor:
        """Return the indices of a step's images, without repeats, int64 [distinct]."""
        first = (step % self.steps) * self.distinct
        positions = (first + tf.range(self.distinct, dtype=tf.int64)) % self.count
        key = shuffle.key(self.seed, self.epoch(step))
        return tf.ensure_shape(shuffle.permuted(positions, self.count, key), [self.distinct])

    def repeated(self, tensor: tf.Tensor) -> tf.Tensor:
        """Return a tensor [distinct, ...] for the whole batch."""
        if self.repeats == 1:
            return tensor
        # Whole copies of the batch in turn, so that no image is mixed with its own copy.
        return tf.tile(tensor, [self.repeats] + [1] * (tensor.shape.rank - 1))


def segments(config: DataConfig, epochs: int, steps: int) -> list[tuple[int, int | None]]:
    """Return the parts of a training with images of equal size, from ``data.progressive``.

    Each part is the step at which it ends and the shorter side of its images in pixels; None, in
    the last part, for the full size. Parts are whole epochs of ``steps`` steps each.
    """
    total = epochs * steps
    found: list[tuple[int, int | None]] = []
    for share, size in sorted(config.progressive.items()):
        end = round(share * epochs) * steps
        if (found[-1][0] if found else 0) < end < total:
            found.append((end, size))
    return [*found, (total, None)]


def scaled(spec: InputSpec, size: int) -> list[int]:
    """Return the height and width of the images whose shorter side is ``size`` pixels."""
    return [round(side * size / min(spec.height, spec.width)) for side in (spec.height, spec.width)]


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset with tf.data's autotuning off: one thread per core from the start.

    The tuning thread may miss that its iterator is gone; then whoever drops the last reference
    waits for the thread's next turn, for up to a minute (TensorFlow 2.21: one iterator in twenty,
    20 seconds for one that had lived for 12).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def raw_batches(split: Split, batch_size: int, limit: int | None = None) -> tf.data.Dataset:
    """Return every image of a split once, in order; with ``limit`` so many, evenly spread over it.

    The last batch is filled up with copies of the first image, whose weight is 0; a batch is never
    larger than the split.

    Returns:
        A dataset of images, uint8 [batch, H, W, C], their truth, see :meth:`.splits.Split.batches`,
        and weights, float32 [batch].
    """
    count = len(split)
    chosen = np.arange(count) if not limit or limit >= count else spread(count, limit)
    batch_size = min(batch_size, len(chosen))
    padded = np.zeros(-(-len(chosen) // batch_size) * batch_size, np.int64)
    padded[: len(chosen)] = chosen
    weights = (np.arange(len(padded)) < len(chosen)).astype(np.float32)
    indices = tf.data.Dataset.from_tensor_slices(padded.reshape(-1, batch_size))
    batches = tf.data.Dataset.zip(
        (split.batches(indices), tf.data.Dataset.from_tensor_slices(weights).batch(batch_size))
    )
    return _untuned(batches.map(lambda batch, weight: (*batch, weight)))


def spread(count: int, limit: int) -> np.ndarray:
    """Return ``limit`` of ``count`` indices, int64, evenly spaced: classes often come in order."""
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def normalize(images: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Return ``(pixel - mean) / std`` of images [..., C], 0 to 255, as float32."""
    # A scalar, where all channels have the same, is three times as fast as a vector.
    mean, std = (v[0] if len(set(v)) == 1 else tf.constant(v) for v in (spec.mean, spec.std))
    return (tf.cast(images, tf.float32) - mean) / std


def _augment(
    images: tf.Tensor,
    config: DataConfig,
    seed: tf.Tensor,
    mirrored: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Apply the augmentations of single images, in the configured order, to uint8 images.

    ``mirrored`` returns which images to flip, from a seed.
    """
    # _mix uses the seeds at 2 and 3.
    crop, flip, _, _, policy, cutout, erase, color = augment.split_seed(seed, 8)
    if config.random_resized_crop:
        images = augment.random_resized_crop(images, config.random_resized_crop, crop)
    elif config.crop_padding:
        images = augment.random_crop(images, config.crop_padding, crop, config.crop_mode)
    if config.flip:
        images = augment.flipped_where(mirrored(flip), images)
    if config.color:
        images = augment.color_jitter(images, config.color, color)
    if config.randaugment:
        magnitude = config.randaugment_magnitude
        images = policies.randaugment(images, config.randaugment, magnitude, policy)
    elif config.policy == "trivialaugment":
        images = policies.trivialaugment(images, policy)
    elif config.policy == "autoaugment":
        images = policies.autoaugment(images, policy)
    if config.cutout:
        images = erasing.cutout(images, config.cutout, cutout)
    if config.erasing:
        images = erasing.random_erasing(images, config.erasing, erase)
    return images


def _augment_together(
    images: tf.Tensor,
    truth: Any,
    config: DataConfig,
    seed: tf.Tensor,
    mirrored: Callable[[tf.Tensor], tf.Tensor],
) -> tuple[tf.Tensor, Any]:
    """Apply the augmentations of images with masks or boxes to uint8 images and their truth.

    ``mirrored`` is that of :func:`_augment`; so are the seeds.
    """
    crop, flip, *_, color = augment.split_seed(seed, 8)
    if config.color:
        images = augment.color_jitter(images, config.color, color)
    if config.scale == NO_SCALE:  # no pixel is interpolated
        return spatial.flip(images, truth, mirrored(flip)) if config.flip else (images, truth)
    batch = images.shape[0]
    chosen = mirrored(flip) if config.flip else tf.zeros([batch], bool)
    window = spatial.draw(batch, (config.scale[0], config.scale[1]), chosen, crop)
    return spatial.move_images(images, window), spatial.move_truth(truth, window)


def _mix(
    images: tf.Tensor, targets: tf.Tensor, config: DataConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Apply mixup or cutmix, as configured, to normalized images and their targets."""
    _, _, mix, choice = augment.split_seed(seed, 4)
    mixup_alpha, cutmix_alpha = config.mixup_alpha, config.cutmix_alpha
    if mixup_alpha and cutmix_alpha:  # one of them a batch, each with probability 1/2
        return tf.cond(
            tf.random.stateless_uniform([], choice) < 0.5,
            lambda: augment.mixup(images, targets, mixup_alpha, mix),
            lambda: augment.cutmix(images, targets, cutmix_alpha, mix),
        )
    if mixup_alpha:
        return augment.mixup(images, targets, mixup_alpha, mix)
    if cutmix_alpha:
        return augment.cutmix(images, targets, cutmix_alpha, mix)
    return images, targets


def check(config: DataConfig, spec: InputSpec, batch_size: int, task: str = CLASSIFICATION) -> None:
    """Raise an ``InputError`` for settings that do not go together, or with the task."""
    task_settings.check(config, task)
    size = min(spec.height, spec.width)
    for share, pixels in config.progressive.items():
        if not 0 < share < 1 or not 8 <= pixels < size:
            raise InputError(
                f"data.progressive: expected shares between 0 and 1, and 8 to {size - 1} pixels, "
                f"got {share:g}: {pixels}"
            )
    if batch_size % config.repeats:
        raise InputError(
            f"data.repeats: expected a divisor of the batch size, {batch_size}, "
            f"got {config.repeats}"
        )
    if config.crop_padding >= size and not has_places(task):
        raise InputError(
            f"data.crop_padding: expected less than the image's {size} "
            f"pixels, got {config.crop_padding}"
        )
    if config.randaugment and config.policy != "none":
        raise InputError(
            f"data.policy: expected none beside data.randaugment={config.randaugment}, "
            f"got {config.policy}"
        )
