"""A converted model on its way to a file: its bytes, its metadata, and how to run it."""

import gzip
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tfresnet.backend import keras
from tfresnet.deploy.compress import qat
from tfresnet.deploy.device.runtime import METADATA_NAME, digest, open_model
from tfresnet.deploy.formats import (
    delegates,
    graph,
    onnx_format,
    saved_model,
    tflite,
    tflite_metadata,
    wrap,
)
from tfresnet.deploy.plan import Options, Target
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import write_bytes


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

    def gzip_size(self) -> int | None:
        """Return the bytes after gzip; None for a folder."""
        ...

    def sparsity(self) -> float | None:
        """Return the share of zeros among the weights; None for what is not read."""
        ...

    def unique_weights(self) -> int | None:
        """Return the most different weights of a kernel, see ``graph``; None likewise."""
        ...

    def delegates(self) -> dict[str, str] | None:
        """Return how much of it each delegate runs, see ``delegates``; None likewise."""
        ...


def make(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    target: Target,
    options: Options,
    calibration: np.ndarray,
    directory: Path,
) -> Artifact:
    """Convert to ``target``; nothing is written yet."""
    path, batch = directory / target.name, options.batch_of(target.format)
    clusters = 0 if qat.is_aware(model) else target.clusters
    if target.format == "tflite":
        content = tflite.convert(
            model, spec, output, target.quantization, calibration, options.interface, batch,
            clusters=clusters,
        )  # fmt: skip
        return tflite_file(path, content, model, spec, output, options.interface)
    if target.format == "tflm":
        from tfresnet.deploy.formats import microcontroller  # it builds on this module

        content = tflite.convert(
            model, spec, output, "int8", calibration, options.interface, dense_per_tensor=True,
            clusters=clusters, integer_softmax=True,
        )  # fmt: skip
        return microcontroller.make(path, content)
    if target.format == "onnx" and qat.is_aware(model):
        scales = tflite.convert(
            model, spec, output, "int8", calibration, "float", batch, integer_softmax=True
        )
        content = onnx_format.from_int8_tflite(
            scales, model.name, calibration, options.interface, options.layout, options.opset
        )
        return FileArtifact(path, content, with_onnx_metadata)
    if target.format == "onnx":
        content = onnx_format.convert(
            model, spec, output, target.quantization, calibration, options.interface, batch,
            options.layout, options.opset,
        )  # fmt: skip
        return FileArtifact(path, content, with_onnx_metadata)
    return saved_model.SavedModel(path, model, spec, output)


def tflite_file(
    path: Path,
    content: bytes,
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    interface: str,
) -> "FileArtifact":
    """Return a converted TFLite model of ``model`` as an artifact that describes itself."""
    classifies = not isinstance(model, wrap.Embedding)
    described = tflite_metadata.describe(
        content, spec, output, model.name, classifies, centred=interface == "float"
    )
    return FileArtifact(path, described, with_tflite_metadata)


@dataclass
class FileArtifact:
    """A TFLite or ONNX model, as bytes without metadata."""

    path: Path
    content: bytes
    seal: Callable[[bytes, dict[str, Any]], bytes]

    def write(self, metadata: dict[str, Any]) -> None:
        """See :class:`Artifact`."""
        described = metadata | {"content": digest(io.BytesIO(self.content), len(self.content))}
        write_bytes(self.path, self.seal(self.content, described))

    def open(self, threads: int) -> Any:
        """See :class:`Artifact`."""
        return open_model(self.path, threads)

    def float_operations(self) -> list[str] | None:
        """See :class:`Artifact`."""
        if self.path.suffix == ".onnx":
            return None
        return graph.float_operations(self.content)

    def size(self) -> int:
        """See :class:`Artifact`."""
        return self.path.stat().st_size

    def gzip_size(self) -> int | None:
        """See :class:`Artifact`."""
        return len(gzip.compress(self.content, compresslevel=6))

    def sparsity(self) -> float | None:
        """See :class:`Artifact`."""
        return None if self.path.suffix == ".onnx" else graph.sparsity(self.content)

    def unique_weights(self) -> int | None:
        """See :class:`Artifact`."""
        return None if self.path.suffix == ".onnx" else graph.unique_weights(self.content)

    def delegates(self) -> dict[str, str] | None:
        """See :class:`Artifact`."""
        if self.path.suffix == ".onnx":
            return None
        return {v["delegate"]: v["runs"] for v in delegates.advice(self.content)}


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
            # Not compressed: MediaPipe takes no other archive.
            archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_STORED)
    return buffer.getvalue()


def with_onnx_metadata(content: bytes, metadata: dict[str, Any]) -> bytes:
    """Return an ONNX file with the metadata among its properties.

    They are put behind the model: Protocol Buffers read two messages, one after the other, as one.
    """
    import onnx

    labels = "\n".join(metadata["spec"]["labels"])
    properties = onnx.ModelProto()
    onnx.helper.set_model_props(properties, {"tfresnet": json.dumps(metadata), "labels": labels})
    return content + properties.SerializeToString()
