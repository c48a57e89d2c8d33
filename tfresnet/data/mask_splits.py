"""Splits of images with masks."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import tensorflow as tf

from tfresnet.data.masks import MaskFile
from tfresnet.data.splits import Pictures, one_by_one, pictures, rows
from tfresnet.runtime.spec import InputSpec


@dataclass(frozen=True)
class MaskFileSplit:
    """Image files and their masks, decoded and resized in parallel when they are needed.

    Images are resized by ``spec.interpolation``, masks by nearest neighbor. With ``keep`` both stay
    in memory, uint8 [n, H, W, C] and [n, H, W].
    """

    paths: Sequence[str]
    masks: Sequence[MaskFile]
    spec: InputSpec
    keep: bool = False

    def __len__(self) -> int:
        return len(self.paths)

    @cached_property
    def pictures(self) -> Pictures:
        """The images, uint8 [H, W, C] each."""
        return pictures(self.paths, self.spec, self.keep)

    @cached_property
    def mask_pictures(self) -> Pictures:
        """The masks, uint8 [H, W] each."""
        shape = self.spec.shape[:2]
        return Pictures(
            len(self), shape, lambda index: self.masks[index].read(self.spec), self.keep
        )

    def mask(self, index: int) -> np.ndarray:
        """See :class:`.splits.MaskedSplit`."""
        return self.mask_pictures[index]

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`.splits.Split`."""

        def read(index: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            return self.pictures[int(index)], self.mask_pictures[int(index)]

        def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            image, mask = tf.numpy_function(read, [index], (tf.uint8, tf.uint8), stateful=False)
            shape = self.spec.shape
            return tf.ensure_shape(image, shape), tf.ensure_shape(mask, shape[:2])

        return one_by_one(indices, load)


@dataclass(frozen=True)
class MaskArraySplit:
    """Images and masks in memory at the model's size, uint8 [n, H, W, C] and [n, H, W]."""

    images: np.ndarray
    masks: np.ndarray

    def __len__(self) -> int:
        return len(self.images)

    def mask(self, index: int) -> np.ndarray:
        """See :class:`.splits.MaskedSplit`."""
        return self.masks[index]

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`.splits.Split`."""
        return rows((self.images, self.masks), indices)
