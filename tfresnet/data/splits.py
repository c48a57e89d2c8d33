"""The images of a split: decoded in memory, or in files that are decoded when needed."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
import tensorflow as tf

from tfresnet.runtime import preprocess
from tfresnet.runtime.spec import InputSpec
from tfresnet.system import environment

# Bytes of decoded images in one split: the training and the held-out images are two.
MEMORY_LIMIT = min(8 * 2**30, environment.memory() // 4)


class Split(Protocol):
    """Labeled images in a fixed order."""

    def __len__(self) -> int: ...

    @property
    def targets(self) -> np.ndarray:
        """The class of every image, int64 [n]; of multi-label data multi-hot, float32."""
        ...

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Turn index vectors, int64 [b], all of one length, into batches of images and targets.

        The images are uint8 [b, H, W, C], the targets int64 [b] or float32 [b, classes].
        """
        ...


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory, already at the model's size: uint8 [n, H, W, C]."""

    images: np.ndarray
    targets: np.ndarray  # int64 [n] or float32 [n, classes]

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        length = indices.element_spec.shape[0]

        def take(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.images[index], self.targets[index]

        def gather(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            # By NumPy: as a constant of TensorFlow's the images would be in memory three times.
            images, targets = tf.numpy_function(
                take, [index], (self.images.dtype, self.targets.dtype), stateful=False
            )
            return (
                tf.ensure_shape(images, [length, *self.images.shape[1:]]),
                tf.ensure_shape(targets, [length, *self.targets.shape[1:]]),
            )

        return indices.map(gather, tf.data.AUTOTUNE)


@dataclass(frozen=True)
class Subset:
    """Some images of another split: those at ``indices``, int64 [n]."""

    whole: Split
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> np.ndarray:
        """See :class:`Split`."""
        return self.whole.targets[self.indices]

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        length = indices.element_spec.shape[0]

        def translated(index: tf.Tensor) -> tf.Tensor:
            return tf.ensure_shape(tf.gather(self.indices, index), [length])

        return self.whole.batches(indices.map(translated))


@dataclass(frozen=True)
class LazySplit:
    """A split that is loaded when its images are first needed; its length is known before."""

    count: int
    load: Callable[[], Split]

    def __len__(self) -> int:
        return self.count

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        return self.loaded.batches(indices)

    @property
    def targets(self) -> np.ndarray:
        """See :class:`Split`; the split is loaded."""
        return self.loaded.targets

    @cached_property
    def loaded(self) -> Split:
        """The split itself."""
        return self.load()


@dataclass(frozen=True)
class FileSplit:
    """Image files, decoded, cropped and resized in parallel when they are needed.

    With ``keep`` the decoded images stay in memory, uint8 [n, H, W, C].
    """

    paths: list[str]
    targets: np.ndarray  # int64 [n] or float32 [n, classes]
    spec: InputSpec
    keep: bool = False

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""

        def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self._picture(index), self.targets[index]

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, target = tf.numpy_function(
                read, [index], (tf.uint8, self.targets.dtype), stateful=False
            )
            return (
                tf.ensure_shape(image, self.spec.shape),
                tf.ensure_shape(target, self.targets.shape[1:]),
            )

        return one_by_one(indices, load)

    def _picture(self, index: np.ndarray) -> np.ndarray:
        if not self.keep:
            return preprocess.read(self.paths[index], self.spec)
        images, there = self._kept
        if not there[index]:
            images[index] = preprocess.read(self.paths[index], self.spec)
            there[index] = True
        return images[index]

    @cached_property
    def _kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Room for the images, and which are there already."""
        return np.empty((len(self), *self.spec.shape), np.uint8), np.zeros(len(self), bool)


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

        def decode(encoded: bytes) -> np.ndarray:
            return preprocess.read(encoded, self.spec, "a record")

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, target = self._parsed(index)
            image = tf.numpy_function(decode, [encoded], tf.uint8, stateful=False)
            return tf.ensure_shape(image, self.spec.shape), target

        return one_by_one(indices, load)

    @cached_property
    def targets(self) -> np.ndarray:
        """See :class:`Split`; all records are read for it, but no image is decoded."""
        classes = tf.data.Dataset.range(len(self)).map(
            lambda index: self._parsed(index)[1], tf.data.AUTOTUNE
        )
        return np.fromiter(classes.as_numpy_iterator(), np.int64, len(self))

    def _parsed(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return an encoded image and its class."""

        def read(index: np.ndarray) -> bytes:
            number, start, length = self.places[index]
            with open(self.files[number], "rb") as file:
                file.seek(start)
                return file.read(length)

        record = tf.numpy_function(read, [index], tf.string, stateful=False)
        return self.parse(tf.ensure_shape(record, []))


def path_of(split: Split, index: int) -> str | None:
    """Return the file of a split's image; None where images are not files of their own."""
    found = split.loaded if isinstance(split, LazySplit) else split
    return found.paths[index] if isinstance(found, FileSplit) else None


def in_memory(cache: str, count: int, spec: InputSpec) -> bool:
    """Tell whether ``count`` decoded images are kept in memory, by ``data.cache``."""
    return cache == "memory" or (cache == "auto" and count * math.prod(spec.shape) <= MEMORY_LIMIT)


def one_by_one(
    indices: tf.data.Dataset, load: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
) -> tf.data.Dataset:
    """Load the images of index vectors one by one, in parallel, and batch them again."""
    length = indices.element_spec.shape[0]
    return indices.unbatch().map(load, tf.data.AUTOTUNE).batch(length, drop_remainder=True)
