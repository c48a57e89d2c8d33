"""Augmentation policies: RandAugment, TrivialAugment, AutoAugment.

A policy is a pure function of uint8 images [batch, height, width, 1 or 3] and a seed, int64 [2],
and returns uint8 images. Operations are drawn for each image; each operation is then applied only
to the images that it was drawn for.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import tensorflow as tf

from tfresnet.data import image_ops as ops
from tfresnet.data.augment import split_seed

RANDAUGMENT_MAX = 30  # magnitudes are 0 to 30; 30 is the end of AutoAugment's ranges
TRIVIAL_LEVELS = 31  # 0 to 30


class Operation(NamedTuple):
    """A row of a policy's table: at strength s, 0 to 1, the value is ``start + s * reach``."""

    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    start: float = 0.0
    reach: float = 0.0
    signed: bool = False  # the sign of the reach is random


Table = dict[str, Operation]


def randaugment(images: tf.Tensor, count: int, magnitude: float, seed: tf.Tensor) -> tf.Tensor:
    """Apply ``count`` random operations of 14, in a row (Cubuk et al., arXiv:1909.13719).

    ``magnitude`` is 0 to 30 for all of them; 30 is 30 degrees, a slope of 0.3, 150/331 of the
    side, factors of 1 +- 0.9, 4 bits, a threshold of 0. Signs are random. As in torchvision's
    implementation, factors move away from 1 with the magnitude, and solarize's threshold falls
    from 255.
    """
    table = randaugment_table(*images.shape[1:3])
    for round_seed in split_seed(seed, count):
        choice, sign = split_seed(round_seed, 2)
        chosen = _draw(images, len(table), choice)
        strength = tf.fill(tf.shape(chosen), magnitude / RANDAUGMENT_MAX)
        images = apply_chosen(images, table, chosen, strength, sign)
    return images


def trivialaugment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Apply a random operation of 14 at a random strength (Müller & Hutter, arXiv:2103.10158).

    The paper's wide ranges: 135 degrees, a slope of 0.99, 32 pixels, factors of 1 +- 0.99, 2 bits.
    """
    table = trivialaugment_table()
    choice, level, sign = split_seed(seed, 3)
    strength = tf.cast(_draw(images, TRIVIAL_LEVELS, level), tf.float32) / (TRIVIAL_LEVELS - 1)
    return apply_chosen(images, table, _draw(images, len(table), choice), strength, sign)


def autoaugment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Apply a random pair of the 25 found for CIFAR-10 (Cubuk et al., arXiv:1805.09501).

    Levels are tenths of the authors' ranges for CIFAR: 30 degrees, a slope of 0.3, 10 of 32
    pixels, factors from 0.1 to 1.9 (not signed), 8 to 4 bits, a threshold of 255 to 0 (that of
    torchvision; the paper says 256).
    """
    table = autoaugment_table(*images.shape[1:3])
    names = list(table)
    rows = [[(names.index(n), p, level / 10) for n, p, level in pair] for pair in CIFAR10_POLICY]
    choice, *seeds = split_seed(seed, 3)
    pairs = tf.gather(tf.constant(rows, tf.float32), _draw(images, len(rows), choice))
    for step, step_seed in enumerate(seeds):
        chance, sign = split_seed(step_seed, 2)
        operation, probability, strength = tf.unstack(pairs[:, step], axis=1)
        happens = tf.random.stateless_uniform(tf.shape(probability), chance) < probability
        chosen = tf.where(happens, tf.cast(operation, tf.int32), names.index("identity"))
        images = apply_chosen(images, table, chosen, strength, sign)
    return images


