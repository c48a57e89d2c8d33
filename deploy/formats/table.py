"""The formats of ``tfresnet.config.formats`` with their converters, imported when asked for."""

from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

from tfresnet.config import formats
from tfresnet.deploy.formats.base import Format
from tfresnet.runtime.backends import Backend, open_model


@cache
def format_of(row: formats.FormatRow) -> Format[Any]:
    """Return the format that a row names."""
    module, _, name = row.implementation.rpartition(".")
    return getattr(import_module(f"tfresnet.deploy.formats.{module}"), name)(row)


def open_file(path: Path, threads: int) -> Backend:
    """Open a model file or a SavedModel; only what is not portable loads TensorFlow.

    Raises:
        InputError: it is damaged, or of no known format.
    """
    row = formats.of_path(path)
    if row is None or row.portable:
        return open_model(path, threads)
    return format_of(row).open(path, threads)
