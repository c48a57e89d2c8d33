"""Where a split's images are: decoded in memory, or in files that are read when needed."""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfresnet.data import images as pictures
from tfresnet.spec import InputSpec


class Split(Protocol):
    """Labelled images in a fixed order."""

    @property
    def labels(self) -> np.ndarray:
        """The class of every image, int64 [n]."""
        ...

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Turn index vectors, int64 [b] and all of one length, into images and labels.

        The images are uint8 [b, H, W, C], the labels int64 [b].
        """
        ...


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory, already at the model's size: uint8 [n, H, W, C]."""

    images: np.ndarray
    labels: np.ndarray

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        with tf.device("cpu"):
            images, labels = tf.constant(self.images), tf.constant(self.labels)

        def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(images, index), tf.gather(labels, index)

        return indices.map(gather, tf.data.AUTOTUNE)


@dataclass(frozen=True)
class FileSplit:
    """Image files, decoded and fitted in parallel each time that they are needed."""

    paths: list[str]
    labels: np.ndarray
    spec: InputSpec

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        with tf.device("cpu"):
            paths, labels = tf.constant(self.paths), tf.constant(self.labels)
        spec = self.spec

        def read(path: bytes) -> np.ndarray:
            return pictures.read(path.decode(), spec)

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image = tf.numpy_function(read, [paths[index]], tf.uint8, stateful=False)
            return tf.ensure_shape(image, spec.shape), labels[index]

        length = indices.element_spec.shape[0]
        return indices.unbatch().map(load, tf.data.AUTOTUNE).batch(length, drop_remainder=True)
