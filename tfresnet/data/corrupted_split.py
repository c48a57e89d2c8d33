"""A split of a dataset with corrupted images."""

from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from tfresnet.data.corruptions import corrupt
from tfresnet.data.splits import Split, labels_of


@dataclass(frozen=True)
class CorruptedSplit:
    """A split whose images are corrupted, each in the same way every time.

    Attributes:
        split: the original images.
        name: the corruption.
        severity: 1 to 5.
    """

    split: Split
    name: str
    severity: int

    def __len__(self) -> int:
        return len(self.split)

    @property
    def targets(self) -> np.ndarray:
        """See :class:`LabeledSplit`."""
        return labels_of(self.split)

    def batches(self, indices: tf.data.Dataset) -> tf.data.Dataset:
        """See :class:`Split`."""

        def change(index: np.ndarray, images: np.ndarray) -> np.ndarray:
            return corrupt(images, self.name, self.severity, index.tolist())

        def corrupted(
            index: tf.Tensor, batch: tuple[tf.Tensor, tf.Tensor]
        ) -> tuple[tf.Tensor, tf.Tensor]:
            images, labels = batch
            changed = tf.numpy_function(change, [index, images], tf.uint8, stateful=False)
            return tf.ensure_shape(changed, images.shape), labels

        both = tf.data.Dataset.zip((indices, self.split.batches(indices)))
        return both.map(corrupted, tf.data.AUTOTUNE)
