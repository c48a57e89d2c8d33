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


def move_images(images: tf.Tensor, window: Window) -> tf.Tensor:
    """Return the windows of images, uint8 [batch, H, W, C], bilinear, in the old size."""
    # With its edges repeated an image reaches half a pixel beyond the centers of its outermost.
    images = tf.concat([images[:, :1], images, images[:, -1:]], axis=1)
    images = tf.concat([images[:, :, :1], images, images[:, :, -1:]], axis=2)
    moved = _windows(images, window, "bilinear", GRAY)
    return tf.cast(moved + 0.5, images.dtype)  # rounded, which is faster than to call round


def move_masks(masks: tf.Tensor, window: Window) -> tf.Tensor:
    """Return the windows of masks, uint8 [batch, H, W], nearest neighbor; 255 outside."""
    framed = tf.pad(masks, [[0, 0], [1, 1], [1, 1]], constant_values=VOID)
    moved = _windows(framed[..., None], window, "nearest", VOID)
    return tf.cast(moved[..., 0], masks.dtype)


def _windows(framed: tf.Tensor, window: Window, method: str, outside: int) -> tf.Tensor:
    """Return the windows of what has a frame of one pixel, float32 [batch, H, W, C]."""
    height, width = framed.shape[1] - 2, framed.shape[2] - 2
    ends = [(places + 1) / (length + 1) for places, length in (
        (_rows(window, height), height), (_columns(window, width), width)
    )]  # fmt: skip
    corners = [ends[axis][:, place] for place in (0, -1) for axis in (0, 1)]
    return tf.image.crop_and_resize(
        framed,
        tf.stack(corners, axis=1),
        tf.range(tf.shape(framed)[0]),
        [height, width],
        method,
        extrapolation_value=outside,
    )


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


def _rows(window: Window, height: int) -> tf.Tensor:
    """Return the place in the image of each output row, float32 [batch, height].

    Places are those of centers; the center of row 0 is at 0.
    """
    steps = tf.range(height, dtype=tf.float32) + 0.5
    return window.top[:, None] * height + window.size[:, None] * steps - 0.5


def _columns(window: Window, width: int) -> tf.Tensor:
    """Return the place in the image of each output column, as :func:`_rows` does."""
    steps = tf.range(width, dtype=tf.float32) + 0.5
    steps = tf.where(window.mirrored[:, None], width - steps, steps)
    return window.left[:, None] * width + window.size[:, None] * steps - 0.5
