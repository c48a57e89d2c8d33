"""Read datasets of TensorFlow Datasets whose images have boxes."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.data import tfds_source
from tfresnet.data.box_split import BoxSplit, Truth, padded
from tfresnet.data.splits import ArraySplit, RecordSplit, Split
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import InputSpec

IGNORED = ("is_crowd", "is_difficult")


def classes(builder: Any) -> tuple[str, ...]:
    """Return the names of the boxes' classes."""
    return tuple(builder.info.features[tfds_source.OBJECTS].feature["label"].names)


def load(builder: Any, split: str, spec: InputSpec, cache: str) -> Split:
    """Return a split of images and boxes, see :func:`tfresnet.data.tfds_source.load`."""
    return tfds_source.load_by(
        builder, split, spec, cache,
        lambda: _decoded(builder, split, spec),
        lambda: _on_disk(builder, split, spec),
    )  # fmt: skip


def _decoded(builder: Any, split: str, spec: InputSpec) -> BoxSplit:
    images, objects = [], []
    for example in builder.as_dataset(split=split).as_numpy_iterator():
        images.append(fit(tfds_source.picture(example["image"]), spec))
        objects.append(example[tfds_source.OBJECTS])
    whole = ArraySplit(np.stack(images), np.arange(len(images)))
    return BoxSplit(whole, _truth(objects, f"{builder.name} {split}"))


def _on_disk(builder: Any, split: str, spec: InputSpec) -> BoxSplit:
    whole = NumberedRecords(*tfds_source.records(builder, split, tfds_source.OBJECTS), spec)
    return BoxSplit(whole, _truth(whole.objects(), f"{builder.name} {split}"))


class NumberedRecords(RecordSplit):
    """Encoded images in TFRecord files, whose target is their index.

    ``parse`` gives an image and its objects.
    """

    def objects(self) -> Iterable[Mapping[str, np.ndarray]]:
        """Return the objects of all images; no image is decoded."""
        parsed = super()._parsed
        indices = tf.data.Dataset.range(len(self))
        return indices.map(lambda index: parsed(index)[1], tf.data.AUTOTUNE).as_numpy_iterator()

    def _parsed(self, index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        encoded, _ = super()._parsed(index)
        return encoded, index


def _truth(objects: Iterable[Mapping[str, np.ndarray]], name: str) -> Truth:
    """Return the boxes of all images; those without a width or a height are left out.

    Raises:
        InputError: there is no box at all.
    """
    boxes, kinds, ignored = [], [], []
    for found in objects:
        box = found["bbox"].reshape(-1, 4)[:, [1, 0, 3, 2]]  # of y1, x1, y2, x2
        box = box.clip(0, 1)
        good = (box[:, 2:] > box[:, :2]).all(axis=1)
        boxes.append(box[good])
        kinds.append(found["label"][good])
        flags = [found[key][good] for key in IGNORED if key in found]
        ignored.append(flags[0] if flags else np.zeros(good.sum(), bool))
    if not any(map(len, boxes)):
        raise InputError(f"expected boxes in {name}, got none")
    return padded(boxes, kinds, ignored)
