"""Inspect a TFLite file: its operations, and the quantization error of each layer.

The error of a layer is found by comparing its output with that of the float32 file of the same
network. The two are paired by the names of their tensors, without the digits that the converter
appends where a constant has the same name.
"""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfresnet.data import pipeline, sources
from tfresnet.deploy import measured_data
from tfresnet.deploy.formats import delegates, graph
from tfresnet.runtime.backends import centered
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.probe import open_unknown
from tfresnet.system.native_stderr import captured

SAME_DB = 150.0  # where nothing differs: more than float32 can tell
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "MEAN", "CONCATENATION")


@dataclass(frozen=True)
class LayerError:
    """The quantization error in the output of one operation, with the errors of all before it.

    Attributes:
        tensor: the output's name in the quantized file.
        operation: the operation's name in TFLite.
        sqnr_db: signal to quantization noise ratio, 10 log10(mean(x^2) / mean((x - q)^2)), in dB;
            at most 150.
        max_abs: the largest absolute difference.
        range: the largest absolute value in the float file.
    """

    tensor: str
    operation: str
    sqnr_db: float
    max_abs: float
    range: float


@dataclass(frozen=True)
class Inspection:
    """What is known of a TFLite file.

    Attributes:
        operations: how many there are of each operation.
        obstacles: operations that compute in float, see :func:`obstacles`.
        delegates: what each delegate runs of the file, see ``delegates.advice``.
        layers: the error of each layer; empty if there is no float32 file to compare with.
    """

    operations: dict[str, int]
    obstacles: list[str]
    delegates: list[dict[str, Any]]
    layers: list[LayerError]

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints; ``fully_integer`` is true without obstacles."""
        return {
            "operations": self.operations,
            "fully_integer": not self.obstacles,
            "obstacles": self.obstacles,
            "delegates": self.delegates,
            "layers": [vars(layer) for layer in self.layers],
        }


def operations(content: bytes) -> dict[str, int]:
    """Return how many operations of each kind a file has."""
    return dict(Counter(o.name for o in graph.operations(content)))


def obstacles(content: bytes) -> list[str]:
    """Return what keeps a file from being integer throughout, as ``NAME at output: types``."""
    return [
        f"{o.name} at {o.outputs[0]}: {', '.join(sorted(o.types))}"
        for o in graph.operations(content)
        if o.is_float
    ]


def layer_errors(quantized: bytes, floating: bytes, images: np.ndarray) -> list[LayerError]:
    """Return the error of every layer that both files have, in the order of the network.

    Args:
        quantized: a TFLite file with any type of input.
        floating: the float32 TFLite file of the same network.
        images: uint8 [n, H, W, C].
    """
    ours, reference = _Watched(quantized), _Watched(floating)
    partners = counterparts(quantized, floating)
    layers = [o for o in _before_sort(quantized) if o.name in LAYERS]
    shared = [(o, partners[o.outputs[0]]) for o in layers if o.outputs[0] in partners]
    sums = np.zeros((len(shared), 4))
    for image in images:
        ours.run(image)
        reference.run(image)
        for row, (operation, partner) in zip(sums, shared, strict=True):
            exact, found = reference.value(partner), ours.value(operation.outputs[0])
            row[0] += np.square(exact).mean()
            row[1] += np.square(exact - found).mean()
            row[2:] = np.maximum(row[2:], [np.abs(exact - found).max(), np.abs(exact).max()])
    return [
        LayerError(
            operation.outputs[0],
            operation.name,
            _decibels(signal, noise),
            float(error),
            float(most),
        )
        for (operation, _), (signal, noise, error, most) in zip(shared, sums, strict=True)
    ]


def values(content: bytes, tensors: Sequence[str], images: np.ndarray) -> list[np.ndarray]:
    """Run a file, and return tensors inside it, dequantized, for all images, float32 [n, ...].

    Args:
        content: a TFLite file with any type of input.
        tensors: their names in it.
        images: uint8 [n, H, W, C].
    """
    watched = _Watched(content)
    found: list[list[np.ndarray]] = [[] for _ in tensors]
    for image in images:
        watched.run(image)
        for name, rows in zip(tensors, found, strict=True):
            rows.append(watched.value(name))
    return [np.concatenate(rows) for rows in found]


def counterparts(content: bytes, other: bytes) -> dict[str, str]:
    """Return the outputs of the operations of a file that those of another one have too.

    They are pairs of names, which may differ in the digits that the converter appends.
    """
    known = {_stem(o.outputs[0]): o.outputs[0] for o in _before_sort(other)}
    names = [o.outputs[0] for o in _before_sort(content)]
    return {name: known[_stem(name)] for name in names if _stem(name) in known}


def _before_sort(content: bytes) -> Iterator[graph.Operation]:
    """Yield the operations up to the suppression of boxes, behind which no two files compare."""
    return takewhile(lambda o: o.name != graph.SORT, graph.operations(content))


def worst(errors: list[LayerError]) -> list[LayerError]:
    """Sort layers by how much the SQNR falls from the layer before to them, largest fall first."""
    falls = [before.sqnr_db - after.sqnr_db for before, after in pairwise(errors)]
    first = [0.0, *falls]
    return [e for _, e in sorted(zip(first, errors, strict=True), key=lambda pair: -pair[0])]


def _stem(tensor: str) -> str:
    return tensor.rstrip("0123456789")


def _decibels(signal: float, noise: float) -> float:
    return min(SAME_DB, float(10 * np.log10(signal / noise))) if noise and signal else SAME_DB


class _Watched:
    """An interpreter for a TFLite file that keeps all tensors after a run."""

    def __init__(self, content: bytes):
        with captured(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # keeping all tensors is for debugging, as here
            self.interpreter = Interpreter(
                model_content=content, experimental_preserve_all_tensors=True
            )
            self.interpreter.allocate_tensors()
        self.input = self.interpreter.get_input_details()[0]
        self.index: dict[str, Any] = {d["name"]: d for d in self.interpreter.get_tensor_details()}

    def run(self, image: np.ndarray) -> None:
        pixels: Any = image[None].repeat(self.input["shape"][0], axis=0)
        kind, (scale, zero_point) = self.input["dtype"], self.input["quantization"]
        if kind != np.uint8:
            pixels = centered(pixels)
            if kind != np.float32:
                pixels = np.round(pixels / scale + zero_point).astype(kind)
        self.interpreter.set_tensor(self.input["index"], pixels)
        self.interpreter.invoke()

    def value(self, name: str) -> np.ndarray:
        """Return a tensor of the last image, dequantized to float32, [1, ...]."""
        detail = self.index[name]
        value = self.interpreter.get_tensor(detail["index"])[:1]
        scale, zero_point = detail["quantization"]
        if value.dtype.kind == "f" or not scale:
            return value.astype(np.float32)
        return (value.astype(np.float32) - zero_point) * np.float32(scale)


def inspect_file(path: Path, against: Path | None, count: int, data: dict[str, Any]) -> Inspection:
    """Inspect an exported TFLite file.

    Args:
        path: the file.
        against: the float32 file to compare with; by default :func:`partner`, if there is one.
        count: training images on which errors are found.
        data: keys that replace those of the data section in the file.

    Raises:
        InputError: ``against`` was made of other weights.
    """
    metadata, content = read_metadata(path), _content(path)
    if against and _network(against) != _network(path):
        raise InputError(
            f"--against: expected a file of the same weights as {path}, got {against}; export both "
            "with one command"
        )
    source = against or partner(path)
    layers = []
    if source:
        section = measured_data.of_file(path, metadata, data)
        training = sources.load_for(metadata.spec, metadata.output, section).train
        batches = pipeline.raw_batches(training, min(count, len(training)), count)
        images = next(iter(batches))[0].numpy()
        layers = layer_errors(content, _content(source), images)
    return Inspection(operations(content), obstacles(content), delegates.advice(content), layers)


def partner(path: Path) -> Path | None:
    """Return the float32 file of the same network in the same folder; None if there is none.

    A fine-tuned network has weights and float32 files of its own; after quantization-aware training
    it has no float32 file. A file that is damaged or was made of other weights does not count.
    """
    tuned = "".join(f"_{how}" for how in ("pruned", "clustered", "qat") if f"_{how}" in path.stem)
    beside = path.with_name(f"model_float32{tuned}.tflite")
    if beside == path or not beside.exists():
        return None
    try:
        return beside if _network(beside) == _network(path) else None
    except InputError:
        return None


def _network(path: Path) -> str | None:
    """Return the digest of the weights that a file was converted from."""
    metadata = read_metadata(path)
    return metadata.network_sha256 or metadata.weights_sha256


def _content(path: Path) -> bytes:
    open_unknown(path)  # raises an InputError if the file is damaged
    return path.read_bytes()
