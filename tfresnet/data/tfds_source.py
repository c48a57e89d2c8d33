"""Open datasets of TensorFlow Datasets, and read those with labels into memory or when needed."""

import logging
import math
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import filelock
import numpy as np
import tensorflow as tf
from PIL import Image

from tfresnet.data import lookup
from tfresnet.data.lookup import Task
from tfresnet.data.splits import MEMORY_LIMIT, ArraySplit, LazySplit, RecordSplit, Split, in_memory
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import InputSpec
from tfresnet.system.native_stderr import captured

DECODED_TOGETHER = 500
RETRIES = 2  # of a download; TFDS's own number is 10, with minutes between them


# What masks are called, in the order in which they are looked for.
MASKS = ("segmentation_mask", "segmentation_label", "mask", "label_map", "segmentation",
         "annotation")  # fmt: skip
OBJECTS = "objects"  # with boxes


def open_builder(name: str, data_dir: str | None, download: bool = True, task: str = "auto") -> Any:
    """Return the prepared TFDS builder of a dataset, after downloading it if it is missing.

    Args:
        name: of the dataset, as TFDS has it.
        data_dir: the folder that holds ``name/``; None means TFDS_DATA_DIR, then TFDS's own.
        download: whether it may be downloaded.
        task: ``data.task``, which the dataset must have the truth for.

    Raises:
        InputError: there is no such dataset, or it is missing and can't be downloaded, or must not
            be, or it has not what the task needs.
    """
    import tensorflow_datasets as tfds

    folder = lookup.data_dir(data_dir, name)
    try:
        with captured(replay=False):  # a search for cloud credentials that are not needed
            builder = tfds.builder(name, data_dir=folder)
    except (tfds.core.DatasetNotFoundError, ValueError, AssertionError):
        raise lookup.unknown_dataset(name, tfds.list_builders()) from None
    task_of(builder.info.features, task, name)
    if not Path(builder.data_dir).is_dir():
        if not download:
            raise lookup.missing_dataset(name, Path(builder.data_dir))
        _download(builder)
    return builder


def task_of(features: Any, given: str, name: str) -> Task:
    """Return what is learned from a dataset: ``given``, or with ``auto`` what it has.

    A dataset that has labels and masks or boxes is one of labels, unless the task is given; one
    that has masks and boxes is one of boxes.

    Raises:
        InputError: the dataset has not what the task needs.
    """
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    tasks: dict[Task, bool] = {
        "classify": kinds.get("label") == "ClassLabel",
        "detect": has_boxes(features),
        "segment": mask_feature(features) is not None,
    }
    found = [task for task, there in tasks.items() if there and kinds.get("image") == "Image"]
    if not found:
        raise InputError(
            f"expected a dataset with an image and a class label, a mask or boxes, {name} has "
            f"{kinds}"
        )
    if given != "auto" and given not in found:
        raise InputError(
            f"data.task: expected {' or '.join(found)} with {name}, which has {kinds}, got {given}"
        )
    return next(task for task in found if given in ("auto", task))


def mask_feature(features: Any) -> str | None:
    """Return the name of the feature with the masks; None if there is none."""
    kinds = {key: type(feature).__name__ for key, feature in features.items()}
    return next((key for key in MASKS if kinds.get(key) in ("Image", "LabeledImage")), None)


def has_boxes(features: Any) -> bool:
    """Tell whether images have objects with a box and a class each, as COCO's and VOC's."""
    inside = getattr(features[OBJECTS], "feature", {}) if OBJECTS in features else {}
    kinds = {key: type(inside[key]).__name__ for key in ("bbox", "label") if key in inside}
    return kinds == {"bbox": "BBoxFeature", "label": "ClassLabel"}


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
    return load_by(
        builder, split, spec, cache,
        lambda: _decoded(builder, split, count, spec),
        lambda: RecordSplit(*records(builder, split, "label"), spec),
    )  # fmt: skip


def load_by(
    builder: Any,
    split: str,
    spec: InputSpec,
    cache: str,
    decoded: Callable[[], Split],
    on_disk: Callable[[], Split],
) -> Split:
    """Return a split that is loaded when needed, in one of two ways as ``cache`` says."""
    count = _count(builder, split)
    if in_memory(cache, count, spec):
        return LazySplit(count, decoded)
    if builder.info.file_format.value != "tfrecord":
        size = count * math.prod(spec.shape) / 2**30
        raise InputError(
            f"expected TFRecord files or at most {MEMORY_LIMIT / 2**30:.1f} GiB of decoded images, "
            f"{builder.name} {split} has {builder.info.file_format.value} files and "
            f"{size:.0f} GiB at {spec.height}x{spec.width}; use a slice ({split}[:10%]), "
            "a smaller data.image_size, or data.cache=memory"
        )
    return LazySplit(count, on_disk)


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
        images[i] = image if whole and image.shape == spec.shape else fit(picture(image), spec)
        labels[i] = label
    return ArraySplit(images, labels)


def picture(image: np.ndarray) -> Image.Image:
    """Return pixels [H, W, 1 or 3] as a Pillow image."""
    return Image.fromarray(image[..., 0] if image.shape[-1] == 1 else image)


def records(
    builder: Any, split: str, truth: str
) -> tuple[list[str], np.ndarray, Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]]:
    """Return the files, the places and the parser of :class:`.splits.RecordSplit`.

    Args:
        builder: of TFDS.
        split: its name or a slice.
        truth: the feature that the parser gives beside the encoded image; an image is encoded too.
    """
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

    features = builder.info.features
    encoded = [key for key in ("image", truth) if isinstance(features[key], tfds.features.Image)]

    def parse(record: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        example = builder.info.features.deserialize_example(
            record, decoders={key: tfds.decode.SkipDecoding() for key in encoded}
        )
        return example["image"], example[truth]

    return files, np.concatenate(places), parse


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
