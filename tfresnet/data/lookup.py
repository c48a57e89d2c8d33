"""Find out what kind of dataset ``data.dataset`` names, before it is opened; no TensorFlow."""

import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from tfresnet.config.sections import DataConfig
from tfresnet.data import boxes, label_table, mask_folder
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.system.files import expanded

# name, name:version, name/config, name/config:version
TFDS_NAME = re.compile(r"[\w:.]+(/[\w.,=+*-]+(:[\w.*]+)?)?")

Task = Literal["classify", "segment", "detect"]
# What a folder has for each task.
LAYOUTS: dict[Task, str] = {
    "classify": "a folder for each class, or a labels.csv",
    "segment": "images/ beside masks/",
    "detect": "boxes: Pascal VOC, COCO or YOLO",
}


def folder(config: DataConfig) -> Path:
    """Return ``data.dataset`` as the path of a folder, which may not exist."""
    return expanded(config.dataset)


def kind(config: DataConfig) -> Literal["digits", "folder", "tfds"]:
    """Return what the dataset is: the embedded digits, a folder of images, or one of TFDS's.

    Whether TFDS has it is not known here.

    Raises:
        InputError: a name that TFDS can't have and no folder, or no folder ``data.data_dir``.
    """
    if config.dataset == "digits":
        return "digits"
    if folder(config).is_dir():
        return "folder"
    if not TFDS_NAME.fullmatch(config.dataset) or config.dataset.startswith("."):
        raise InputError(
            f"data.dataset: expected digits, a TFDS name or an existing folder, "
            f"got {config.dataset}, which does not exist"
        )
    if config.data_dir:
        data_dir(config.data_dir, config.dataset)
    return "tfds"


def task(config: DataConfig) -> Task | None:
    """Return what is learned: ``data.task``, or with ``auto`` what the data have.

    None with ``auto`` and a data set of TFDS, whose features are not known here.

    Raises:
        InputError: a folder has something else than ``data.task``.
    """
    given = None if config.task == "auto" else config.task
    if kind(config) != "folder":
        return given or ("classify" if config.dataset == "digits" else None)
    found = _task_of(folder(config))
    if given and given != found:
        raise InputError(
            f"data.task: expected {found} with {config.dataset}, which has {LAYOUTS[found]}, got "
            f"{given}; that needs {LAYOUTS[given]}"
        )
    return found


def has_named_parts(config: DataConfig) -> bool:
    """Tell whether ``data.train_split`` and ``data.eval_split`` name parts of a data set."""
    where = kind(config)
    return where == "tfds" or (where == "folder" and task(config) in ("segment", "detect"))


def _task_of(root: Path) -> Task:
    """Return what the layout of a folder says is to be learned."""
    if mask_folder.is_one(root):
        return "segment"
    return "detect" if boxes.find(root) else "classify"


def table(config: DataConfig) -> Path | None:
    """Return the table of labels in the dataset's folder; None if it has none."""
    return label_table.find(folder(config)) if task(config) == "classify" else None


def data_dir(given: str | None, name: str) -> Path | None:
    """Return the folder that holds TFDS's ``name/``; None for TFDS's default folder.

    Args:
        given: ``data.data_dir``; without it ``TFDS_DATA_DIR`` counts. It may be too deep: the
            folder ``name/`` itself, or a version of it.
        name: of the data set, as TFDS has it.

    Raises:
        InputError: ``given`` is no folder.
    """
    where = given or os.environ.get("TFDS_DATA_DIR")
    if not where or (_is_remote(where) and not given):  # TFDS reads the variable itself
        return None
    path = expanded(where)
    if not path.is_dir():
        if not given:
            return path  # TFDS will make it
        raise InputError(f"data.data_dir: expected a folder, {given} does not exist")
    inside = re.split("[/:]", name)[0]
    if (path / inside).is_dir():
        return path
    whole = path.absolute()
    return next((p.parent for p in (whole, *whole.parents[:2]) if p.name == inside), path)


def check_present(config: DataConfig, download: bool = True) -> None:
    """Check that a dataset of TFDS is there, or that it may be downloaded and TFDS knows it.

    A version that is not there is found later, by TFDS. Nothing is downloaded here.

    Raises:
        InputError: it is neither; the message names the closest dataset of TFDS.
    """
    name = config.dataset.partition("/")[0]
    if kind(config) != "tfds" or ":" in name:  # a version or a namespace, which TFDS knows
        return
    if not config.data_dir and _is_remote(os.environ.get("TFDS_DATA_DIR", "")):
        return
    root = data_dir(config.data_dir, name) or expanded("~/tensorflow_datasets")
    if (root / name).is_dir():
        return
    import tensorflow_datasets as tfds

    try:
        tfds.builder_cls(name)
    except tfds.core.DatasetNotFoundError:
        raise unknown_dataset(
            config.dataset, tfds.list_builders(with_community_datasets=False)
        ) from None
    if not download:
        raise missing_dataset(name, root)


def _is_remote(where: str) -> bool:
    return "://" in where  # gs://bucket


def unknown_dataset(name: str, known: Iterable[str]) -> InputError:
    """Return the error for a dataset that TFDS does not have; ``known`` are those that it has."""
    expected = "digits, a TFDS name or an existing folder of images"
    return unknown("dataset", name, ["digits", *known], expected)


def missing_dataset(name: str, root: Path) -> InputError:
    """Return the error for a dataset that is missing and must not be downloaded now."""
    return InputError(
        f"dataset {name} is not in {root}, and --dry-run downloads nothing; train without it, "
        "which fetches what TFDS has, or give the folder that holds it: --data-dir"
    )
