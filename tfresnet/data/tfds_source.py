"""Read classification datasets of TensorFlow Datasets, into memory or when needed."""

import logging
import math
import sys
import textwrap
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tensorflow as tf
from PIL import Image

from tfresnet.data import lookup
from tfresnet.data.splits import MEMORY_LIMIT, ArraySplit, LazySplit, RecordSplit, Split, in_memory
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import InputSpec
from tfresnet.system.native_stderr import captured

DECODED_TOGETHER = 500
RETRIES = 2  # of a download; TFDS's own number is 10, with minutes between them


def open_builder(name: str, data_dir: str | None, download: bool = True) -> Any:
    """Return the prepared TFDS builder of a dataset, after downloading it if it is missing.

    ``data_dir`` is the folder that holds ``name/``; None means TFDS_DATA_DIR, then TFDS's own.

    Raises:
        InputError: there is no such dataset, or it is missing and can't be downloaded, or must not
            be (``download`` is off).
    """
    import tensorflow_datasets as tfds

    folder = lookup.data_dir(data_dir, name)
    try:
        with captured(replay=False):  # a search for cloud credentials that are not needed
            builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
        raise lookup.unknown_dataset(name, tfds.list_builders()) from None
    features = builder.info.features
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    if (kinds.get("image"), kinds.get("label")) != ("Image", "ClassLabel"):
        raise InputError(f"expected a dataset with an image and a class label, {name} has {kinds}")
    if not Path(builder.data_dir).is_dir():
        if not download:
            raise lookup.missing_dataset(name, Path(builder.data_dir))
        _download(builder)
    return builder


def _download(builder: Any) -> None:
    """Download and prepare a dataset; print a line that says so, and retry rarely and quietly."""
    from tensorflow_datasets.core.download import downloader

    root = Path(builder.data_dir).parents[1]
    size = builder.info.download_size
    print(
        f"dataset {builder.name} is not in {root}: downloading it"
        + (f" ({size / 2**20:,.0f} MiB)" if size else ""),
        file=sys.stderr,
        flush=True,
    )
    downloader.MAX_RETRIES = RETRIES
    logging.getLogger("urllib3.connectionpool").setLevel(logging.ERROR)  # a warning for each try
    try:
        root.mkdir(parents=True, exist_ok=True)
        with filelock.FileLock(root / f".{builder.name}.lock"):  # a sweep's runs start together
            if not Path(builder.data_dir).is_dir():
                builder.download_and_prepare()
    except Exception as error:  # TFDS passes on whatever its downloader and parsers raise.
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 100, placeholder=" ...")
        raise InputError(
            f"dataset {builder.name} is not in {builder.data_dir} and could not be downloaded; "
            f"connect to the network, or prepare it elsewhere and give --data-dir ({reason})"
        ) from None


def native_size(builder: Any) -> int | None:
    """Return the side of the dataset's images in pixels if all are squares of one size."""
    height, width, _ = builder.info.features["image"].shape
    return height if height == width else None


def load(builder: Any, split: str, spec: InputSpec, cache: str) -> Split:
    """Return a split whose images are cropped and resized to ``spec``, and read when needed.

    ``cache`` is ``memory``, ``disk``, or ``auto``: memory if the decoded images are small enough.
    """
    count = _count(builder, split)
    if in_memory(cache, count, spec):
        return LazySplit(count, lambda: _decoded(builder, split, count, spec))
    if builder.info.file_format.value != "tfrecord":
        size = count * math.prod(spec.shape) / 2**30
        raise InputError(
            f"expected TFRecord files or at most {MEMORY_LIMIT / 2**30:.1f} GiB of decoded images, "
            f"{builder.name} {split} has {builder.info.file_format.value} files and "
            f"{size:.0f} GiB at {spec.height}x{spec.width}; use a slice ({split}[:10%]), "
            "a smaller data.image_size, or data.cache=memory"
        )
    return LazySplit(count, lambda: _on_disk(builder, split, spec))


def check_disjoint(builder: Any, train: str, held_out: str) -> None:
    """Raise an ``InputError`` if two splits share images."""
    ours, theirs = (builder.info.splits[split].file_instructions for split in (train, held_out))
    for one in ours:
        for other in theirs:
            first = max(one.skip, other.skip)
            if one.filename == other.filename and first < min(_end(one), _end(other)):
                raise InputError(
                    f"data.eval_split: expected no image of data.train_split={train}, got "
                    f"{held_out}; take two slices, such as train[:90%] and train[90%:]"
                )


def _end(part: Any) -> float:
    return math.inf if part.take < 0 else part.skip + part.take


def _count(builder: Any, split: str) -> int:
    try:
        count = builder.info.splits[split].num_examples
    except (KeyError, ValueError) as error:
        known = ", ".join(builder.info.splits)
        raise InputError(
            f"expected a split of {builder.name} ({known}, or a slice such as train[:90%]), "
            f"got {split!r}: {' '.join(str(error).split())[:120]}"
        ) from None
    if not count:
        raise InputError(f"expected images in {builder.name} {split}, it is empty")
    return count


def _decoded(builder: Any, split: str, count: int, spec: InputSpec) -> ArraySplit:
    images = np.empty((count, *spec.shape), np.uint8)
    labels = np.empty(count, np.int64)
    dataset = builder.as_dataset(split=split, as_supervised=True)
    whole = spec.crop_fraction == 1
    if whole and builder.info.features["image"].shape == spec.shape:
        # In one go, which is several times as fast.
        start = 0
        for some, classes in dataset.batch(DECODED_TOGETHER).as_numpy_iterator():
            images[start : start + len(some)] = some
            labels[start : start + len(some)] = classes
            start += len(some)
        return ArraySplit(images, labels)
    for i, (image, label) in enumerate(dataset.as_numpy_iterator()):
        images[i] = image if whole and image.shape == spec.shape else fit(_picture(image), spec)
        labels[i] = label
    return ArraySplit(images, labels)


def _picture(image: np.ndarray) -> Image.Image:
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def _on_disk(builder: Any, split: str, spec: InputSpec) -> RecordSplit:
    import tensorflow_datasets as tfds

    parts = builder.info.splits[split].file_instructions
    files = sorted({part.filename for part in parts})
    known = {file: _record_places(file) for file in files}
    places = [
        np.insert(
            _taken(known[part.filename], part.skip, part.take), 0, files.index(part.filename), 1
        )
        for part in parts
    ]

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = builder.info.features.deserialize_example(
            record, decoders={"image": tfds.decode.SkipDecoding()}
        )
        return example["image"], example["label"]

    return RecordSplit(files, np.concatenate(places), parse, spec)


def _taken(records: np.ndarray, skip: int, take: int) -> np.ndarray:
    return records[skip:] if take < 0 else records[skip : skip + take]


def _record_places(path: str) -> np.ndarray:
    """Return the offset and the length of each record of a TFRecord file, int64 [n, 2].

    A record is its length (8 bytes), a checksum (4), the data, and a checksum (4):
    https://www.tensorflow.org/tutorials/load_data/tfrecord.
    """
    found, place, size = [], 0, Path(path).stat().st_size
    with open(path, "rb") as file:
        while place < size:
            file.seek(place)
            length = int.from_bytes(file.read(8), "little")
            found.append((place + 12, length))
            place += 16 + length
    return np.array(found, np.int64).reshape(-1, 2)
