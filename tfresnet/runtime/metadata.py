"""What a model file says about itself, typed and versioned. Standard library only.

It is JSON: in a zip archive behind a .tflite, among the properties of an .onnx, in the ``rt_info``
of an .xml, in a file of a SavedModel's folder.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any, BinaryIO

from . import openvino_ir, paths
from .errors import InputError
from .paths import MODEL_FILE, as_path
from .spec import FORMAT_VERSION, InputSpec, OutputSpec, checked_version, specs_from_dict

FILE_NAME = "tfresnet.json"  # in the zip archive behind a .tflite, and in a SavedModel's folder
ONNX_KEY = "tfresnet"  # among the properties of an .onnx
LARGEST = 2**24  # bytes
CHUNK = 2**20  # bytes that are read at a time
# What a file gives.
PROBABILITIES = "probabilities"  # of each label, float32 [n, labels]
CLASS_MAP = "class_map"  # the label of each pixel, uint8 [n, H, W]
CLASS_PROBABILITIES = "class_probabilities"  # of each pixel, float32 [n, H, W, labels]
BOXES, SCORES = "boxes", "scores"  # float32 [n, k, 4], shares of the picture, and [n, k, labels]
POINTS_KIND = "points"  # float32 [n, k, 2], x and y in shares of the picture; beside the scores
DETECTIONS = "detections"  # the best 100, after the suppression; see ``decode.OUTPUTS``
EMBEDDING = "embedding"  # of the picture, float32 [n, D], from ``tfresnet export --features``


@dataclass(frozen=True)
class ModelMetadata:
    """What a model file says about itself.

    Attributes:
        spec: what the model expects of a picture.
        output: what its outputs mean.
        output_kind: what the file gives: ``probabilities``, ``embedding``, ``class_map``,
            ``class_probabilities``, ``boxes``, ``points`` or ``detections``.
        input_type: what it takes: ``uint8`` (pixels), ``float`` (``(pixel - 128) / 128``) or
            ``integer`` (int8 or int16 values of the same range).
        quantization: its kind, such as ``float32`` or ``int8``.
        recipe: how it was quantized: bits and granularity of weights and activations, ...
        compression: what was done before: pruning, clustering, quantization-aware training, ...
        opset: of an .onnx.
        arch: the architecture's name.
        parameters: trainable parameters.
        macs: multiply-adds of one image.
        preset: the configuration's name.
        seed: of the training.
        epochs: that it was trained for.
        commit: of tfresnet's code.
        config: the run's model and train sections.
        versions: of the libraries that made the file.
        data: the data section, without paths.
        calibration_images: how many training images set the ranges.
        calibration: which they are.
        measured: numbers of the held-out images; fractions of 1, ``drop`` in percentage points.
        weights_sha256: a digest of the run's weights.
        network_sha256: the same of those that were converted, which fine-tuning changes.
        content: ``bytes`` and ``sha256`` of the model that the metadata stand behind.
    """

    spec: InputSpec
    output: OutputSpec
    output_kind: str = PROBABILITIES
    input_type: str = "uint8"
    quantization: str | None = None
    recipe: dict[str, Any] = field(default_factory=dict)
    compression: dict[str, Any] = field(default_factory=dict)
    opset: int | None = None
    arch: str | None = None
    parameters: int | None = None
    macs: int | None = None
    preset: str | None = None
    seed: int | None = None
    epochs: int | None = None
    commit: str | None = None
    config: dict[str, Any] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    data: dict[str, Any] = field(default_factory=dict)
    calibration_images: int | None = None
    calibration: dict[str, Any] | None = None
    measured: dict[str, Any] = field(default_factory=dict)
    weights_sha256: str | None = None
    network_sha256: str | None = None
    content: dict[str, Any] | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON types, with ``format_version`` first."""
        values = {"format_version": FORMAT_VERSION, **asdict(self)}
        values["input"] = values.pop("spec")
        return json.loads(json.dumps(values))

    @classmethod
    def from_dict(cls, values: Any) -> ModelMetadata:
        """Return the metadata that :meth:`to_dict` described, also those of version 1.

        Keys that this version does not know are ignored.

        Raises:
            ValueError, TypeError: a value is not what it should be, or the version is newer.
        """
        if not isinstance(values, dict):
            raise TypeError(f"expected a dictionary, got {values!r:.40}")
        read = _version_1(values) if checked_version(values) == 1 else dict(values)
        read["spec"], read["output"] = specs_from_dict(read.pop("specs", values))
        names = {f.name for f in fields(cls)}
        known = {key: value for key, value in read.items() if key in names}
        for key in ("output_kind", "input_type"):
            if not isinstance(known.get(key, ""), str):
                raise TypeError(f"{key}: expected a text, got {known[key]!r:.40}")
        for key in ("data", "measured", "config", "recipe", "compression"):
            if not isinstance(known.get(key, {}), dict):
                raise TypeError(f"{key}: expected a dictionary, got {known[key]!r:.40}")
        return cls(**known)


