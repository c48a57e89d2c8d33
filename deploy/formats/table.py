"""The formats of ``tfresnet.config.formats`` with their converters, imported when asked for."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tfresnet.config import formats
from tfresnet.deploy.device.runtime import open_model
from tfresnet.deploy.formats.base import Format


@cache
def format_of(row: formats.FormatRow) -> Format[Any]:
    """Return the format that a row names."""
    module, _, name = row.implementation.rpartition(".")
    return getattr(import_module(f"tfresnet.deploy.formats.{module}"), name)(row)


def open_file(path: Path, threads: int) -> Any:
    """Open a model file or a SavedModel; only what is not portable loads TensorFlow.

    Returns:
        An object with the methods of ``runtime.TfliteModel``: ``run`` gives float32 [n, classes]
        for uint8 images [n, H, W, C].

    Raises:
        InputError: it is damaged, or of no known format.
    """
    row = formats.of_path(path)
    if row is None or row.portable:
        return open_model(path, threads)
    return format_of(row).open(path, threads)
