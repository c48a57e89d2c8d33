"""Targets of a center head: heat maps with a Gaussian at the center of each box.

Zhou et al. 2019, "Objects as Points", arXiv:1904.07850, section 3; the radius is that of its code
(xingyizhou/CenterNet, ``gaussian_radius``), which took it from CornerNet (arXiv:1808.01244).
"""

from collections.abc import Mapping
from typing import NamedTuple

import tensorflow as tf

MIN_OVERLAP = 0.7  # intersection over union of a box that is off by the radius


class CenterTargets(NamedTuple):
    """What a center head should give for a batch.

    Attributes:
        heat: 1 at the cell of each center, falling off as a Gaussian, float32 [b, h, w, classes].
        counted: 0 in the area of ignored boxes of that class, else 1, float32 [b, h, w, classes].
        cell: of the center of each box, row * w + column, int32 [b, N].
        offset: of the center from its cell's left upper corner, 0 to 1 cell, float32 [b, N, 2].
        boxes: x1, y1, x2, y2 in shares of the image, float32 [b, N, 4].
        classes: of the boxes, int32 [b, N]; 0 where there is none.
        there: 1 for the boxes that are to be learned, else 0, float32 [b, N].
    """

    heat: tf.Tensor
    counted: tf.Tensor
    cell: tf.Tensor
    offset: tf.Tensor
    boxes: tf.Tensor
    classes: tf.Tensor
    there: tf.Tensor


def center_targets(
    truth: Mapping[str, tf.Tensor], height: int, width: int, classes: int
) -> CenterTargets:
    """Return the targets for maps of ``height`` x ``width`` cells.

    Args:
        truth: ``boxes`` float32 [b, N, 4] in shares of the image, ``classes`` int32 [b, N], -1
            where there is no box, and, if some are, ``ignored`` bool [b, N].
        height: of the maps.
        width: of the maps.
        classes: number of heat maps.
    """
    boxes, kinds = truth["boxes"], truth["classes"]
    ignored = truth.get("ignored", tf.zeros_like(kinds, tf.bool)) & (kinds >= 0)
    there = (kinds >= 0) & ~ignored
    cells = tf.constant([width, height], tf.float32)
    center = (boxes[..., :2] + boxes[..., 2:]) / 2 * cells
    corner = tf.clip_by_value(tf.floor(center), 0.0, cells - 1)
    size = (boxes[..., 2:] - boxes[..., :2]) * cells
    heat = gaussians(corner, radius(size[..., 0], size[..., 1]), height, width)
    columns, rows = (tf.cast(corner[..., i], tf.int32) for i in (0, 1))
    return CenterTargets(
        by_class(heat, tf.where(there, kinds, -1), classes),
        1 - by_class(_inside(boxes * tf.tile(cells, [2]), height, width),
                     tf.where(ignored, kinds, -1), classes),
        rows * width + columns,
        center - corner,
        boxes,
        tf.maximum(kinds, 0),
        tf.cast(there, tf.float32),
    )  # fmt: skip


def radius(width: tf.Tensor, height: tf.Tensor) -> tf.Tensor:
    """Return the radius of the Gaussian for boxes of this size, in whole cells, float32 [...].

    CornerNet asks how far both corners may be off until the intersection over union falls to 0.7,
    and takes the smallest of three cases. Its code divides each solution by 2, not by twice the
    leading coefficient, and then the third case is always the smallest; published results are with
    that code.
    """
    total, product = width + height, width * height
    b = 2 * MIN_OVERLAP * total
    root = tf.sqrt(b**2 + 16 * MIN_OVERLAP * (1 - MIN_OVERLAP) * product)
    return tf.maximum(0.0, tf.floor((root - b) / 2))


def gaussians(corner: tf.Tensor, radius: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return a map for each center: 1 at its cell, 0 outside the radius, float32 [b, N, h, w].

    The standard deviation is a sixth of the diameter, ``2 radius + 1``, as in CenterNet's code.

    Args:
        corner: column and row of the cell, float32 [b, N, 2].
        radius: float32 [b, N].
        height: of the maps.
        width: of the maps.
    """
    sigma = (2 * radius + 1)[..., None] / 6

    def along(position: tf.Tensor, count: int) -> tf.Tensor:
        distance = tf.range(count, dtype=tf.float32) - position[..., None]
        near = tf.abs(distance) <= radius[..., None]
        return tf.where(near, tf.exp(-(distance**2) / (2 * sigma**2)), 0.0)

    rows, columns = along(corner[..., 1], height), along(corner[..., 0], width)
    return rows[..., :, None] * columns[..., None, :]


def _inside(boxes: tf.Tensor, height: int, width: int) -> tf.Tensor:
    """Return 1 in the cells that each box touches, float32 [b, N, h, w]; boxes are in cells."""

    def along(low: tf.Tensor, high: tf.Tensor, count: int) -> tf.Tensor:
        start = tf.range(count, dtype=tf.float32)
        touched = (start + 1 > low[..., None]) & (start < high[..., None])
        return tf.cast(touched, tf.float32)

    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    return along(y1, y2, height)[..., :, None] * along(x1, x2, width)[..., None, :]


def by_class(maps: tf.Tensor, kinds: tf.Tensor, classes: int) -> tf.Tensor:
    """Return the maximum of the maps of each class, float32 [b, h, w, classes]; 0 without a map.

    Args:
        maps: of each box, at least 0, float32 [b, N, h, w].
        kinds: class of each, int32 [b, N]; maps of class -1 are left out.
        classes: number of classes.
    """
    batch, count, height, width = tf.unstack(tf.shape(maps))
    rows = tf.range(batch)[:, None] * classes + kinds
    segments = tf.reshape(tf.where(kinds >= 0, rows, -1), [-1])
    flat = tf.reshape(maps, [batch * count, height, width])
    most = tf.math.unsorted_segment_max(flat, segments, batch * classes)
    most = tf.reshape(tf.maximum(most, 0.0), [batch, classes, height, width])
    most = tf.ensure_shape(most, [kinds.shape[0], classes, *maps.shape[2:]])
    return tf.transpose(most, [0, 2, 3, 1])
