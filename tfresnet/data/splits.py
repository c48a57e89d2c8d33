"""The images of a split: decoded in memory, or in files that are decoded when needed."""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, cast

import numpy as np
import tensorflow as tf

from tfresnet.runtime import preprocess
from tfresnet.runtime.spec import InputSpec
from tfresnet.system import environment

# Bytes of decoded images in one split: the training and the held-out images are two.
MEMORY_LIMIT = min(8 * 2**30, environment.memory() // 4)


class Split(Protocol):
    """Images in a fixed order, with what is true of them."""

    def __len__(self) -> int: ...

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """Turn index vectors, int64 [b], all of one length, into batches of images and truth.

        The images are uint8 [b, H, W, C]. Their truth is, with labels, int64 [b] or multi-hot
        float32 [b, classes]; with masks uint8 [b, H, W], the class of each pixel or 255 for void;
        with boxes a dict of tensors.
        """
        ...


class LabeledSplit(Split, Protocol):
    """Images with labels."""

    @property
    def targets(self) -> np.ndarray:
        """The class of every image, int64 [n]; of multi-label data multi-hot, float32."""
        ...


class MaskedSplit(Split, Protocol):
    """Images with masks."""

    def mask(self, index: int) -> np.ndarray:
        """Return the mask of an image, uint8 [H, W]."""
        ...


def labels_of(split: Split) -> np.ndarray:
    """Return the targets of a :class:`LabeledSplit`, also of one in a wrapper."""
    return cast(LabeledSplit, split).targets


def mask_of(split: Split, index: int) -> np.ndarray:
    """Return a mask of a :class:`MaskedSplit`, also of one in a wrapper."""
    return cast(MaskedSplit, split).mask(index)


def pixel_counts(split: Split, classes: int) -> np.ndarray:
    """Count the pixels of each class in each mask of a split, int64 [n, classes], without void."""

    def count(index: int) -> np.ndarray:
        return np.bincount(mask_of(split, index).reshape(-1), minlength=256)[:classes]

    with ThreadPoolExecutor() as pool:
        return np.stack([*pool.map(count, range(len(split)))])


@dataclass(frozen=True)
class ArraySplit:
    """Images that fit in memory, already at the model's size: uint8 [n, H, W, C]."""

    images: np.ndarray
    targets: np.ndarray  # int64 [n] or float32 [n, classes]

    def __len__(self) -> int:
        return len(self.targets)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""
        return rows((self.images, self.targets), indices)


@dataclass(frozen=True)
class Subset:
    """Some images of another split: those at ``indices``, int64 [n]."""

    whole: Split
    indices: np.ndarray

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def targets(self) -> np.ndarray:
        """See :class:`LabeledSplit`."""
        return labels_of(self.whole)[self.indices]

    def mask(self, index: int) -> np.ndarray:
        """See :class:`MaskedSplit`."""
        return mask_of(self.whole, self.indices[index])

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
        """See :class:`LabeledSplit`; the split is loaded."""
        return labels_of(self.loaded)

    def mask(self, index: int) -> np.ndarray:
        """See :class:`MaskedSplit`; the split is loaded."""
        return mask_of(self.loaded, index)

    @cached_property
    def loaded(self) -> Split:
        """The split itself."""
        return self.load()


@dataclass(frozen=True)
class Pictures:
    """Picture files, each decoded and fitted to an input when it is needed.

    With ``keep`` what was decoded stays in memory.

    Attributes:
        shape: of what a picture becomes: uint8 [*shape].
        read: decodes and fits the picture of an index.
    """

    count: int
    shape: tuple[int, ...]
    read: Callable[[int], np.ndarray]
    keep: bool

    def __getitem__(self, index: int) -> np.ndarray:
        """Return a picture, uint8 [*shape]."""
        if not self.keep:
            return self.read(index)
        pictures, there = self._kept
        if not there[index]:
            pictures[index] = self.read(index)
            there[index] = True
        return pictures[index]

    @cached_property
    def _kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Room for the pictures, and which are there already."""
        return np.empty((self.count, *self.shape), np.uint8), np.zeros(self.count, bool)


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

    @cached_property
    def pictures(self) -> Pictures:
        """The images, uint8 [H, W, C] each."""
        return pictures(self.paths, self.spec, self.keep)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""

        def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.pictures[int(index)], self.targets[index]

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, target = tf.numpy_function(
                read, [index], (tf.uint8, self.targets.dtype), stateful=False
            )
            return (
                tf.ensure_shape(image, self.spec.shape),
                tf.ensure_shape(target, self.targets.shape[1:]),
            )

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

        def decode(encoded: bytes) -> np.ndarray:
            return preprocess.read(encoded, self.spec, "a record")

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            encoded, target = self._parsed(index)
            image = tf.numpy_function(decode, [encoded], tf.uint8, stateful=False)
            return tf.ensure_shape(image, self.spec.shape), self._truth(target)

        return one_by_one(indices, load)

    @cached_property
    def targets(self) -> np.ndarray:
        """See :class:`LabeledSplit`; all records are read for it, but no image is decoded."""
        classes = tf.data.Dataset.range(len(self)).map(
            lambda index: self._parsed(index)[1], tf.data.AUTOTUNE
        )
        return np.fromiter(classes.as_numpy_iterator(), np.int64, len(self))

    def _truth(self, parsed: tf.Tensor) -> tf.Tensor:
        """Return what is true of an image, from what ``parse`` gave."""
        return parsed

    def _parsed(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return an encoded image and its class."""

        def read(index: np.ndarray) -> bytes:
            number, start, length = self.places[index]
            with open(self.files[number], "rb") as file:
                file.seek(start)
                return file.read(length)

        record = tf.numpy_function(read, [index], tf.string, stateful=False)
        return self.parse(tf.ensure_shape(record, []))


def pictures(paths: Sequence[str], spec: InputSpec, keep: bool) -> Pictures:
    """Return the pictures in files, each fitted to a model's input."""
    return Pictures(len(paths), spec.shape, lambda index: preprocess.read(paths[index], spec), keep)


def rows(arrays: tuple[np.ndarray, ...], indices: tf.data.Dataset) -> tf.data.Dataset:
    """Turn index vectors, int64 [b], into tuples of the rows [b, ...] of all arrays."""
    length = indices.element_spec.shape[0]

    def take(index: np.ndarray) -> tuple[np.ndarray, ...]:
        return tuple(array[index] for array in arrays)

    def gather(index: tf.Tensor) -> tuple[tf.Tensor, ...]:
        # By NumPy: as a constant of TensorFlow's the images would be in memory three times.
        kinds = tuple(array.dtype for array in arrays)
        found = tf.numpy_function(take, [index], kinds, stateful=False)
        return tuple(
            tf.ensure_shape(part, [length, *array.shape[1:]])
            for part, array in zip(found, arrays, strict=True)
        )

    return indices.map(gather, tf.data.AUTOTUNE)


def path_of(split: Split, index: int) -> str | None:
    """Return the file of a split's image; None where images are not files of their own."""
    found = split.loaded if isinstance(split, LazySplit) else split
    paths = getattr(found, "paths", None)
    return paths[index] if paths else None


def in_memory(cache: str, count: int, spec: InputSpec) -> bool:
    """Tell whether ``count`` decoded images are kept in memory, by ``data.cache``."""
    return cache == "memory" or (cache == "auto" and count * math.prod(spec.shape) <= MEMORY_LIMIT)


def one_by_one(
    indices: tf.data.Dataset, load: Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]
) -> tf.data.Dataset:
    """Load the images of index vectors one by one, in parallel, and batch them again."""
    length = indices.element_spec.shape[0]
    return indices.unbatch().map(load, tf.data.AUTOTUNE).batch(length, drop_remainder=True)
