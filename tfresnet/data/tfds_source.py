"""Classification datasets of TensorFlow Datasets, decoded into memory."""

import math
import textwrap
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfresnet.data.images import fit
from tfresnet.errors import UserError, unknown
from tfresnet.native_stderr import captured
from tfresnet.spec import InputSpec

MEMORY_LIMIT = 8 * 2**30  # bytes of decoded images in one split


def open_builder(name: str, data_dir: str | None) -> Any:
    """Return the prepared TFDS builder of ``name``, downloading only when it must.

    ``data_dir`` is the folder that holds ``name/``; None means TFDS_DATA_DIR, then TFDS's own.
    """
    import tensorflow_datasets as tfds

    if data_dir and not Path(data_dir).is_dir():
        raise UserError(f"data.data_dir: expected a folder, {data_dir} does not exist")
    try:
        with captured(replay=False):  # a search for cloud credentials that are not needed
            builder = tfds.builder(name, data_dir=data_dir)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
        known = ["digits", *tfds.list_builders()]
        expected = "digits, a TFDS name or an existing folder of images"
        raise unknown("dataset", name, known, expected) from None
    features = builder.info.features
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    if (kinds.get("image"), kinds.get("label")) != ("Image", "ClassLabel"):
        raise UserError(f"expected a dataset with an image and a class label, {name} has {kinds}")
    if not Path(builder.data_dir).is_dir():
        _download(builder)
    return builder


def _download(builder: Any) -> None:
    try:
        builder.download_and_prepare()
    except Exception as error:  # TFDS passes on whatever its downloader and parsers raise.
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 100, placeholder=" ...")
        raise UserError(
            f"dataset {builder.name} is not in {builder.data_dir} and could not be downloaded; "
            f"connect to the network, or prepare it elsewhere and give --data-dir ({reason})"
        ) from None


def native_size(builder: Any) -> int | None:
    """Return the side of the dataset's images if they are square and all of one size."""
    height, width, _ = builder.info.features["image"].shape
    return height if height == width else None


def load(builder: Any, split: str, spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return a split's images, uint8 [n, H, W, C] fitted to ``spec``, and labels, int64 [n]."""
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        known = ", ".join(builder.info.splits)
        raise UserError(
            f"expected a split of {builder.name} ({known}, or a slice such as train[:90%]), "
            f"got {split!r}: {' '.join(str(error).split())[:120]}"
        ) from None
    if not count:
        raise UserError(f"expected images in {builder.name} {split}, it is empty")
    size = count * math.prod(spec.shape)
    if size > MEMORY_LIMIT:
        raise UserError(
            f"expected at most {MEMORY_LIMIT / 2**30:.0f} GiB of decoded images, {builder.name} "
            f"{split} has {size / 2**30:.0f} GiB at {spec.height}x{spec.width}; use a slice "
            f"({split}[:10%]), a smaller data.image_size, or the images as a folder"
        )
    images = np.empty((count, *spec.shape), np.uint8)
    labels = np.empty(count, np.int64)
    dataset = builder.as_dataset(split=split, as_supervised=True)
    for i, (image, label) in enumerate(dataset.as_numpy_iterator()):
        images[i] = image if image.shape == spec.shape else fit(_picture(image), spec)
        labels[i] = label
    return images, labels


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)
