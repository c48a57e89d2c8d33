"""A split whose truth is boxes: fixed numbers of them, in shares of the picture."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfresnet.data.box_marks import Annotated
from tfresnet.data.splits import FileSplit, Split
from tfresnet.runtime.spec import InputSpec

Truth = dict[str, np.ndarray]
TYPES = {"boxes": tf.float32, "classes": tf.int32, "ignored": tf.bool}


@dataclass(frozen=True)
class BoxSplit:
    """Pictures with their boxes.

    Attributes:
        pictures: a split whose target of each picture is its own index, int64 [n].
        truth: ``boxes`` float32 [n, N, 4] as x1, y1, x2, y2 in shares of the picture's width and
            height, ``classes`` int32 [n, N], -1 where there is no box, and ``ignored`` bool [n, N],
            of boxes that are neither learned nor counted. N is at least 1.
    """

    pictures: Split
    truth: Truth

    def __len__(self) -> int:
        return len(self.pictures)

    @property
    def paths(self) -> list[str]:
        """The files of the pictures; none where they are not files of their own."""
        return getattr(self.pictures, "paths", [])

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`.splits.Split`; the truth of a batch is a dictionary as ``truth`` is."""
        length = indices.element_spec.shape[0]

        def take(index: np.ndarray) -> list[np.ndarray]:
            return [self.truth[key][index] for key in TYPES]

        def with_truth(images: tf.Tensor, index: tf.Tensor) -> tuple[tf.Tensor, dict]:
            # By NumPy: as constants the boxes of large data sets would be part of the graph.
            found = tf.numpy_function(take, [index], [*TYPES.values()], stateful=False)
            truth = {
                key: tf.ensure_shape(values, [length, *self.truth[key].shape[1:]])
                for key, values in zip(TYPES, found, strict=True)
            }
            return images, truth

        return self.pictures.batches(indices).map(with_truth, tf.data.AUTOTUNE)


def of_files(pictures: Sequence[Annotated], spec: InputSpec, keep: bool) -> BoxSplit:
    """Return the split of picture files, which are decoded when needed.

    Args:
        pictures: with their boxes, in pixels.
        spec: the size that they are resized to; ``fit`` must be ``stretch``, so that shares of the
            picture are shares of the model's input.
        keep: whether decoded pictures stay in memory.
    """
    paths, indices = [str(p.path) for p in pictures], np.arange(len(pictures))
    shares = [p.boxes / np.array(p.size * 2, np.float32) for p in pictures]
    truth = padded(shares, [p.classes for p in pictures], [p.ignored for p in pictures])
    return BoxSplit(FileSplit(paths, indices, spec, keep), truth)


def padded(
    boxes: Sequence[np.ndarray],
    classes: Sequence[np.ndarray],
    ignored: Sequence[np.ndarray] | None = None,
) -> Truth:
    """Return the boxes of pictures with different numbers of them as arrays of one shape.

    Args:
        boxes: of each picture, in shares, float [k, 4].
        classes: of these, int [k].
        ignored: bool [k] for each picture; by default no box is.

    Returns:
        The truth that :class:`BoxSplit` describes.
    """
    most = max([1, *map(len, classes)])
    truth: Truth = {
        "boxes": np.zeros((len(boxes), most, 4), np.float32),
        "classes": np.full((len(boxes), most), -1, np.int32),
        "ignored": np.zeros((len(boxes), most), bool),
    }
    given = {"boxes": boxes, "classes": classes, "ignored": ignored or ()}
    for key, rows in given.items():
        for target, row in zip(truth[key], rows, strict=False):
            target[: len(row)] = row
    return truth