def _version_1(values: dict[str, Any]) -> dict[str, Any]:
    """Return the values with today's names; both specs are among them as ``specs``."""
    return values | {
        "specs": values.get("spec"),
        "output_kind": values.get("output", PROBABILITIES),
        "input_type": values.get("interface", "uint8"),
    }


def read_metadata(path: str | os.PathLike) -> ModelMetadata:
    """Read what tfresnet wrote into a model file, and check that the file is whole.

    The folder of a SavedModel is read too, though only TensorFlow can run it.

    Raises:
        InputError: there is no such file, tfresnet did not write it, or its bytes are not those
            that were written.
    """
    path = as_path(path)
    if not path.exists():
        raise InputError(f"expected {MODEL_FILE}, {path} does not exist")
    if path.is_dir():
        text = _read_folder(path)
        if text is None:
            raise InputError(f"expected {MODEL_FILE}, {path} is a folder")
    elif (reader := READERS.get(path.suffix.lower())) is None:
        raise InputError(f"expected {MODEL_FILE}, got {path}")
    else:
        text = reader(path)
    if text is None:
        raise InputError(
            f"{path} is cut short or was not exported by tfresnet: it holds no labels and no "
            "input spec; export it again"
        )
    try:
        metadata = ModelMetadata.from_dict(json.loads(text))
        whole = metadata.content is None or _is_whole(path, metadata.content)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        reason = " ".join(str(error).split())
        raise InputError(f"{path}: expected tfresnet's metadata inside: {reason:.200}") from None
    if not whole:
        raise InputError(
            f"{path}: expected the bytes that tfresnet wrote, got others: it is damaged, or was "
            "changed after its accuracy was measured; copy or export it again"
        )
    return metadata


def check_output_kind(
    path: str | os.PathLike, metadata: ModelMetadata, expected: Sequence[str]
) -> None:
    """Raise an ``InputError`` unless a file gives one of the kinds that are expected of it."""
    if metadata.output_kind not in expected:
        raise InputError(
            f"{path}: expected a model that gives {' or '.join(expected)}, got "
            f"{metadata.output_kind!s:.60}"
        )


def digest(model: BinaryIO, count: int) -> dict[str, Any]:
    """Return the number and the SHA-256 of a model's first ``count`` bytes, or of all it has."""
    found, left = hashlib.sha256(), count
    while left > 0 and (part := model.read(min(left, CHUNK))):
        found.update(part)
        left -= len(part)
    return {"bytes": count - left, "sha256": found.hexdigest()}


def _is_whole(path: Path, written: dict[str, Any]) -> bool:
    """Tell whether a file begins with the model that was written; the metadata are behind it."""
    if path.is_dir():
        return True
    if other := DIGESTS.get(path.suffix.lower()):
        return other(path) == written
    with path.open("rb") as file:
        return digest(file, written["bytes"]) == written


def _read_zip(path: Path) -> str | None:
    """Return a member of the zip archive behind a .tflite."""
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                small = archive.getinfo(FILE_NAME).file_size <= LARGEST
                return archive.read(FILE_NAME).decode() if small else None
        except (zipfile.BadZipFile, zlib.error, LookupError, ValueError, RuntimeError, OSError):
            return None  # damaged, encrypted, packed in an unknown way: none of tfresnet's


def _read_onnx(path: Path) -> str | None:
    """Return a property of an .onnx file, which onnxruntime reads."""
    from .backends import open_session

    session = open_session(path, threads=1)
    try:
        return session.get_modelmeta().custom_metadata_map.get(ONNX_KEY)
    except UnicodeDecodeError:
        return None  # damaged


def _read_folder(path: Path) -> str | None:
    file = path / FILE_NAME
    return file.read_text(encoding="utf-8") if file.is_file() else None


# From a file's suffix to the function that reads its metadata as text; None if it has none.
READERS: dict[str, Callable[[Path], str | None]] = {
    paths.TFLITE: _read_zip,
    paths.ONNX: _read_onnx,
    paths.OPENVINO: openvino_ir.read_metadata,
}
# The digests of those that have their metadata elsewhere than behind the model.
DIGESTS = {paths.OPENVINO: lambda path: openvino_ir.digest(*openvino_ir.read(path))}
