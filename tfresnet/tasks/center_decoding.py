"""Turn the maps of a center head into scores and boxes: part of an exported file's graph.

All operations are such that an integer file computes them with integers.
"""

import tensorflow as tf


def scores_and_boxes(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the scores and the box of each cell, of h * w cells row by row.

    Args:
        outputs: ``heat`` logits [b, h, w, classes], ``offset`` [b, h, w, 2] in cells, and perhaps
            ``size`` [b, h, w, 2] in shares of the image.

    Returns:
        ``scores`` float32 [b, h * w, classes], 0 where a neighbor has a larger one, and ``boxes``
        float32 [b, h * w, 4], x1, y1, x2, y2 in shares of the image; without ``size`` both corners
        are the center.
    """
    _, height, width, classes = outputs["heat"].shape
    scores = peaks(tf.sigmoid(outputs["heat"]))
    boxes = decoded(outputs)
    return {
        "scores": tf.reshape(scores, [-1, height * width, classes], name="scores"),
        "boxes": tf.reshape(boxes, [-1, height * width, 4], name="boxes"),
    }


def peaks(heat: tf.Tensor) -> tf.Tensor:
    """Return heat [b, h, w, classes] where it is the largest among its 8 neighbors, else 0.

    It is CenterNet's maximum pooling. A selection stays in integers, where a product with the
    result of a comparison goes through floating point.
    """
    most = tf.nn.max_pool2d(heat, 3, 1, "SAME")
    return tf.where(heat >= most, heat, tf.zeros_like(heat))


def decoded(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return the box of each cell in shares of the image, float32 [b, h, w, 4]."""
    _, height, width, _ = outputs["offset"].shape
    columns, rows = tf.meshgrid(tf.range(width), tf.range(height))
    shares = tf.constant([1 / width, 1 / height], tf.float32)
    corners = tf.cast(tf.stack([columns, rows], axis=-1), tf.float32) * shares
    center = outputs["offset"] * shares + corners
    if "size" not in outputs:
        return tf.concat([center, center], axis=-1)
    half = outputs["size"] / 2
    return tf.concat([center - half, center + half], axis=-1)
