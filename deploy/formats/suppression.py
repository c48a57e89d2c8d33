"""Non-maximum suppression inside a detector's file: ``tfresnet export --nms``.

The answer is that of ``runtime.boxes``, in the outputs and the order of TensorFlow's Object
Detection API, which MediaPipe's ObjectDetector reads. It is made of builtin operations:
TFLite_Detection_PostProcess takes sizes as logarithms, which int8 rounds, and loses a class when
an interpreter has two threads (ai-edge-litert 2.3).
"""

from collections.abc import Mapping

import tensorflow as tf

from tfresnet.runtime.boxes import CANDIDATES, LIMIT, LOWEST, OVERLAP
from tfresnet.runtime.decode import OUTPUTS
from tfresnet.runtime.metadata import BOXES, DETECTIONS, SCORES

UNITS = 2**14  # in the side of a picture: in whole numbers no converter quantizes what is compared
APART = 2 * UNITS  # so that boxes of two classes do not overlap
SWAPPED = (1, 0, 3, 2)  # from x1 y1 x2 y2 to y1 x1 y2 x2


def suppressed(found: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
    """Return the best boxes of one picture without those that overlap a better one of their class.

    Args:
        found: ``boxes`` float32 [1, n, 4], x1 y1 x2 y2 in shares of the picture, and ``scores``
            float32 [1, n, classes].

    Returns:
        ``detection_boxes`` float32 [1, 100, 4], y1 x1 y2 x2; ``detection_classes`` and
        ``detection_scores`` float32 [1, 100], best first; ``num_detections`` float32 [1]: how many
        of the 100 are there.
    """
    _, count, classes = found[SCORES].shape
    flat = tf.reshape(found[SCORES], [count * classes])
    candidates = min(CANDIDATES, count * classes)
    scores, index = tf.math.top_k(flat, candidates)
    kind = index % classes
    boxes = tf.gather(found[BOXES][0], index // classes)
    boxes = tf.clip_by_value(tf.gather(boxes, SWAPPED, axis=-1), 0.0, 1.0)
    places = tf.cast(boxes * UNITS, tf.int32)
    # A box without an area, which LiteRT would find a hundred times, is none.
    sides = tf.reduce_min(places[:, 2:] - places[:, :2], axis=-1)
    # Ranks in place of scores, as interpreters do not agree on which of two equal ones is first.
    ranks = tf.where((scores >= LOWEST) & (sides > 0), tf.range(candidates, 0, -1), 0)
    places += APART * kind[:, None]
    kept, there = tf.raw_ops.NonMaxSuppressionV4(
        boxes=tf.cast(places, tf.float32),
        scores=tf.cast(ranks, tf.float32),
        max_output_size=LIMIT,
        iou_threshold=OVERLAP,
        score_threshold=0.5,
        pad_to_max_output_size=True,
    )
    best = tf.where(tf.range(LIMIT) < there, tf.gather(scores, kept), 0.0)
    # The cast comes last: the converter rounds outputs to 8 bits, which is undone behind a cast.
    kinds, number = (tf.cast(value[None], tf.float32) for value in (tf.gather(kind, kept), there))
    outputs = (tf.gather(boxes, kept)[None], kinds, best[None], number)
    return {
        name: tf.identity(value, name=name)
        for name, value in zip(OUTPUTS[DETECTIONS], outputs, strict=True)
    }
