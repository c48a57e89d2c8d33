"""Turn the maps of a center head into scores and boxes or points: part of an exported graph.

All operations are such that an integer file computes them with integers.
"""

import tensorflow as tf


def scores_and_boxes(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the scores and the box of each cell, of h * w cells row by row.

    Args:
        outputs: ``heat`` logits [b, h, w, classes], ``offset`` [b, h, w, 2] in cells, and ``size``
            [b, h, w, 2] in shares of the image.

    Returns:
        ``scores`` float32 [b, h * w, classes], 0 where a neighbor has a larger one, and ``boxes``
        float32 [b, h * w, 4], x1, y1, x2, y2 in shares of the image.
    """
    _, height, width, classes = outputs["heat"].shape
    scores = peaks(tf.sigmoid(outputs["heat"]))
    boxes = decoded(outputs)
    return {
        "scores": tf.reshape(scores, [-1, height * width, classes], name="scores"),
        "boxes": tf.reshape(boxes, [-1, height * width, 4], name="boxes"),
    }


def scores_and_points(outputs: dict[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the scores and the center of each cell, of h * w cells row by row.

    Args:
        outputs: ``heat`` and ``offset`` as above.

    Returns:
        ``scores`` float32 [b, h * w, classes], 0 where a neighbor has a larger one or is an equal
        one that comes first, and ``points`` float32 [b, h * w, 2], x and y in shares of the image.
    """
    _, height, width, classes = outputs["heat"].shape
    scores = first_peaks(tf.sigmoid(outputs["heat"]))
    return {
        "scores": tf.reshape(scores, [-1, height * width, classes], name="scores"),
        "points": tf.reshape(centers(outputs["offset"]), [-1, height * width, 2], name="points"),
    }


def peaks(heat: tf.Tensor) -> tf.Tensor:
    """Return heat [b, h, w, classes] where it is the largest among its 8 neighbors, else 0.

    It is CenterNet's maximum pooling. A selection stays in integers, where a product with the
    result of a comparison goes through floating point.
    """
    most = tf.nn.max_pool2d(heat, 3, 1, "SAME")
    return _only(heat, heat >= most)


def first_peaks(heat: tf.Tensor) -> tf.Tensor:
    """Return heat as :func:`peaks` does, of equal neighbors only the first, row by row.

    Scores of 8 bits are often equal, and points have no areas by which one could be left out later.
    """
    padded = tf.pad(heat, [[0, 0], [1, 0], [1, 1], [0, 0]])
    above, left = tf.nn.max_pool2d(padded[:, :-1], [1, 3], 1, "VALID"), padded[:, 1:, :-2]
    return _only(peaks(heat), heat > tf.maximum(above, left))


def _only(heat: tf.Tensor, where: tf.Tensor) -> tf.Tensor:
    """Return heat where a condition holds, else 0.

    The zeros are a constant also where the batch has any size: computed ones would get a scale of
    their own, which the operation does not take.
    """
    return tf.where(where, heat, tf.zeros([1, *heat.shape[1:]]))


def decoded(outputs: dict[str, tf.Tensor]) -> tf.Tensor:
    """Return the box of each cell in shares of the image, float32 [b, h, w, 4]."""
    center, half = centers(outputs["offset"]), outputs["size"] / 2
    return tf.concat([center - half, center + half], axis=-1)


def centers(offset: tf.Tensor) -> tf.Tensor:
    """Return the center of each cell in shares of the image, float32 [b, h, w, 2]."""
    _, height, width, _ = offset.shape
    columns, rows = tf.meshgrid(tf.range(width), tf.range(height))
    shares = tf.constant([1 / width, 1 / height], tf.float32)
    corners = tf.cast(tf.stack([columns, rows], axis=-1), tf.float32) * shares
    return offset * shares + corners
