"""The paths and suffixes of model files. Standard library only."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from .errors import InputError

TFLITE, ONNX, OPENVINO = ".tflite", ".onnx", ".xml"
MODEL_FILE = f"a {TFLITE}, {ONNX} or {OPENVINO} file"  # in messages


def as_path(path: Any) -> Path:
    """Return the path of a model file, or raise an ``InputError`` for what is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"expected the path of {MODEL_FILE}, got {path!r:.60}")
    return Path(path)
