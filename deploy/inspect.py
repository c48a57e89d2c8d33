"""Where a quantised TFLite file errs: its operations, and each tensor against the float file's.

The two files come from the same network, so the outputs of their operations are paired by name, but
for the digit that the converter puts behind it where a constant has the name already.
"""

import warnings
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from tfresnet.data import pipeline, sources
from tfresnet.deploy import measured_data
from tfresnet.deploy.formats import delegates, graph
from tfresnet.runtime.backends import centered, open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.system.native_stderr import captured

SAME_DB = 150.0  # where nothing differs: more than float32 can tell
LAYERS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "ADD", "MUL", "MEAN", "CONCATENATION")


@dataclass(frozen=True)
class LayerError:
    """What quantisation changed in the output of one operation.

    Attributes:
        tensor: the output's name in the quantised file.
        operation: what computes it.
        sqnr_db: signal to quantisation noise, 10 log10(mean(x^2) / mean((x - q)^2)), in dB, of the
            values that reach it through all layers before; at most 150.
        max_abs: the largest difference.
        range: the largest absolute value in the float file.
    """

    tensor: str
    operation: str
    sqnr_db: float
    max_abs: float
    range: float


def operations(content: bytes) -> dict[str, int]:
    """Return how many of each operation a file has."""
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
        quantized: a file with any kind of input.
        floating: the float32 file of the same network.
        images: uint8 [n, H, W, C].
    """
    ours, reference = _Watched(quantized), _Watched(floating)
    partners = {_stem(o.outputs[0]): o.outputs[0] for o in graph.operations(floating)}
    layers = [o for o in graph.operations(quantized) if o.name in LAYERS]
    shared = [(o, partners[_stem(o.outputs[0])]) for o in layers if _stem(o.outputs[0]) in partners]
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


def worst(errors: list[LayerError]) -> list[LayerError]:
    """Return the layers by what they add to the noise, worst first: where the SQNR falls most."""
    falls = [before.sqnr_db - after.sqnr_db for before, after in pairwise(errors)]
    first = [0.0, *falls]
    return [e for _, e in sorted(zip(first, errors, strict=True), key=lambda pair: -pair[0])]


def _stem(tensor: str) -> str:
    return tensor.rstrip("0123456789")


def _decibels(signal: float, noise: float) -> float:
    return min(SAME_DB, float(10 * np.log10(signal / noise))) if noise and signal else SAME_DB


class _Watched:
    """A file in an interpreter that keeps all tensors."""

    def __init__(self, content: bytes):
        with captured(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that all tensors are kept is what it is for
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
        """Return a tensor as float32; of a batch, which is one image again and again, the first."""
        detail = self.index[name]
        value = self.interpreter.get_tensor(detail["index"])[:1]
        scale, zero_point = detail["quantization"]
        if value.dtype.kind == "f" or not scale:
            return value.astype(np.float32)
        return (value.astype(np.float32) - zero_point) * np.float32(scale)


def of_file(path: Path, against: Path | None, count: int, data: dict[str, Any]) -> dict[str, Any]:
    """Return ``operations fully_integer obstacles delegates layers`` of an exported file.

    ``layers`` has a :class:`LayerError` of each layer as a dictionary, if there is a float32 file,
    ``against`` or :func:`partner`, to compare with. It is found on ``count`` training images;
    ``data`` replaces keys of the data section in the file.

    Raises:
        InputError: ``against`` is of another network.
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
        layers = [vars(e) for e in layer_errors(content, _content(source), images)]
    found = obstacles(content)
    return {
        "operations": operations(content),
        "fully_integer": not found,
        "obstacles": found,
        "delegates": delegates.advice(content),
        "layers": layers,
    }


def partner(path: Path) -> Path | None:
    """Return the float32 file of the same network beside a file; None if there is none.

    What was fine-tuned has weights of its own; after quantisation-aware training none are float32.
    Nor is there one if the file beside it is damaged, or was made of other weights by another
    export.
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
    open_model(path)  # raises what is wrong with it
    return path.read_bytes()
