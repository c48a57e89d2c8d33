"""Where a split's images are: decoded in memory, or in files that are read when needed."""

import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfresnet.data import images as pictures
from tfresnet.spec import InputSpec


class Split(Protocol):
    """Labelled images in a fixed order."""

    def __len__(self) -> int: ...

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Turn index vectors, int64 [b] and all of one length, into images and labels.

        The images are uint8 [b, H, W, C], the labels int64 [b].
        """
        ...


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory, already at the model's size: uint8 [n, H, W, C]."""

    images: np.ndarray
    labels: np.ndarray  # int64 [n]

    def __len__(self) -> int:
        return len(self.labels)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        with tf.device("cpu"):
            images, labels = tf.constant(self.images), tf.constant(self.labels)

        def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return tf.gather(images, index), tf.gather(labels, index)

        return indices.map(gather, tf.data.AUTOTUNE)


@dataclass(frozen=True)
class LazySplit:
    """A split that is loaded when its images are first asked for; its length is known before."""

    count: int
    load: Callable[[], Split]

    def __len__(self) -> int:
        return self.count

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        return self.loaded.batches(indices)

    @cached_property
    def loaded(self) -> Split:
        """The split itself."""
        return self.load()


@dataclass(frozen=True)
class FileSplit:
    """Image files, decoded and fitted in parallel each time that they are needed."""

    paths: list[str]
    labels: np.ndarray  # int64 [n]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.labels)

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

        return one_by_one(indices, load)


@dataclass(frozen=True)
class RecordSplit:
    """Encoded images in TFRecord files, read and decoded each time that they are needed.

    Attributes:
        files: the TFRecord files.
        places: of every record: its file's index, and where it begins and how long it is, in
            bytes; int64 [n, 3].
        parse: turns a record, a string, into an encoded image, a string, and a class, int64.
    """

    files: list[str]
    places: np.ndarray
    parse: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
    spec: InputSpec

    def __len__(self) -> int:
        return len(self.places)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        with tf.device("cpu"):
            places = tf.constant(self.places)
        files, spec = self.files, self.spec

        def read(place: np.ndarray) -> bytes:
            with open(files[place[0]], "rb") as file:
                file.seek(place[1])
                return file.read(place[2])

        def decode(encoded: bytes) -> np.ndarray:
            return pictures.decode(io.BytesIO(encoded), spec, "a record")

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            record = tf.numpy_function(read, [places[index]], tf.string, stateful=False)
            encoded, label = self.parse(tf.ensure_shape(record, []))
            image = tf.numpy_function(decode, [encoded], tf.uint8, stateful=False)
            return tf.ensure_shape(image, spec.shape), label

        return one_by_one(indices, load)


def one_by_one(
    indices: tf.data.Dataset, load: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
) -> tf.data.Dataset:
    """Return batches of what ``load`` gives for each index of a vector, in parallel."""
    length = indices.element_spec.shape[0]
    return indices.unbatch().map(load, tf.data.AUTOTUNE).batch(length, drop_remainder=True)
