"""Load the dataset that ``data.dataset`` names: its splits and its specs."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.config.sections import DataConfig
from tfresnet.data import (
    box_source,
    digits,
    duplicates,
    folder,
    holdout,
    label_table,
    lookup,
    mask_source,
    scene_source,
    tfds_boxes,
    tfds_masks,
    tfds_source,
)
from tfresnet.data.dataset import Dataset, input_spec
from tfresnet.data.splits import ArraySplit, FileSplit, in_memory
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import (
    CLASSIFICATION,
    DETECTION,
    MULTI_LABEL,
    POINTS,
    SEGMENTATION,
    InputSpec,
    OutputSpec,
)
from tfresnet.system.files import expanded, read_text

# What each task's data have.
TRUTHS = {
    CLASSIFICATION: "one label a picture",
    MULTI_LABEL: "any number of labels a picture",
    SEGMENTATION: "a mask for each picture",
    DETECTION: "boxes",
    POINTS: "boxes",
}
RATIO = 5  # of the largest class to the smallest; above it a note is printed


def load(
    config: DataConfig,
    default_size: int | tuple[int, int],
    labels: tuple[str, ...] = (),
    default_crop: float | None = None,
) -> Dataset:
    """Return the dataset that the configuration names.

    Args:
        config: the data section.
        default_size: a side, or height and width, in pixels; used when neither the configuration
            nor the dataset has a size.
        labels: of a folder, in the order of an earlier run; without them ``data.labels`` gives the
            order, or else their names.
        default_crop: share of the sides that the center crop of images with a label keeps, where
            the configuration leaves that open and they are larger than 64 pixels; None is 0.875.

    Raises:
        InputError: there is no such dataset or folder, images are unreadable, or the splits do not
            fit each other.
    """
    kind, task = lookup.kind(config), lookup.task(config)
    if kind == "digits":
        return _digits(config) if task == "classify" else scene_source.load(config, task)
    if kind == "folder" and task == "segment":
        return mask_source.load(lookup.folder(config), config, default_size)
    if kind == "folder" and task == "detect":
        return box_source.load(lookup.folder(config), config, default_size, labels)
    if kind == "folder":
        return _folder(lookup.folder(config), config, default_size, labels, default_crop)
    return _tfds(config, default_size, labels, default_crop)


def is_tfds(config: DataConfig) -> bool:
    """Tell whether the dataset is one of TFDS, whose splits can be sliced."""
    return lookup.kind(config) == "tfds"


def check_disjoint(config: DataConfig) -> None:
    """Raise an ``InputError`` if training and held-out images overlap."""
    if is_tfds(config):
        builder = tfds_source.open_builder(config.dataset, config.data_dir, task=config.task)
        tfds_source.check_disjoint(builder, config.train_split, config.eval_split)


def check_present(config: DataConfig) -> None:
    """Raise an ``InputError`` if the dataset would have to be downloaded."""
    if is_tfds(config):
        tfds_source.open_builder(config.dataset, config.data_dir, False, config.task)


def load_for(spec: InputSpec, output: OutputSpec, config: DataConfig) -> Dataset:
    """Return the dataset for a model that was trained with ``spec`` and ``output``.

    Raises:
        InputError: the dataset's labels or image size are not the model's.
    """
    same = {"channels": spec.shape[2], "crop_fraction": spec.crop_fraction}
    dataset = load(config.model_copy(update=same), (spec.height, spec.width), output.labels)
    if TRUTHS[output.task] != TRUTHS[dataset.output.task]:
        raise InputError(
            f"{config.dataset}: expected {TRUTHS[output.task]}, as the model was trained "
            f"with, got {TRUTHS[dataset.output.task]}"
        )
    pairs = {
        "labels": (output.labels, dataset.output.labels),
        "shape": (spec.shape, dataset.spec.shape),
    }
    for key, (expected, got) in pairs.items():
        if expected != got:
            raise InputError(
                f"{config.dataset}: expected the {key} that the model was trained with, "
                f"{list(expected)}, got {list(got)}"
            )
    return replace(dataset, spec=spec, output=output)


def _digits(config: DataConfig) -> Dataset:
    spec = input_spec(config, digits.IMAGE_SIZE)
    images, classes = digits.fitted(spec)
    train, held_out = holdout.of_classes(classes, config)
    note = "digits are scikit-learn's; for the folder of that name: --dataset ./digits"
    return Dataset(
        ArraySplit(images[train], classes[train]),
        ArraySplit(images[held_out], classes[held_out]),
        spec,
        OutputSpec(CLASSIFICATION, digits.LABELS),
        (note,) if Path(config.dataset).is_dir() else (),
    )


def _folder(
    path: Path,
    config: DataConfig,
    default_size: int | tuple[int, int],
    labels: tuple[str, ...],
    default_crop: float | None,
) -> Dataset:
    found = folder.check(_scan(path, config, labels), config.skip_broken)
    paths, classes = found.train
    spec = input_spec(config, default_size, crop=default_crop)
    output = OutputSpec(MULTI_LABEL if found.multi_label else CLASSIFICATION, found.labels)
    if found.held_out:
        files, held_out = found.train, found.held_out
    else:
        names = [str(p.relative_to(path)) for p in paths]
        drawn_of = label_table.rarest_labels(classes) if found.multi_label else classes
        files, held_out = (
            ([paths[i] for i in part], [classes[i] for i in part])
            for part in holdout.of_files(names, drawn_of, config, found.multi_label)
        )
    files, left_out = duplicates.without_duplicates(files, held_out, found.required)
    as_array = label_table.multi_hot if found.multi_label else _integers
    train, test = (
        FileSplit(
            [str(f) for f in part],
            as_array(indices, len(found.labels)),
            spec,
            keep=in_memory(config.cache, len(part), spec),
        )
        for part, indices in (files, held_out)
    )
    uneven = label_notes if found.multi_label else imbalance
    advice = [] if labels else uneven(train.targets, found.labels)  # on how to begin a run
    return Dataset(train, test, spec, output, (*found.notes, *left_out, *advice))


def _integers(classes: list[int], count: int) -> np.ndarray:
    """Return classes, all below ``count``, as int64 [n]."""
    return np.array(classes, np.int64)


def _scan(path: Path, config: DataConfig, labels: tuple[str, ...]) -> folder.Scan:
    """Find the images of a folder; its labels are in the order of ``labels``, if given."""
    if labels:
        return label_table.scan_folder(path, labels, config.skip_broken)
    if not config.labels:
        found = label_table.scan_folder(path, (), config.skip_broken)
        return replace(found, notes=(*found.notes, *_other_order(path, found.labels)))
    names = _labels_in(expanded(config.labels))
    found = label_table.scan_folder(path, names, config.skip_broken)
    if found.labels != names or len(set(names)) < len(names):
        odd = sorted(set(found.labels) ^ set(names)) or sorted(names)
        raise InputError(
            f"data.labels: expected each of the {len(found.labels)} classes once in {config.labels}"
            f", a name a line; look at {', '.join(odd[:5])}"
        )
    return found


def _other_order(path: Path, labels: tuple[str, ...]) -> list[str]:
    """Return a note if a file beside the class folders lists them in another order."""
    for file in (path / "classes.txt", path / "labels.txt"):
        try:
            order = _labels_in(file)
        except InputError:  # there is none, or it is no text
            continue
        if order != labels and sorted(order) == sorted(labels):
            return [
                "classes are in the order of their names; for the order in that file: "
                f"--set data.labels={file}"
            ]
    return []


def _labels_in(file: Path) -> tuple[str, ...]:
    text = read_text(file).removeprefix("\ufeff")  # Windows' editors begin with it
    return tuple(name for line in text.splitlines() if (name := line.strip()))


def _tfds(
    config: DataConfig,
    default_size: int | tuple[int, int],
    labels: tuple[str, ...],
    default_crop: float | None,
) -> Dataset:
    builder = tfds_source.open_builder(config.dataset, config.data_dir, task=config.task)
    features = builder.info.features
    size = tfds_source.native_size(builder) or default_size
    task = tfds_source.task_of(features, config.task, config.dataset)
    if task == "segment":
        return _tfds_with_masks(builder, config, size, labels)
    if task == "detect":
        return _tfds_with_boxes(builder, config, size)
    spec = input_spec(config, size, crop=default_crop)
    output = OutputSpec(CLASSIFICATION, tuple(features["label"].names))
    train, held_out = (
        tfds_source.load(builder, split, spec, config.cache)
        for split in (config.train_split, config.eval_split)
    )
    return Dataset(train, held_out, spec, output)


def _tfds_with_masks(
    builder: Any, config: DataConfig, size: int | tuple[int, int], labels: tuple[str, ...]
) -> Dataset:
    classes = tfds_masks.classes(builder, config.labels, labels)
    spec = input_spec(config, size, SEGMENTATION)
    train, held_out = (
        tfds_masks.load(builder, split, spec, config.cache, classes)
        for split in (config.train_split, config.eval_split)
    )
    told = ", ".join(f"{i} {label}" for i, label in enumerate(classes.labels, start=1))
    notes = (f"values in the masks of {builder.name}: {told}",) if classes.first else ()
    return Dataset(train, held_out, spec, OutputSpec(SEGMENTATION, classes.labels), notes)


def _tfds_with_boxes(builder: Any, config: DataConfig, size: int | tuple[int, int]) -> Dataset:
    spec = input_spec(config, size, DETECTION)
    train, held_out = (
        tfds_boxes.load(builder, split, spec, config.cache)
        for split in (config.train_split, config.eval_split)
    )
    return Dataset(train, held_out, spec, OutputSpec(DETECTION, tfds_boxes.classes(builder)))


def imbalance(classes: np.ndarray, labels: Sequence[str]) -> list[str]:
    """Return a note if some classes have many more training images than others."""
    counts = np.bincount(classes, minlength=len(labels))
    if not (told := _uneven(counts, labels)):
        return []
    return [
        f"classes differ in size by {told}; a class of few images is learned badly, and top-1 "
        "hardly shows it: look at the balanced accuracy, or weight them with "
        "train.class_weights=balanced"
    ]


def label_notes(multi_hot: np.ndarray, labels: Sequence[str]) -> list[str]:
    """Return notes about multi-hot labels [n, labels]: their source, and labels of few pictures."""
    counts = multi_hot.sum(axis=0).astype(int)
    notes = ["labels are those of the table in the folder, any number for each picture"]
    if missing := [label for label, count in zip(labels, counts, strict=True) if not count]:
        notes.append(f"no picture to train on has: {', '.join(missing)}; they can't be learned")
    if told := _uneven(counts, labels):
        notes.append(
            f"labels differ in how many pictures have them by {told}; a rare one is learned badly: "
            "look at its own average precision"
        )
    if (multi_hot.sum(axis=1) == 1).all():
        notes.append(
            "each picture has just one label; if that is always so, a folder for each class gives "
            "a model with one answer"
        )
    return notes


def _uneven(counts: np.ndarray, labels: Sequence[str]) -> str | None:
    """Return as text how much the largest class exceeds the smallest; None if it is little."""
    order = np.argsort(-counts, kind="stable")
    most, least = counts[order[0]], max(1, counts[order[-1]])
    if most <= RATIO * least:
        return None
    shown = [*order[:2], *order[2:][-2:]]  # the largest and the smallest
    told = ", ".join(f"{labels[i]} {counts[i]:,}" for i in shown)
    return f"a factor of {most / least:.1f} ({told})"
