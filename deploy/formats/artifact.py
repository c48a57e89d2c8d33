"""A converted model on its way to a file: its bytes, its metadata, and how to run it."""

import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import tf_keras as keras

from tfresnet.deploy.device.runtime import METADATA_NAME, open_model
from tfresnet.deploy.formats import onnx_format, saved_model, tflite
from tfresnet.files import write_bytes
from tfresnet.spec import InputSpec


class Artifact(Protocol):
    """One exported model."""

    path: Path

    def write(self, metadata: dict[str, Any]) -> None:
        """Write the model with ``metadata`` inside, over what was there."""
        ...

    def open(self, threads: int) -> Any:
        """Return the written model, ready to run, like ``runtime.open_model``."""
        ...

    def float_operations(self) -> list[str] | None:
        """Return the operations that are not integer; None for formats that are float."""
        ...

    def size(self) -> int:
        """Return the bytes on disk."""
        ...


def make(
    model: keras.Model,
    spec: InputSpec,
    target: str,
    quantization: str,
    calibration: np.ndarray,
    directory: Path,
    suffix: str = "",
) -> Artifact:
    """Convert to ``target``, ``tflite``, ``onnx`` or ``saved_model``; nothing is written yet.

    ``suffix`` is added to a TFLite file's name.
    """
    if target == "tflite":
        content = tflite.convert(model, spec, quantization, calibration)
        path = directory / f"model_{quantization}{suffix}.tflite"
        return FileArtifact(path, content, with_tflite_metadata)
    if target == "onnx":
        content = onnx_format.convert(model, spec)
        return FileArtifact(directory / "model_float32.onnx", content, with_onnx_metadata)
    return saved_model.SavedModel(directory / "saved_model", model, spec)


@dataclass
class FileArtifact:
    """A TFLite or ONNX model, as bytes without metadata."""

    path: Path
    content: bytes
    seal: Callable[[bytes, dict[str, Any]], bytes]

    def write(self, metadata: dict[str, Any]) -> None:
        """See :class:`Artifact`."""
        write_bytes(self.path, self.seal(self.content, metadata))

    def open(self, threads: int) -> Any:
        """See :class:`Artifact`."""
        return open_model(self.path, threads)

    def float_operations(self) -> list[str] | None:
        """See :class:`Artifact`."""
        if self.path.suffix == ".onnx":
            return None
        return tflite.float_operations(self.content)

    def size(self) -> int:
        """See :class:`Artifact`."""
        return self.path.stat().st_size


def with_tflite_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    """Return a TFLite file with a zip archive behind it, as TFLite's associated files are kept.

    ``unzip -p model.tflite labels.txt`` reads the labels; interpreters ignore the archive.
    """
    buffer = io.BytesIO(content)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, text in (
            (METADATA_NAME, json.dumps(metadata)),
            ("labels.txt", "\n".join(metadata["spec"]["labels"]) + "\n"),
        ):
            # ZipInfo's date is fixed: the same model and metadata give the same bytes.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_DEFLATED)
    return buffer.getvalue()


def with_onnx_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    """Return an ONNX file with the metadata among its properties."""
    import onnx

    proto = onnx.load_model_from_string(content)
    labels = "\n".join(metadata["spec"]["labels"])
    onnx.helper.set_model_props(proto, {"tfresnet": json.dumps(metadata), "labels": labels})
    return proto.SerializeToString()
