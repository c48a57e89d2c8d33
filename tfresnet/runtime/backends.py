"""Run model files: LiteRT for .tflite, onnxruntime for .onnx, OpenVINO for .xml."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import openvino_ir, paths
from .errors import InputError
from .paths import MODEL_FILE, as_path

Outputs = dict[str, np.ndarray]
INTEGERS = (np.int8, np.int16, np.uint8)
UNPACKING = "TFLM_DECODE"  # TFLite Micro's operation that unpacks weights


class Backend(ABC):
    """A model with one image input, in an interpreter; threads may share it.

    ``set_input`` and ``invoke`` are steps of a run, for one thread alone: what a benchmark times.

    Attributes:
        input_shape: of the input as the file has it, [N, H, W, C]; N is 1 where any is taken.
        input_dtype: of the input.
        any_batch: whether it takes any number of images at once.
        classes: the length of the first output's last axis; None where the file does not say.
    """

    input_shape: tuple[int, ...]
    input_dtype: np.dtype
    any_batch: bool
    classes: int | None

    @property
    def is_quantized(self) -> bool:
        """Whether the model computes with integers, beside its input."""
        return False

    @abstractmethod
    def outputs(self, images: np.ndarray) -> Outputs:
        """Return all outputs by their names, float32 [n, ...], for uint8 images [n, H, W, C].

        A file with a fixed batch sees them in parts of it, another one all together.
        """

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the first output, float32 [n, D], for uint8 images [n, H, W, C]."""
        return next(iter(self.outputs(images).values()))

    @abstractmethod
    def set_input(self, images: np.ndarray) -> None:
        """Keep images for :meth:`invoke`; bytes become what the model takes."""

    @abstractmethod
    def invoke(self) -> None:
        """Run the model on what was set."""


class TfliteModel(Backend):
    """A TFLite model in LiteRT's interpreter, which runs for one thread at a time."""

    def __init__(self, path: str | Path, threads: int):
        self._path = path
        interpreter = _interpreter_class(path)
        self._lock = threading.Lock()
        file = _name_or_content(path)
        source = {"model_content" if isinstance(file, bytes) else "model_path": file}
        try:
            with _quiet_stderr():
                self.interpreter = interpreter(**source, num_threads=threads)
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            if UNPACKING in str(error):
                raise InputError(
                    f"{path}: its weights are packed, which TFLite Micro alone unpacks: take the "
                    "file of the same name in the folder above"
                ) from None
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: expected a whole TFLite model: {reason}") from None
        self.input = self.interpreter.get_input_details()[0]
        self._outputs = self.interpreter.get_output_details()
        self.input_shape = tuple(int(n) for n in self.input["shape"])
        self.input_dtype = np.dtype(self.input["dtype"])
        self.classes = int(self._outputs[0]["shape"][-1])
        self.any_batch = int(self.input["shape_signature"][0]) == -1

    @property
    def is_quantized(self) -> bool:
        """See :class:`Backend`."""
        return any(
            detail["dtype"] in INTEGERS
            and len(detail["shape"]) == 4
            and detail["index"] != self.input["index"]
            for detail in self.interpreter.get_tensor_details()
        )

    def outputs(self, images: np.ndarray) -> Outputs:
        """See :class:`Backend`."""
        with self._lock:
            if self.any_batch:
                self._resize(len(images))
                return self._run(images)
            return _in_parts(self._run, images, self.input_shape[0])

    def set_input(self, images: np.ndarray) -> None:
        """See :class:`Backend`."""
        if images.dtype == np.uint8 and self.input_dtype != np.uint8:
            images = self._converted(images)
        self.interpreter.set_tensor(self.input["index"], images)

    def invoke(self) -> None:
        """See :class:`Backend`."""
        try:
            self.interpreter.invoke()
        except RuntimeError as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{self._path}: expected a whole TFLite model: {reason}") from None

    def _run(self, images: np.ndarray) -> Outputs:
        self.set_input(images)
        self.invoke()
        return {
            detail["name"]: _dequantized(self.interpreter.get_tensor(detail["index"]), detail)
            for detail in self._outputs
        }

    def _resize(self, count: int) -> None:
        if self.interpreter.get_input_details()[0]["shape"][0] != count:
            self.interpreter.resize_tensor_input(
                self.input["index"], (count, *self.input_shape[1:])
            )
            self.interpreter.allocate_tensors()

    def _converted(self, pixels: np.ndarray) -> np.ndarray:
        if self.input_dtype == np.int8:  # pixel - 128
            return (pixels ^ 0x80).view(np.int8)
        values = centered(pixels)
        if self.input_dtype == np.int16:
            return np.round(values / self.input["quantization"][0]).astype(np.int16)
        return values


