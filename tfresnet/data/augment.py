"""Augmentations of batches: pure functions of images, targets and a seed.

Images are [batch, height, width, channels] of any dtype unless said otherwise, targets are
float32 [batch, classes], a seed is int64 [2]. Equal arguments give equal results.
"""

import math

import tensorflow as tf

from tfresnet.data import shuffle


def random_crop(
    images: tf.Tensor, padding: int, seed: tf.Tensor, mode: str = "reflect"
) -> tf.Tensor:
    """Pad images by ``padding`` pixels on every side, and crop the old size at a random place.

    The padding is the mirrored image (``reflect``) or black (``zero``). The padded images are never
    made: the pixels' places are computed, and fetched by one gather.
    """
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    offsets = tf.random.stateless_uniform(
        [2, batch, 1], seed, minval=0, maxval=2 * padding + 1, dtype=tf.int32
    )
    rows = offsets[0] - padding + tf.range(height)
    columns = offsets[1] - padding + tf.range(width)
    first = (height * tf.range(batch))[:, None]
    index = (first + _reflected(rows, height))[:, :, None] * width
    index += _reflected(columns, width)[:, None, :]
    pixels = tf.reshape(images, [-1, images.shape[-1]])
    if mode == "zero":
        inside = _within(rows, height)[:, :, None] & _within(columns, width)[:, None, :]
        index = tf.where(inside, index, tf.shape(pixels)[0])
        pixels = tf.concat([pixels, tf.zeros_like(pixels[:1])], axis=0)
    return tf.ensure_shape(tf.gather(pixels, index), images.shape)


def _reflected(places: tf.Tensor, length: int) -> tf.Tensor:
    return length - 1 - tf.abs(length - 1 - tf.abs(places))


def _within(places: tf.Tensor, length: int) -> tf.Tensor:
    return (places >= 0) & (places < length)


def random_resized_crop(images: tf.Tensor, smallest: float, seed: tf.Tensor) -> tf.Tensor:
    """Crop a box of random area and aspect ratio, and resize it to the old size (bilinear).

    As in Szegedy et al. (arXiv:1409.4842) and torchvision: the area is ``smallest`` to 1 of the
    image's, the aspect ratio 3/4 to 4/3, uniform in its logarithm; the first of ten boxes that
    fits is taken, else the whole image. The images already have the model's size, so that a small
    box is less sharp than one that is cropped from the original file.
    """
    height, width = images.shape[1:3]
    top, left, box_height, box_width = _fitting_box(tf.shape(images)[0], images, smallest, seed)
    # The center of an output pixel in the coordinates of the image; pixel 0's center is at 0.
    y_scale, x_scale = box_height / height, box_width / width
    zeros = tf.zeros_like(top)
    row = [x_scale, zeros, left + x_scale / 2 - 0.5, zeros, y_scale, top + y_scale / 2 - 0.5]
    resized = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([*row, zeros, zeros], axis=1),
        output_shape=[height, width],
        fill_value=0.0,
        fill_mode="NEAREST",
        interpolation="BILINEAR",
    )
    if images.dtype.is_integer:
        resized = tf.round(resized)
    return tf.ensure_shape(tf.cast(resized, images.dtype), images.shape)


