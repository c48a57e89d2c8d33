"""Measure latency, load time, memory and size of model files, in alternating rounds."""

import multiprocessing
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.config import formats
from tfresnet.deploy.formats import table
from tfresnet.runtime.backends import Backend
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.paths import MODEL_FILE
from tfresnet.runtime.probe import guard

STATUS = Path("/proc/self/status")
WARMUP_SECONDS = 0.2
ROUND_SECONDS = 0.2
LATENCY_SECONDS = 0.5


def compare(paths: Sequence[Path], threads: Sequence[int], rounds: int = 10) -> list[dict]:
    """Measure model files, each with each number of threads.

    The files take turns, so that a noisy machine is noisy for all of them.

    Args:
        paths: .tflite and .onnx files, and SavedModels.
        threads: of the interpreter; SavedModels choose their own.
        rounds: turns of each file.

    Returns:
        A record for each file and number of threads: ``path threads bytes load_ms p50_ms p90_ms
        p95_ms p99_ms mean_ms images_per_second peak_memory_mb runs integer``. Latency is of one
        image, with its copy into the input; of a file with a larger batch, the time of a run
        divided by its images. ``peak_memory_mb`` is what a fresh process grows by when it loads and
        runs the model, in MiB; ``integer`` tells whether the model is quantized.

    Raises:
        InputError: one of ``paths`` is missing or no model.
    """
    check(paths)
    entries = [_Entry(path, count) for count in threads for path in paths]
    for _ in range(rounds):
        for entry in entries:
            entry.times += _timed(entry.model, entry.image, ROUND_SECONDS)
    return [entry.record() for entry in entries]


def check(paths: Sequence[Path]) -> None:
    """Raise an ``InputError`` unless all are model files or SavedModels."""
    for path in paths:
        if not path.exists():
            raise InputError(f"expected {MODEL_FILE}, or a SavedModel, {path} does not exist")
        if formats.of_path(path) is None:
            raise InputError(f"expected {MODEL_FILE}, or a SavedModel, got {path}")
        guard(path)


def latency_ms(model: Backend) -> float:
    """Return the median time of one image in milliseconds, after a warm-up."""
    image = example(model)
    _timed(model, image, WARMUP_SECONDS)
    return statistics.median(_timed(model, image, LATENCY_SECONDS)) * 1000 / len(image)


def example(model: Backend) -> np.ndarray:
    """Return random pixels of the model's input shape and type."""
    pixels = np.random.default_rng(0).integers(0, 256, model.input_shape, np.uint8)
    same_size = model.input_dtype.itemsize == 1
    return pixels.view(model.input_dtype) if same_size else pixels.astype(model.input_dtype)


class _Entry:
    def __init__(self, path: Path, threads: int):
        self.path, self.threads = path, threads
        started = time.perf_counter()
        self.model = table.open_file(path, threads)
        self.load_ms = (time.perf_counter() - started) * 1000
        self.image = example(self.model)
        self.times: list[float] = []
        _timed(self.model, self.image, WARMUP_SECONDS)

    def record(self) -> dict[str, Any]:
        milliseconds = np.array(self.times) * 1000 / len(self.image)
        p50, p90, p95, p99 = np.percentile(milliseconds, [50, 90, 95, 99])
        return {
            "path": str(self.path),
            "threads": self.threads,
            "bytes": _bytes(self.path),
            "load_ms": self.load_ms,
            "p50_ms": float(p50),
            "p90_ms": float(p90),
            "p95_ms": float(p95),
            "p99_ms": float(p99),
            "mean_ms": float(milliseconds.mean()),
            "images_per_second": 1000 / float(p50),
            "peak_memory_mb": peak_memory_mb(self.path, self.threads),
            "runs": len(self.times),
            "integer": self.model.is_quantized,
        }


def _bytes(path: Path) -> int:
    row = formats.of_path(path)
    files = path.rglob("*") if row is None or path.is_dir() else row.files(path)
    return sum(file.stat().st_size for file in files if file.is_file())


def _timed(model: Backend, image: np.ndarray, seconds: float) -> list[float]:
    """Return the seconds of single runs, at least 5 and as many as fit into ``seconds``."""
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 5:
        started = time.perf_counter()
        model.set_input(image)
        model.invoke()
        times.append(time.perf_counter() - started)
    return times


def peak_memory_mb(path: Path, threads: int) -> float | None:
    """Return by how many MiB a fresh process grows at its peak; None where there is no /proc."""
    if not STATUS.exists():
        return None
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(_memory_growth, (str(path), threads))


def _memory_growth(path: str, threads: int) -> float:
    image = example(table.open_file(Path(path), threads))  # so that imports and caches do not count
    before = _status_mb("VmRSS")
    Path("/proc/self/clear_refs").write_text("5")  # forget the peak so far
    model = table.open_file(Path(path), threads)
    model.set_input(image)
    model.invoke()
    return _status_mb("VmHWM") - before


def _status_mb(field: str) -> float:
    line = next(line for line in STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) / 1024  # the file's unit is KiB
