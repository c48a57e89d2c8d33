"""Read datasets of TensorFlow Datasets whose images have masks."""

from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf
from PIL import Image

from tfresnet.data import class_file, masks, tfds_source
from tfresnet.data.mask_splits import MaskArraySplit
from tfresnet.data.splits import RecordSplit, Split
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.picture_files import opened
from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import VOID, InputSpec
from tfresnet.system.files import expanded


class MaskClasses(NamedTuple):
    """The classes in the masks of a dataset.

    Attributes:
        labels: their names.
        first: the value of the first class's pixels; with 1, 0 is void.
    """

    labels: tuple[str, ...]
    first: int = 0

    def indices(self, values: np.ndarray, name: str) -> np.ndarray:
        """Return the class indices, uint8, of a mask's values, uint8 [H, W] or [H, W, 1].

        Raises:
            InputError: a value that no class has, or several channels.
        """
        if values.ndim == 3 and values.shape[2] != 1:
            raise InputError(f"{name}: expected masks of one channel, got {values.shape[2]}")
        found = values.reshape(values.shape[:2]).astype(np.int16) - self.first
        found[(found < 0) | (found == VOID - self.first)] = VOID
        if (wrong := found[(found >= len(self.labels)) & (found != VOID)]).size:
            last = self.first + len(self.labels) - 1
            raise InputError(
                f"{name}: expected masks with values from {self.first} to {last}, or 255 for void, "
                f"got {wrong.max() + self.first}"
            )
        return found.astype(np.uint8)


# Datasets whose masks have no names of their own.
KNOWN = {"oxford_iiit_pet": MaskClasses(("pet", "background", "border"), first=1)}


def classes(builder: Any, file: str | None, labels: tuple[str, ...]) -> MaskClasses:
    """Return the classes in a dataset's masks.

    The feature may have names, TFDS's ``LabeledImage``; a few datasets are known; for others a file
    names the classes.

    Args:
        builder: of TFDS.
        file: ``data.labels``, or None.
        labels: of an earlier run, which replace the file.

    Raises:
        InputError: they are not known, and there is no file.
    """
    feature = builder.info.features[tfds_source.mask_feature(builder.info.features)]
    if names := getattr(feature, "names", None):
        return MaskClasses(tuple(names))
    if known := KNOWN.get(builder.name):
        return known
    if labels:
        return MaskClasses(labels)
    if file is None:
        raise InputError(
            f"data.labels: expected a file that names the classes in {builder.name}'s masks, one a "
            "line from index 0 on, since the dataset does not; got none"
        )
    return MaskClasses(class_file.read(expanded(file)).labels)


def load(builder: Any, split: str, spec: InputSpec, cache: str, found: MaskClasses) -> Split:
    """Return a split of images and masks, see :func:`tfresnet.data.tfds_source.load`."""
    mask = tfds_source.mask_feature(builder.info.features)
    assert mask, "expected a dataset that task_of says has masks"

    def on_disk() -> MaskRecordSplit:
        files, places, parse = tfds_source.records(builder, split, mask)
        return MaskRecordSplit(files, places, parse, spec, found)

    return tfds_source.load_by(
        builder, split, spec, cache, lambda: _decoded(builder, split, spec, mask, found), on_disk
    )


def _decoded(
    builder: Any, split: str, spec: InputSpec, mask: str, found: MaskClasses
) -> MaskArraySplit:
    examples = list(builder.as_dataset(split=split).as_numpy_iterator())
    images = [fit(tfds_source.picture(example["image"]), spec) for example in examples]
    truth = [
        masks.fit(Image.fromarray(found.indices(example[mask], builder.name)), spec)
        for example in examples
    ]
    return MaskArraySplit(np.stack(images), np.stack(truth))


@dataclass(frozen=True)
class MaskRecordSplit(RecordSplit):
    """Encoded images and masks in TFRecord files, read and decoded each time.

    ``parse`` gives both as strings.
    """

    classes: MaskClasses

    def mask(self, index: int) -> np.ndarray:
        """See :class:`.splits.MaskedSplit`."""
        _, encoded = self._parsed(tf.constant(index, tf.int64))
        return self._decode_mask(encoded.numpy())

    def _truth(self, parsed: tf.Tensor) -> tf.Tensor:
        decode: Callable[[bytes], np.ndarray] = self._decode_mask
        mask = tf.numpy_function(decode, [parsed], tf.uint8, stateful=False)
        return tf.ensure_shape(mask, self.spec.shape[:2])

    def _decode_mask(self, encoded: bytes) -> np.ndarray:
        with opened(BytesIO(encoded)) as picture:
            values = self.classes.indices(masks.indices(picture), "a record")
        return masks.fit(Image.fromarray(values), self.spec)