def _fitting_box(
    batch: tf.Tensor, images: tf.Tensor, smallest: float, seed: tf.Tensor, tries: int = 10
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Draw a box for each image: top, left, height, width, whole numbers as float32 [batch]."""
    height, width = images.shape[1:3]
    areas, ratios, places = split_seed(seed, 3)
    area = tf.random.stateless_uniform([batch, tries], areas, smallest, 1.0) * height * width
    reach = math.log(4 / 3)
    ratio = tf.exp(tf.random.stateless_uniform([batch, tries], ratios, -reach, reach))
    # The whole image comes last, as it always fits.
    widths = _with_last(tf.round(tf.sqrt(area * ratio)), width)
    heights = _with_last(tf.round(tf.sqrt(area / ratio)), height)
    fits = (widths >= 1) & (widths <= width) & (heights >= 1) & (heights <= height)
    first = tf.argmax(tf.cast(fits, tf.int8), axis=1)
    box_height, box_width = (tf.gather(n, first, batch_dims=1) for n in (heights, widths))
    u = tf.random.stateless_uniform([2, batch], places)
    top, left = tf.floor(u[0] * (height - box_height + 1)), tf.floor(u[1] * (width - box_width + 1))
    return top, left, box_height, box_width


def _with_last(values: tf.Tensor, last: int) -> tf.Tensor:
    return tf.pad(values, [[0, 0], [0, 1]], constant_values=float(last))


def random_half(batch: int | tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Choose each image with probability 1/2; return bool [batch]."""
    return tf.random.stateless_uniform([batch], seed) < 0.5


def alternating_half(
    indices: tf.Tensor, count: int, epoch: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Choose each image in every second epoch (Jordan 2024, arXiv:2404.00498); bool [batch].

    Args:
        indices: of the images in their split, int64 [batch]; a permutation of them decides which
            half of the images is chosen in even epochs, and which in odd ones.
        count: images in the split.
        epoch: the number of the epoch, int64.
        seed: of the run, the same at all steps.
    """
    hashed = shuffle.permuted(indices, count, shuffle.key(seed[0], seed[1]))
    return (hashed + epoch) % 2 == 0


def flipped_where(chosen: tf.Tensor, images: tf.Tensor) -> tf.Tensor:
    """Flip the images [batch, H, W, ...] where ``chosen``, bool [batch], is true."""
    # Select, unlike tf.where, takes a vector and copies whole images: twice as fast.
    return tf.raw_ops.Select(condition=chosen, x=tf.reverse(images, [2]), y=images)


def color_jitter(images: tf.Tensor, strength: float, seed: tf.Tensor) -> tf.Tensor:
    """Change brightness, contrast and saturation of uint8 images, in this order.

    Each is multiplied by a factor of its own, uniform in 1 - ``strength`` to 1 + ``strength``;
    contrast is the distance to the image's mean lightness, saturation that to each pixel's (ITU-R
    601-2). Grey images have no saturation.
    """
    batch, channels = tf.shape(images)[0], images.shape[-1]
    factors = tf.random.stateless_uniform([3, batch, 1, 1], seed, 1 - strength, 1 + strength)
    brightness, contrast, saturation = tf.unstack(factors)
    weights = tf.constant([[0.299], [0.587], [0.114]] if channels == 3 else [[1.0]])
    pixels = tf.reshape(tf.cast(images, tf.float32), [batch, -1, channels])
    mean = tf.reduce_mean(pixels, axis=1, keepdims=True) @ weights
    # One matrix an image: channels are mixed with the lightness, in shares of the saturation.
    mixing = saturation * tf.eye(channels) + (1 - saturation) * weights
    changed = pixels @ (brightness * contrast * mixing)
    flat = tf.reshape(changed, [batch, -1]) + (brightness * (1 - contrast) * mean)[:, :, 0]
    flat = tf.clip_by_value(flat, 0.0, 255.0) + 0.5
    return tf.ensure_shape(tf.reshape(tf.cast(flat, tf.uint8), tf.shape(images)), images.shape)


def mixup(
    images: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each float image and its target with another one (Zhang et al., arXiv:1710.09412).

    There is one lambda ~ Beta(alpha, alpha) for the batch, as in the paper's code. The other image
    is the one before it in the batch, which is in random order.
    """
    lam = sample_beta(alpha, seed)
    mixed = lam * images + (1 - lam) * tf.roll(images, 1, axis=0)
    return mixed, mix_targets(targets, lam)


def cutmix(
    images: tf.Tensor, targets: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a box of another image into each image (Yun et al. 2019, arXiv:1905.04899).

    There is one lambda ~ Beta(alpha, alpha) and one box for the batch. The targets are mixed by the
    area that the box has after it was clipped at the borders. The other image is that of
    :func:`mixup`.
    """
    height, width = images.shape[1:3]
    lam_seed, center_seed = split_seed(seed, 2)
    top, bottom, left, right = cut_box(height, width, sample_beta(alpha, lam_seed), center_seed)
    rows, columns = tf.range(height), tf.range(width)
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
    # Flat rows, one value per number: to broadcast along the channels is slow.
    inside = tf.reshape(tf.repeat(inside[..., None], images.shape[3], axis=2), [1, -1])
    flat = tf.reshape(images, [-1, inside.shape[1]])
    mixed = tf.reshape(tf.where(inside, tf.roll(flat, 1, axis=0), flat), tf.shape(images))
    mixed = tf.ensure_shape(mixed, images.shape)
    lam = 1 - tf.cast((bottom - top) * (right - left), tf.float32) / (height * width)
    return mixed, mix_targets(targets, lam)


def cut_box(
    height: int, width: int, lam: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return top, bottom, left, right (int32) of a box of area 1 - lam around a random center."""
    share = tf.sqrt(1 - lam)
    size = [tf.cast(tf.cast(n, tf.float32) * share, tf.int32) for n in (height, width)]
    u = tf.random.stateless_uniform([2], seed)
    edges = []
    for length, side, position in zip((height, width), size, tf.unstack(u), strict=True):
        center = tf.cast(position * tf.cast(length, tf.float32), tf.int32)
        edges += [tf.maximum(center - side // 2, 0), tf.minimum(center + (side + 1) // 2, length)]
    return edges[0], edges[1], edges[2], edges[3]


def mix_targets(targets: tf.Tensor, lam: tf.Tensor) -> tf.Tensor:
    """Return ``lam`` times each target plus ``1 - lam`` times that of the image before it."""
    return lam * targets + (1 - lam) * tf.roll(targets, 1, axis=0)


def sample_beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Return one float32 sample of Beta(alpha, alpha), from two gamma samples."""
    gammas = tf.random.stateless_gamma([2], seed, alpha=alpha, dtype=tf.float64)
    # Both may be 0 if alpha is small.
    return tf.cast(tf.math.divide_no_nan(gammas[0], tf.reduce_sum(gammas)), tf.float32)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Derive ``count`` independent seeds from one."""
    return [tf.random.experimental.stateless_fold_in(seed, i) for i in range(count)]