class OnnxModel(Backend):
    """An ONNX model in onnxruntime, which several threads may run at the same time."""

    def __init__(self, path: str | Path, threads: int):
        self._path = Path(path)
        self.session = open_session(self._path, threads)
        entry = self.session.get_inputs()[0]
        self.name = entry.name
        shape = tuple(n if isinstance(n, int) else 1 for n in entry.shape)
        self.any_batch = not isinstance(entry.shape[0], int)
        self.channels_first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
        self.input_shape = (shape[0], *shape[2:], shape[1]) if self.channels_first else shape
        self._names = [output.name for output in self.session.get_outputs()]
        classes = self.session.get_outputs()[0].shape[-1]
        self.classes = classes if isinstance(classes, int) else None
        self.input_dtype = np.dtype(
            {"tensor(uint8)": "uint8", "tensor(int8)": "int8"}.get(entry.type, "float32")
        )

    @property
    def is_quantized(self) -> bool:
        """See :class:`Backend`."""
        return b"QuantizeLinear" in self._path.read_bytes()

    def outputs(self, images: np.ndarray) -> Outputs:
        """See :class:`Backend`."""
        return _in_parts(self._run, images, len(images) if self.any_batch else self.input_shape[0])

    def set_input(self, images: np.ndarray) -> None:
        """See :class:`Backend`."""
        self._image = self.prepared(images)

    def invoke(self) -> None:
        """See :class:`Backend`."""
        self.session.run(None, {self.name: self._image})

    def prepared(self, images: np.ndarray) -> np.ndarray:
        """Return NHWC images in the type and the layout that the model takes."""
        if images.dtype == np.uint8 and self.input_dtype == np.float32:
            images = centered(images)
        return images.transpose(0, 3, 1, 2) if self.channels_first else images

    def _run(self, images: np.ndarray) -> Outputs:
        values = self.session.run(None, {self.name: self.prepared(images)})
        return {name: values[i] for i, name in enumerate(self._names)}


class Layer(NamedTuple):
    """A layer as OpenVINO runs it on this machine.

    Attributes:
        kind: such as ``Convolution``.
        name: of the operations that it is made of.
        precision: the type in which it computes: ``f32``, ``u8``.
        last: whether its output is the model's.
    """

    kind: str
    name: str
    precision: str
    last: bool

    @property
    def integer(self) -> bool:
        """Whether it computes with integers."""
        return self.precision in ("i8", "u8")


class OpenVinoModel(Backend):
    """An OpenVINO model on the processor, which runs for one thread at a time."""

    def __init__(self, path: str | Path, threads: int, **settings: Any):
        core = import_openvino(path).Core()
        usual = {
            "INFERENCE_NUM_THREADS": threads,
            "NUM_STREAMS": 1,
            # What the file says, not bfloat16 where the processor has it.
            "INFERENCE_PRECISION_HINT": "f32",
        }
        graph, weights = openvino_ir.read(Path(path))
        try:
            model = core.read_model(graph, weights)
            self.compiled = core.compile_model(model, "CPU", usual | settings)
        except RuntimeError as error:
            reason = str(error).strip().rpartition("\n")[2][:100]
            raise InputError(f"{path}: expected a whole OpenVINO model: {reason}") from None
        self._lock = threading.Lock()
        self.request = self.compiled.create_infer_request()
        entry, output = self.compiled.input(0), self.compiled.output(0)
        shape = [1 if n.is_dynamic else n.get_length() for n in entry.get_partial_shape()]
        self.any_batch = bool(entry.get_partial_shape()[0].is_dynamic)
        self.input_shape = tuple(shape)
        self.input_dtype = np.dtype(entry.get_element_type().to_dtype())
        classes = output.get_partial_shape()[-1]
        self.classes = None if classes.is_dynamic else classes.get_length()

    @property
    def is_quantized(self) -> bool:
        """See :class:`Backend`: whether its convolutions do."""
        return any(layer.integer for layer in self.layers() if layer.kind == "Convolution")

    def outputs(self, images: np.ndarray) -> Outputs:
        """See :class:`Backend`."""
        size = len(images) if self.any_batch else self.input_shape[0]
        with self._lock:
            return _in_parts(self._run, images, size)

    def set_input(self, images: np.ndarray) -> None:
        """See :class:`Backend`."""
        if images.dtype == np.uint8 and self.input_dtype != np.uint8:
            images = centered(images)
        tensor = self.request.get_input_tensor()
        tensor.shape = images.shape
        tensor.data[:] = images

    def invoke(self) -> None:
        """See :class:`Backend`."""
        self.request.infer()

    def layers(self) -> list[Layer]:
        """Return the layers that run, in their order."""
        found = []
        for node in self.compiled.get_runtime_model().get_ordered_ops():
            facts = node.get_rt_info()
            kind, name = facts["layerType"].astype(str), facts["originalLayersNames"].astype(str)
            precision = facts["runtimePrecision"].astype(str)
            readers = (entry.get_node() for o in node.outputs() for entry in o.get_target_inputs())
            last = any(reader.get_type_name() == "Result" for reader in readers)
            found.append(Layer(kind, name, precision, last))
        return found

    def _run(self, images: np.ndarray) -> Outputs:
        self.set_input(images)
        self.invoke()
        outputs = self.compiled.outputs
        return {o.get_any_name(): self.request.get_tensor(o).data.copy() for o in outputs}