def apply_chosen(
    images: tf.Tensor, table: Table, chosen: tf.Tensor, strength: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Apply to each image its own operation, at its own strength.

    The batch is partitioned by operation, and put together again.

    Args:
        images: uint8 [batch, H, W, C].
        table: the operations.
        chosen: the row of the table for each image, int32 [batch].
        strength: of each image's operation, 0 to 1, float32 [batch].
        seed: for the signs.
    """
    rows = list(table.values())
    values = _values(rows, chosen, strength, seed)
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), chosen, len(rows))
    groups = tf.dynamic_partition(images, chosen, len(rows))
    group_values = tf.dynamic_partition(values, chosen, len(rows))
    changed = [
        row.apply(group, value)
        for row, group, value in zip(rows, groups, group_values, strict=True)
    ]
    return tf.ensure_shape(tf.dynamic_stitch(places, changed), images.shape)


def _values(
    rows: Sequence[Operation], chosen: tf.Tensor, strength: tf.Tensor, seed: tf.Tensor
) -> tf.Tensor:
    """Return the value that each image's operation takes, float32 [batch]."""
    start, reach, signed = (
        tf.gather(tf.constant(column), chosen)
        for column in zip(*(row[1:] for row in rows), strict=True)
    )
    negative = tf.random.stateless_uniform(tf.shape(chosen), seed) < 0.5
    return start + strength * tf.where(signed & negative, -reach, reach)


def _draw(images: tf.Tensor, count: int, seed: tf.Tensor) -> tf.Tensor:
    """Draw a number below ``count`` for each image, int32 [batch]."""
    return tf.random.stateless_uniform([tf.shape(images)[0]], seed, 0, count, tf.int32)


def randaugment_table(height: int, width: int) -> Table:
    """Return the 14 operations of RandAugment's paper, in its order, for images of a size."""
    shift = 150 / 331  # AutoAugment's 150 pixels, of images of 331
    return _table(Operation(ops.color, 1, 0.9, True), 30, 0.3, shift * width, shift * height, 4)


def trivialaugment_table() -> Table:
    """Return the same operations with the wide ranges of TrivialAugment's paper."""
    return _table(Operation(ops.color, 1, 0.99, True), 135, 0.99, 32, 32, 6)


def autoaugment_table(height: int, width: int) -> Table:
    """Return the same operations with AutoAugment's ranges for CIFAR, and invert."""
    shift = 10 / 32
    table = _table(Operation(ops.color, 0.1, 1.8), 30, 0.3, shift * width, shift * height, 4)
    return table | {"invert": Operation(ops.invert)}


def _table(
    factor: Operation, degrees: float, slope: float, right: float, down: float, bits: float
) -> Table:
    """Return the 14 operations; ``factor`` has the range that the four blends share."""
    return {
        "identity": Operation(ops.identity),
        "autocontrast": Operation(ops.autocontrast),
        "equalize": Operation(ops.equalize),
        "rotate": Operation(ops.rotate, 0, degrees, True),
        "solarize": Operation(ops.solarize, 255, -255),
        "color": factor,
        "posterize": Operation(ops.posterize, 8, -bits),
        "contrast": factor._replace(apply=ops.contrast),
        "brightness": factor._replace(apply=ops.brightness),
        "sharpness": factor._replace(apply=ops.sharpness),
        "shear_x": Operation(ops.shear_x, 0, slope, True),
        "shear_y": Operation(ops.shear_y, 0, slope, True),
        "translate_x": Operation(ops.translate_x, 0, right, True),
        "translate_y": Operation(ops.translate_y, 0, down, True),
    }


# Table 7 of AutoAugment's paper: (operation, probability, level of 10); where an operation has no
# strength, its level is 0 here.
CIFAR10_POLICY = (
    (("invert", 0.1, 0), ("contrast", 0.2, 6)),
    (("rotate", 0.7, 2), ("translate_x", 0.3, 9)),
    (("sharpness", 0.8, 1), ("sharpness", 0.9, 3)),
    (("shear_y", 0.5, 8), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.5, 0), ("equalize", 0.9, 0)),
    (("shear_y", 0.2, 7), ("posterize", 0.3, 7)),
    (("color", 0.4, 3), ("brightness", 0.6, 7)),
    (("sharpness", 0.3, 9), ("brightness", 0.7, 9)),
    (("equalize", 0.6, 0), ("equalize", 0.5, 0)),
    (("contrast", 0.6, 7), ("sharpness", 0.6, 5)),
    (("color", 0.7, 7), ("translate_x", 0.5, 8)),
    (("equalize", 0.3, 0), ("autocontrast", 0.4, 0)),
    (("translate_y", 0.4, 3), ("sharpness", 0.2, 6)),
    (("brightness", 0.9, 6), ("color", 0.2, 8)),
    (("solarize", 0.5, 2), ("invert", 0.0, 0)),
    (("equalize", 0.2, 0), ("autocontrast", 0.6, 0)),
    (("equalize", 0.2, 0), ("equalize", 0.6, 0)),
    (("color", 0.9, 9), ("equalize", 0.6, 0)),
    (("autocontrast", 0.8, 0), ("solarize", 0.2, 8)),
    (("brightness", 0.1, 3), ("color", 0.7, 0)),
    (("solarize", 0.4, 5), ("autocontrast", 0.9, 0)),
    (("translate_y", 0.9, 9), ("translate_y", 0.7, 9)),
    (("autocontrast", 0.9, 0), ("solarize", 0.8, 3)),
    (("equalize", 0.8, 0), ("invert", 0.1, 0)),
    (("translate_y", 0.7, 9), ("autocontrast", 0.9, 0)),
)
