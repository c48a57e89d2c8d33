"""Batched augmentations: each a pure function of images, labels and a seed.

Images are [batch, height, width, channels] of any dtype unless said otherwise, labels are
float32 [batch, classes] that sum to 1, a seed is int64 [2]. Equal arguments give equal results.
"""

import tensorflow as tf


def random_crop(images: tf.Tensor, padding: int, seed: tf.Tensor) -> tf.Tensor:
    """Reflect ``padding`` pixels on every side and cut the old size out at a random place."""
    batch, height, width = tf.unstack(tf.shape(images)[:3])
    pad = [[0, 0], [padding, padding], [padding, padding], [0, 0]]
    padded = tf.pad(images, pad, mode="REFLECT")
    offsets = tf.random.stateless_uniform(
        [2, batch, 1], seed, minval=0, maxval=2 * padding + 1, dtype=tf.int32
    )
    rows = offsets[0] + tf.range(height)
    columns = offsets[1] + tf.range(width)
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    cropped = tf.gather(cropped, columns, axis=2, batch_dims=1)
    return tf.ensure_shape(cropped, images.shape)


def random_flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Mirror each image left to right with probability 1/2."""
    chosen = tf.random.stateless_uniform([tf.shape(images)[0], 1, 1, 1], seed) < 0.5
    return tf.where(chosen, tf.reverse(images, [2]), images)


def mixup(
    images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Blend each float image and its label with its neighbour's (Zhang et al. 2017, 1710.09412).

    One lambda ~ Beta(alpha, alpha) a batch, as in the paper's code. The neighbour is the image
    before in a batch that is already in random order.
    """
    lam = sample_beta(alpha, seed)
    mixed = lam * images + (1 - lam) * tf.roll(images, 1, axis=0)
    return mixed, mix_labels(labels, lam)


def cutmix(
    images: tf.Tensor, labels: tf.Tensor, alpha: float, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor]:
    """Paste a box of the neighbour into each image (Yun et al. 2019, arXiv:1905.04899).

    One lambda ~ Beta(alpha, alpha) and one box a batch. The labels are mixed by the box's true
    area, after it was clipped at the borders.
    """
    height, width = images.shape[1:3]
    lam_seed, centre_seed = split_seed(seed, 2)
    top, bottom, left, right = cut_box(height, width, sample_beta(alpha, lam_seed), centre_seed)
    rows, columns = tf.range(height), tf.range(width)
    inside = ((rows >= top) & (rows < bottom))[:, None] & ((columns >= left) & (columns < right))
    mixed = tf.where(inside[None, :, :, None], tf.roll(images, 1, axis=0), images)
    lam = 1 - tf.cast((bottom - top) * (right - left), tf.float32) / (height * width)
    return mixed, mix_labels(labels, lam)


def cut_box(
    height: int, width: int, lam: tf.Tensor, seed: tf.Tensor
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return top, bottom, left, right (int32) of a box of area 1 - lam around a random centre."""
    share = tf.sqrt(1 - lam)
    size = [tf.cast(tf.cast(n, tf.float32) * share, tf.int32) for n in (height, width)]
    u = tf.random.stateless_uniform([2], seed)
    edges = []
    for length, side, position in zip((height, width), size, tf.unstack(u), strict=True):
        centre = tf.cast(position * tf.cast(length, tf.float32), tf.int32)
        edges += [tf.maximum(centre - side // 2, 0), tf.minimum(centre + (side + 1) // 2, length)]
    return edges[0], edges[1], edges[2], edges[3]


def mix_labels(labels: tf.Tensor, lam: tf.Tensor) -> tf.Tensor:
    """Return ``lam`` of each label and ``1 - lam`` of its neighbour's."""
    return lam * labels + (1 - lam) * tf.roll(labels, 1, axis=0)


def sample_beta(alpha: float, seed: tf.Tensor) -> tf.Tensor:
    """Return one float32 sample of Beta(alpha, alpha), from two gamma samples."""
    gammas = tf.random.stateless_gamma([2], seed, alpha=alpha, dtype=tf.float64)
    return tf.cast(gammas[0] / tf.reduce_sum(gammas), tf.float32)


def split_seed(seed: tf.Tensor, count: int) -> list[tf.Tensor]:
    """Return ``count`` independent seeds made from one."""
    return [tf.random.experimental.stateless_fold_in(seed, i) for i in range(count)]
