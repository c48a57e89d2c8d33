"""Measure the milliseconds that a model file spends in each kind of operation."""

import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.config.formats import ONNX, OPENVINO, TFLITE, of_path
from tfresnet.deploy.device.benchmark import example
from tfresnet.deploy.formats import graph
from tfresnet.runtime.backends import OnnxModel, OpenVinoModel, TfliteModel
from tfresnet.runtime.errors import InputError

RUNS = 30  # of which the fastest counts: noise only adds


def profile(path: Path) -> dict[str, float]:
    """Return the milliseconds of one image by kind of operation, on one thread, longest first.

    onnxruntime and OpenVINO report them. LiteRT runs a whole .tflite as one operation of XNNPACK,
    so there the time of an operation is the time of the graph up to it, less that of the graph
    before it.

    Args:
        path: a .tflite, .onnx or .xml file.

    Raises:
        InputError: a file of another format.
    """
    row = of_path(path)
    measure = PROFILERS.get(row.name) if row else None
    if measure is None:
        raise InputError(f"expected a file of {' or '.join(PROFILERS)} to profile, got {path}")
    times = measure(path)
    return dict(sorted(times.items(), key=lambda item: -item[1]))


def _onnx(path: Path) -> dict[str, float]:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads, options.enable_profiling = 1, True
    with tempfile.TemporaryDirectory() as folder:
        options.profile_file_prefix = str(Path(folder) / "profile")
        session = onnxruntime.InferenceSession(path.read_bytes(), options, ["CPUExecutionProvider"])
        model = OnnxModel(path, threads=1)
        pixels = model.prepared(example(model))
        for _ in range(RUNS):
            session.run(None, {session.get_inputs()[0].name: pixels})
        events = json.loads(Path(session.end_profiling()).read_text())
    times: dict[str, float] = {}
    for event in events:
        if event["cat"] == "Node" and event["name"].endswith("_kernel_time"):
            kind = event["args"]["op_name"]
            times[kind] = times.get(kind, 0.0) + event["dur"] / 1000 / RUNS / len(pixels)
    return times


def _openvino(path: Path) -> dict[str, float]:
    model = OpenVinoModel(path, threads=1, PERF_COUNT=True)
    pixels = example(model)
    times: dict[str, float] = {}
    for _ in range(RUNS):
        model.set_input(pixels)
        model.invoke()
        for layer in model.request.get_profiling_info():
            milliseconds = layer.real_time.total_seconds() * 1000 / RUNS / len(pixels)
            times[layer.node_type] = times.get(layer.node_type, 0.0) + milliseconds
    return {kind: milliseconds for kind, milliseconds in times.items() if milliseconds}


def _tflite(path: Path) -> dict[str, float]:
    content, pixels = path.read_bytes(), example(TfliteModel(path, threads=1))
    times: dict[str, float] = {}
    before = 0.0
    for number, operation in enumerate(graph.operations(content), start=1):
        if operation.constant:  # done once, when the file is opened
            continue
        until = _fastest_ms(graph.beginning(content, number), pixels)
        times[operation.name] = times.get(operation.name, 0.0) + max(0.0, until - before)
        before = max(before, until)
    return times


def _fastest_ms(content: bytes, pixels: np.ndarray) -> float:
    from ai_edge_litert.interpreter import Interpreter

    interpreter: Any = Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], pixels)
    interpreter.invoke()
    times = []
    for _ in range(RUNS):
        started = time.perf_counter()
        interpreter.invoke()
        times.append(time.perf_counter() - started)
    return 1000 * min(times) / len(pixels)


# By a format's name.
PROFILERS: dict[str, Callable[[Path], dict[str, float]]] = {
    ONNX.name: _onnx,
    TFLITE.name: _tflite,
    OPENVINO.name: _openvino,
}
