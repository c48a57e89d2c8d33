"""Augmentations that move the pixels of images, and the masks or boxes that belong to them.

Pure functions of a batch and a seed, as those in ``augment``. What is done to an image is drawn
once, as a :class:`Window`, and applied to the image and to its truth.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from tfresnet.data import augment
from tfresnet.runtime.spec import VOID

GRAY = 128  # where there is no image; 0 after the default normalization


class Window(NamedTuple):
    """The part of each image that becomes the augmented image, all in shares of the image's sides.

    Where it reaches beyond the image there is gray, and void in a mask.

    Attributes:
        left: float32 [batch]; negative where the window begins beside the image.
        top: float32 [batch].
        size: of both sides, float32 [batch]; below 1 the image is enlarged.
        mirrored: whether left and right are exchanged then, bool [batch].
    """

    left: tf.Tensor
    top: tf.Tensor
    size: tf.Tensor
    mirrored: tf.Tensor


def draw(
    batch: int | tf.Tensor, scale: tuple[float, float], mirrored: tf.Tensor, seed: tf.Tensor
) -> Window:
    """Draw a window for each image.

    The factor by which an image is enlarged is uniform in its logarithm; then the place is uniform:
    that of a crop in a larger image, or that of a smaller image in the frame.

    Args:
        batch: the number of images.
        scale: the smallest and the largest factor.
        mirrored: which images to flip, bool [batch].
        seed: int64 [2].
    """
    factors, places = augment.split_seed(seed, 2)
    low, high = (tf.math.log(float(factor)) for factor in scale)
    size = tf.exp(-(low + (high - low) * tf.random.stateless_uniform([batch], factors)))
    left, top = tf.unstack(tf.random.stateless_uniform([2, batch], places) * (1 - size))
    return Window(left, top, size, mirrored)


def move_images(images: tf.Tensor, window: Window, fill: int = GRAY) -> tf.Tensor:
    """Return the windows of images, uint8 [batch, H, W, C], bilinear, in the old size."""
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=_transforms(window, images.shape),
        output_shape=images.shape[1:3],
        fill_value=0.0,
        fill_mode="NEAREST",
        interpolation="BILINEAR",
    )
    # Not the operation's own fill: it would darken the outermost pixels of the image.
    moved = tf.cast(tf.round(moved), images.dtype)
    moved = tf.where(_inside(window, images.shape), moved, tf.constant(fill, images.dtype))
    return tf.ensure_shape(moved, images.shape)


def move_masks(masks: tf.Tensor, window: Window) -> tf.Tensor:
    """Return the windows of masks, uint8 [batch, H, W], nearest neighbor; 255 outside."""
    moved = tf.raw_ops.ImageProjectiveTransformV3(
        images=masks[..., None],
        transforms=_transforms(window, masks.shape),
        output_shape=masks.shape[1:3],
        fill_value=float(VOID),
        fill_mode="CONSTANT",
        interpolation="NEAREST",
    )
    return tf.ensure_shape(moved[..., 0], masks.shape)


def move_boxes(truth: dict[str, tf.Tensor], window: Window) -> dict[str, tf.Tensor]:
    """Return boxes in the windows, clipped; those whose center is outside are dropped.

    Args:
        truth: ``boxes`` float32 [batch, N, 4] as x1 y1 x2 y2 in shares of the image, ``classes``
            int32 [batch, N], -1 where there is none, and ``ignored`` bool [batch, N].
        window: of each image.
    """
    start = tf.stack([window.left, window.top] * 2, axis=1)[:, None, :]
    boxes = (truth["boxes"] - start) / window.size[:, None, None]
    x1, y1, x2, y2 = tf.unstack(boxes, axis=-1)
    boxes = tf.where(
        window.mirrored[:, None, None],
        tf.stack([1 - x2, y1, 1 - x1, y2], axis=-1),
        boxes,
    )
    center = (boxes[..., :2] + boxes[..., 2:]) / 2
    inside = tf.reduce_all((center >= 0) & (center < 1), axis=-1)
    kept = inside & (truth["classes"] >= 0)
    boxes = tf.clip_by_value(boxes, 0.0, 1.0)
    return truth | {
        "boxes": tf.where(kept[..., None], boxes, tf.zeros_like(boxes)),
        "classes": tf.where(kept, truth["classes"], -1),
        "ignored": kept & truth["ignored"],
    }


def move_truth(truth: Any, window: Window) -> Any:
    """Return the windows of masks, or of a dict of boxes."""
    move = move_boxes if isinstance(truth, dict) else move_masks
    return move(truth, window)


def flip(images: tf.Tensor, truth: Any, mirrored: tf.Tensor) -> tuple[tf.Tensor, Any]:
    """Flip the images where ``mirrored``, bool [batch], and their masks or boxes, left to right."""
    images = augment.flipped_where(mirrored, images)
    if not isinstance(truth, dict):
        return images, augment.flipped_where(mirrored, truth)
    zeros = tf.zeros(tf.shape(mirrored))
    return images, move_boxes(truth, Window(zeros, zeros, zeros + 1, mirrored))


def _transforms(window: Window, shape: tf.TensorShape) -> tf.Tensor:
    """Return the windows as TensorFlow's transformations, float32 [batch, 8].

    The place in the image, (x, y), of an output pixel's center, where pixel 0's center is at 0.
    """
    height, width = shape[1:3]
    zeros = tf.zeros_like(window.size)
    slope = tf.where(window.mirrored, -window.size, window.size)
    # The first output pixel's center is half a step inside the window's left or right edge.
    edge = window.left + tf.where(window.mirrored, window.size, zeros)
    x = edge * width + slope / 2 - 0.5
    y = window.top * height + window.size / 2 - 0.5
    return tf.stack([slope, zeros, x, zeros, window.size, y, zeros, zeros], axis=1)


def _inside(window: Window, shape: tf.TensorShape) -> tf.Tensor:
    """Return where an output pixel's center is in the image, bool [batch, H, W, 1]."""
    transforms = _transforms(window, shape)
    rows, columns = (
        _within(transforms[:, slope], transforms[:, start], length)
        for slope, start, length in ((4, 5, shape[1]), (0, 2, shape[2]))
    )
    return (rows[:, :, None] & columns[:, None, :])[..., None]


def _within(slope: tf.Tensor, start: tf.Tensor, length: int) -> tf.Tensor:
    """Return which of ``length`` output pixels are in the image, bool [batch, length]."""
    places = slope[:, None] * tf.range(length, dtype=tf.float32) + start[:, None]
    return (places > -0.5) & (places < length - 0.5)
