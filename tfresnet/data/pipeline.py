"""tf.data pipelines: which images are in which batch, augmented and normalised.

The training stream is a pure function of (seed, step): every batch is drawn with stateless
operations from its step number, so a resumed run sees what the uninterrupted one would have.
"""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import DataConfig
from tfresnet.data import augment, erasing, policies, shuffle
from tfresnet.data.splits import Split
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec


def steps_per_epoch(split: Split, batch_size: int) -> int:
    """Return the batches of an epoch: as many as it takes to see every image.

    The last one is filled up with images that the epoch began with, other ones each time.
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
    output: OutputSpec,
    config: DataConfig,
    batch_size: int,
    seed: int,
    first_step: int,
    last_step: int,
    size: int | None = None,
) -> tf.data.Dataset:
    """Return batches for steps ``first_step`` up to ``last_step``.

    Each is float32 images [batch, H, W, C], normalised, and float32 labels [batch, classes].
    With ``size``, the shorter of H and W is that many pixels, and the other in proportion.
    """
    per_epoch = steps_per_epoch(split, batch_size)
    check(config, spec, batch_size)
    count, distinct = len(split), batch_size // config.repeats
    # Epochs start at 0: the key of no epoch's order.
    flip_seed = tf.constant([seed, -1], tf.int64)

    def indices(step: tf.Tensor) -> tf.Tensor:
        """Return the images of a step, each once."""
        position = (step % per_epoch) * distinct + tf.range(distinct, dtype=tf.int64)
        key = shuffle.key(seed, step // per_epoch)
        return tf.ensure_shape(shuffle.permuted(position % count, count, key), [distinct])

    def repeated(tensor: tf.Tensor) -> tf.Tensor:
        if config.repeats == 1:
            return tensor
        # One after the other, so that no image has itself for a neighbour to be mixed with.
        return tf.tile(tensor, [config.repeats] + [1] * (tensor.shape.rank - 1))

    def augmented(step: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]) -> tuple:
        def flip_alternately(images: tf.Tensor) -> tf.Tensor:
            epoch = step // per_epoch
            return augment.alternating_flip(
                images, repeated(indices(step)), count, epoch, flip_seed
            )

        images, classes = (repeated(part) for part in batch)
        labels = classes if output.multi_label else tf.one_hot(classes, len(output.labels))
        step_seed = tf.stack([seed, step])
        images = _vary(images, config, step_seed, flip_alternately)
        if size:
            images = tf.image.resize(images, scaled(spec, size), antialias=True)
        return _mix(normalise(images, spec), labels, config, step_seed)

    steps = tf.data.Dataset.range(first_step, last_step)
    batches = split.batches(steps.map(indices, tf.data.AUTOTUNE))
    dataset = tf.data.Dataset.zip((steps, batches))
    return _untuned(dataset.map(augmented, tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE))


def segments(config: DataConfig, epochs: int, steps: int) -> list[tuple[int, int | None]]:
    """Return ``data.progressive`` as last steps and sizes; the last size is None, the spec's.

    They are whole epochs of ``steps`` steps each, the last of them always of full size.
    """
    total = epochs * steps
    found: list[tuple[int, int | None]] = []
    for share, size in sorted(config.progressive.items()):
        end = round(share * epochs) * steps
        if (found[-1][0] if found else 0) < end < total:
            found.append((end, size))
    return [*found, (total, None)]


def scaled(spec: InputSpec, size: int) -> list[int]:
    """Return height and width of the spec's images when their shorter side is ``size`` pixels."""
    return [round(side * size / min(spec.height, spec.width)) for side in (spec.height, spec.width)]


def eval_batches(split: Split, spec: InputSpec, batch_size: int) -> tf.data.Dataset:
    """Return every image once, in order: normalised images, classes [batch], weights [batch].

    There are at most as many in a batch as there are in all. The last batch is filled up with
    copies of the first image, whose weight is 0.
    """
    raw = raw_batches(split, batch_size)
    return raw.map(lambda x, y, w: (normalise(x, spec), y, w), tf.data.AUTOTUNE).prefetch(2)


def _untuned(dataset: tf.data.Dataset) -> tf.data.Dataset:
    """Return the dataset without tf.data's tuning: as many threads as cores from the start.

    The thread that tunes may miss that its iterator is given up, and then whoever drops the last
    reference waits for its next turn, up to a minute later (TensorFlow 2.21: one iterator in
    twenty, 20 seconds for one that had lived for 12).
    """
    options = tf.data.Options()
    options.autotune.enabled = False
    return dataset.with_options(options)


def raw_batches(split: Split, batch_size: int, limit: int | None = None) -> tf.data.Dataset:
    """Return uint8 images, classes and weights, as in :func:`eval_batches`.

    With ``limit``, that many images, evenly spread over the split.
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
    """Return ``limit`` of ``count`` indices, evenly spaced (classes often come in order)."""
    return np.linspace(0, count - 1, limit).round().astype(np.int64)


def normalise(images: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Return float32 ``(pixel - mean) / std``."""
    # One number for all channels, where it is the same, is three times as fast as a vector.
    mean, std = (v[0] if len(set(v)) == 1 else tf.constant(v) for v in (spec.mean, spec.std))
    return (tf.cast(images, tf.float32) - mean) / std


def _vary(
    images: tf.Tensor,
    config: DataConfig,
    seed: tf.Tensor,
    flip_alternately: Callable[[tf.Tensor], tf.Tensor],
) -> tf.Tensor:
    """Return what the network may see of uint8 images, still uint8."""
    # The seeds at 2 and 3 are those of _mix.
    crop, flip, _, _, policy, cutout, erase = augment.split_seed(seed, 7)
    if config.random_resized_crop:
        images = augment.random_resized_crop(images, config.random_resized_crop, crop)
    elif config.crop_padding:
        images = augment.random_crop(images, config.crop_padding, crop, config.crop_mode)
    if config.flip == "alternating":
        images = flip_alternately(images)
    elif config.flip:
        images = augment.random_flip(images, flip)
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


def _mix(
    images: tf.Tensor, labels: tf.Tensor, config: DataConfig, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Return normalised images and labels, mixed with their neighbours' if asked for."""
    _, _, mix, choice = augment.split_seed(seed, 4)
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


def check(config: DataConfig, spec: InputSpec, batch_size: int) -> None:
    """Raise a ``InputError`` for settings that do not go together."""
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
    if config.crop_padding >= size:
        raise InputError(
            f"data.crop_padding: expected less than the image's {size} "
            f"pixels, got {config.crop_padding}"
        )
    if config.randaugment and config.policy != "none":
        raise InputError(
            f"data.policy: expected none beside data.randaugment={config.randaugment}, "
            f"got {config.policy}"
        )
