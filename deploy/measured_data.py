"""Find the images to measure a model file on.

A file has the name of the folder that it was trained on, but not its path, which is private.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import DataConfig
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import ModelMetadata
from tfresnet.system.files import expanded

LEVELS = 4  # folders above a file in which its run may be: RUN/export/bundle/model.tflite


def public(data: DataConfig) -> dict[str, Any]:
    """Return the data section for a file's metadata, with a folder's name instead of its path."""
    values = data.model_dump(exclude={"data_dir", "labels", "skip_broken"})
    folder = expanded(data.dataset)
    if data.dataset != "digits" and folder.is_dir():
        values |= {"dataset": folder.name, "folder": True}
    return values


def of_file(path: Path, metadata: ModelMetadata, overrides: Mapping[str, Any]) -> DataConfig:
    """Return the data section to measure a file with.

    Args:
        path: the file; the run above it knows where its folder is.
        metadata: what the file says about itself.
        overrides: keys of the data section that replace what the file says.

    Raises:
        InputError: it was trained on a folder, and nothing says where that is.
    """
    values = dict(metadata.data)
    if values.pop("folder", False) and "dataset" not in overrides:
        parents = path.resolve().parents[:LEVELS]
        run = next((p for p in parents if (p / "config.yaml").is_file()), None)
        if run is None:
            raise InputError(
                f"{path}: expected --dataset FOLDER, where the images of {values['dataset']} are "
                "now, since a file does not say that; got none"
            )
        values["dataset"] = loading.read(run / "config.yaml").data.dataset
    return loading.with_data(values, overrides)
