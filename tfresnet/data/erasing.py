"""Cutout and random erasing: replace a box of each image.

Images are uint8 [batch, height, width, channels], a seed is int64 [2].
"""

import tensorflow as tf

from tfresnet.data.augment import split_seed
from tfresnet.data.image_ops import GREY

AREA = (0.02, 0.4)
ASPECT = (0.3, 1 / 0.3)


def cutout(images: tf.Tensor, size: int, seed: tf.Tensor) -> tf.Tensor:
    """Make a random square of ``size`` pixels gray (DeVries & Taylor, arXiv:1708.04552).

    Its center may be any pixel, so that a part of it may lie outside. Gray is 128, which the
    default normalization makes 0.
    """
    height, width = images.shape[1:3]
    u = tf.random.stateless_uniform([2, tf.shape(images)[0]], seed)
    top = tf.cast(u[0] * height, tf.int32) - size // 2
    left = tf.cast(u[1] * width, tf.int32) - size // 2
    hidden = _boxes(images, top, top + size, left, left + size)
    return tf.where(hidden, tf.constant(GREY, images.dtype), images)


def random_erasing(images: tf.Tensor, probability: float, seed: tf.Tensor) -> tf.Tensor:
    """Fill a random box with random values, in each image with a ``probability``.

    Zhong et al. (arXiv:1708.04896) with the paper's ranges: 0.02 to 0.4 of the area, aspect ratio
    0.3 to 1/0.3. A box that is longer than the image (a few in a hundred) is cut to the image's
    side, where the paper draws another one.
    """
    chance, shape, place, noise = split_seed(seed, 4)
    height, width = images.shape[1:3]
    batch = tf.shape(images)[0]
    happens = tf.random.stateless_uniform([batch], chance) < probability
    area_seed, aspect_seed = split_seed(shape, 2)
    area = tf.random.stateless_uniform([batch], area_seed, *AREA) * height * width
    aspect = tf.random.stateless_uniform([batch], aspect_seed, *ASPECT)
    u = tf.random.stateless_uniform([2, batch], place)
    top, bottom = _side(tf.sqrt(area * aspect), height, u[0])
    left, right = _side(tf.sqrt(area / aspect), width, u[1])
    hidden = _boxes(images, top, tf.where(happens, bottom, top), left, right)
    values = tf.random.stateless_uniform(tf.shape(images), noise, 0, 256, tf.int32)
    return tf.where(hidden, tf.cast(values, images.dtype), images)


def _side(length: tf.Tensor, limit: int, u: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Place a side of a box within ``limit`` pixels: return its start and end, int32 [batch]."""
    length = tf.minimum(tf.round(length), limit)
    start = tf.floor(u * (limit - length + 1))
    return tf.cast(start, tf.int32), tf.cast(start + length, tf.int32)


def _boxes(
    images: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, left: tf.Tensor, right: tf.Tensor
) -> tf.Tensor:
    """Return a mask of the boxes, bool, of the images' shape."""
    rows, columns = tf.range(images.shape[1]), tf.range(images.shape[2])
    inside_rows = (rows >= top[:, None]) & (rows < bottom[:, None])
    inside_columns = (columns >= left[:, None]) & (columns < right[:, None])
    inside = inside_rows[:, :, None] & inside_columns[:, None, :]
    return tf.repeat(inside[..., None], images.shape[3], axis=3)