# From a file's suffix to the class that runs it.
BACKENDS: dict[str, Callable[[str | Path, int], Backend]] = {
    paths.TFLITE: TfliteModel,
    paths.ONNX: OnnxModel,
    paths.OPENVINO: OpenVinoModel,
}


def open_model(path: str | Path, threads: int = 1) -> Backend:
    """Open any .tflite, .onnx or .xml model, with or without metadata.

    Args:
        path: of the file.
        threads: processor threads of the interpreter.

    Raises:
        InputError: there is no such file, it is damaged, or its interpreter is not installed.
    """
    path = as_path(path)
    if path.is_dir():
        raise InputError(f"expected {MODEL_FILE}, {path} is a folder")
    backend = BACKENDS.get(path.suffix.lower())
    if backend is None:
        raise InputError(f"expected {MODEL_FILE}, got {path}")
    try:
        return backend(path, threads)
    except UnicodeDecodeError:
        raise InputError(f"{path}: expected a whole model, got names that are no text") from None


def centered(pixels: np.ndarray) -> np.ndarray:
    """Return ``(pixel - 128) / 128``, float32: what files that do not take bytes take."""
    return (pixels.astype(np.float32) - 128) / 128


def open_session(path: Path, threads: int) -> Any:
    """Return an onnxruntime session of a file.

    Raises:
        InputError: onnxruntime is not installed, or can't load the file.
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs ONNX Runtime: pip install onnxruntime") from None
    for precise in ("1", "0"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4 if precise == "1" else 3  # what fails is tried again
        # Without it, sums are cut off on x86 without VNNI in files that have int8 weights above 64;
        # ours have none any more. With it, onnxruntime 1.32 can't load some of the others.
        options.add_session_config_entry("session.x64quantprecision", precise)
        try:
            return onnxruntime.InferenceSession(
                _name_or_content(path), options, ["CPUExecutionProvider"], enable_fallback=False
            )
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            reason = " ".join(str(error).split())[:100]
    raise InputError(f"{path}: expected a whole ONNX model: {reason}")


def import_openvino(needed_by: object) -> Any:
    """Import ``openvino``, without the package that tells its makers of every import.

    Raises:
        InputError: it is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    try:
        import openvino
    except ImportError:
        raise InputError(f"{needed_by} needs OpenVINO: pip install openvino") from None
    return openvino


def _interpreter_class(path: str | Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:  # LiteRT's older name and last version, for 32-bit Arm, where it has no other
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise InputError(
                f"{path} needs LiteRT: pip install ai-edge-litert (32-bit Arm: tflite-runtime)"
            ) from None
    return Interpreter


def _name_or_content(path: str | Path) -> str | bytes:
    """Return a file's name; its content where the name is in no encoding that interpreters take."""
    try:
        return str(path).encode() and str(path)
    except UnicodeEncodeError:
        return Path(path).read_bytes()


def _in_parts(run: Callable[[np.ndarray], Outputs], images: np.ndarray, size: int) -> Outputs:
    """Run ``size`` images at a time, the last ones filled up, and join the outputs."""
    found = []
    for part, count in _parts(images, size):
        found.append({name: values[:count] for name, values in run(part).items()})
    if len(found) == 1:
        return found[0]
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _parts(images: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield ``size`` images at a time, the last ones filled up, and how many of them count."""
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = size - len(part)
        yield np.concatenate([part, part[:1].repeat(missing, 0)]) if missing else part, len(part)


def _dequantized(values: np.ndarray, detail: dict[str, Any]) -> np.ndarray:
    scale, zero_point = detail["quantization"]
    if values.dtype == np.float32 or not scale:
        return values
    return (values.astype(np.float32) - zero_point) * scale


@contextlib.contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Drop the interpreter's greeting, which it prints to file descriptor 2."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr that it could print to
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)
