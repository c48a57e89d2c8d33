"""Read the operations, tensors and weights of a TFLite file, without running it."""

import io
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema
from ai_edge_litert.tools import flatbuffer_utils

WITH_KERNELS = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")
TYPES = {"FLOAT32": np.float32, "FLOAT16": np.float16, "INT8": np.int8}
BORDER = ("QUANTIZE", "DEQUANTIZE")
CONVERSIONS = ("CAST", *BORDER)  # of a type: they compute nothing
# The end of an integer file that gives float probabilities, see ``float_softmax``.
ACTIVATIONS = ("SOFTMAX", "LOGISTIC")  # what makes probabilities of logits
SORT, SUPPRESSION = "TOPK_V2", "NON_MAX_SUPPRESSION_V4"  # of the boxes of a detector
ENDING = (("QUANTIZE",), ("FULLY_CONNECTED",), ("DEQUANTIZE",), ACTIVATIONS)


def with_exact_outputs(content: bytes) -> bytes:
    """Return a file without roundings of float outputs to integers and back, which nothing needs.

    The converter quantizes also what is no result of arithmetic, such as the number of a class.
    """
    model = read(content)
    (graph,) = model.subgraphs
    names = {id(o): operator_name(model.operatorCodes[o.opcodeIndex]) for o in graph.operators}
    made = {int(index): o for o in graph.operators for index in o.outputs}
    for place, index in enumerate(graph.outputs):
        back = made.get(int(index))
        there = made.get(int(back.inputs[0])) if back else None
        if there and (names[id(there)], names[id(back)]) == ("QUANTIZE", "DEQUANTIZE"):
            graph.operators = [o for o in graph.operators if o is not back and o is not there]
            graph.outputs[place] = int(there.inputs[0])
            for signature in model.signatureDefs:
                for output in signature.outputs:
                    if output.tensorIndex == index:
                        output.tensorIndex = graph.outputs[place]
    return packed(model)


@dataclass(frozen=True)
class Operation:
    """One operation.

    Attributes:
        name: of the builtin operator, as in TFLite's schema: ``CONV_2D``.
        inputs: names of the tensors that it reads, weights too.
        outputs: names of the tensors that it writes.
        types: of all of these: ``FLOAT32``, ``INT8``.
        border: whether one of them is an input or output of the model.
        ending: whether it is one of ``ENDING`` that the model ends with, or of a suppression.
        constant: whether it only reads what the file holds, as the unpacking of float16 weights.
    """

    name: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    types: frozenset[str]
    border: bool
    ending: bool
    constant: bool

    @property
    def is_float(self) -> bool:
        """Whether it computes with float numbers.

        What only changes types at the border does not count, nor what makes probabilities of the
        logits, nor the suppression of boxes.
        """
        floats = any(t.startswith("FLOAT") for t in self.types)
        return floats and not (self.ending or (self.border and self.name in BORDER))


def read(content: bytes) -> Any:
    """Return a TFLite file as a ``ModelT``: the schema's objects, with all weights inside."""
    model = flatbuffer_utils.read_model_from_bytearray(content)
    for buffer in model.buffers:  # of weights behind the flatbuffer it gives bytes
        if isinstance(buffer.data, bytes):
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return model


def without_metadata(content: bytes) -> bytes:
    """Return a TFLite file without the zip archive that tfresnet put behind it."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            starts = [member.header_offset for member in archive.infolist()]
        return content[: min(starts, default=len(content))]
    return content


def packed(model: Any) -> bytes:
    """Return the TFLite file of a ``ModelT``."""
    return bytes(flatbuffer_utils.convert_object_to_bytearray(model))


def operations(content: bytes) -> Iterator[Operation]:
    """Yield the operations of a TFLite file in their order."""
    model = read(content)
    for graph in model.subgraphs:
        border = {*graph.inputs, *graph.outputs}
        ending = [*_ending(model, graph), *_suppression(model, graph)]
        for operation in graph.operators:
            code = model.operatorCodes[operation.opcodeIndex]
            inputs = [i for i in operation.inputs if i >= 0]
            touched = {*inputs, *operation.outputs}
            yield Operation(
                operator_name(code),
                tuple(_tensor_name(graph.tensors[i]) for i in inputs),
                tuple(_tensor_name(graph.tensors[i]) for i in operation.outputs),
                frozenset(_name(schema.TensorType, graph.tensors[i].type) for i in touched),
                bool(touched & border),
                operation in ending,
                all(_is_stored(model, graph.tensors[i]) for i in inputs),
            )


def with_named_outputs(content: bytes, names: Sequence[str]) -> bytes:
    """Return a file whose outputs are called ``names``, in this order.

    The converter orders several outputs in a way of its own; its signature knows which is which.
    """
    model = read(content)
    (graph,), (signature,) = model.subgraphs, model.signatureDefs
    given = sorted(signature.outputs, key=lambda output: int(output.name.rpartition(b"_")[2]))
    graph.outputs = [output.tensorIndex for output in given]
    for tensor in graph.tensors:  # what the network calls so inside, as before the type is changed
        if tensor.name.decode() in names:
            tensor.name += b"_inside"
    for output, name in zip(given, names, strict=True):
        graph.tensors[output.tensorIndex].name = output.name = name.encode()
    return packed(model)


def beginning(content: bytes, count: int) -> bytes:
    """Return a file with the first ``count`` operations, whose outputs are the others' inputs."""
    model = read(content)
    graph = model.subgraphs[0]
    first, others = graph.operators[:count], graph.operators[count:]
    written = [
        int(i)
        for operation in first
        for i in operation.outputs
        if not all(_is_stored(model, graph.tensors[i]) for i in operation.inputs if i >= 0)
    ]
    wanted = {int(i) for operation in others for i in operation.inputs} | {*map(int, graph.outputs)}
    graph.operators, graph.outputs = first, [i for i in written if i in wanted]
    model.signatureDefs, model.metadata = [], []
    used = {0} | {graph.tensors[i].buffer for o in first for i in (*o.inputs, *o.outputs) if i >= 0}
    for number, buffer in enumerate(model.buffers):
        if number not in used:
            buffer.data = None
    return packed(model)


def _ending(model: Any, graph: Any) -> list[Any]:
    """Return the last operations of a graph, as far back as they match ``ENDING``."""
    made = {int(index): operation for operation in graph.operators for index in operation.outputs}
    found, ending = made.get(int(graph.outputs[0])), []
    for names in reversed(ENDING):
        if found is None or operator_name(model.operatorCodes[found.opcodeIndex]) not in names:
            break
        ending.append(found)
        found = made.get(int(found.inputs[0]))
    return ending


def _suppression(model: Any, graph: Any) -> list[Any]:
    """Return what chooses among the boxes of a detector: a sort and all that follows from it.

    None of it computes with integers, nor does what turns its inputs into float numbers.
    """
    names = [operator_name(model.operatorCodes[o.opcodeIndex]) for o in graph.operators]
    if SUPPRESSION not in names:
        return []
    found: list[Any] = []
    made: set[int] = set()
    for name, operation in zip(names, graph.operators, strict=True):
        if name == SORT or made & {*map(int, operation.inputs)}:
            found.append(operation)
            made |= {*map(int, operation.outputs)}
    read = {int(index) for operation in found for index in operation.inputs}
    return found + [
        operation
        for name, operation in zip(names, graph.operators, strict=True)
        if name not in WITH_KERNELS and {*map(int, operation.outputs)} <= read - made
    ]


def float_operations(content: bytes) -> list[str]:
    """Return the operations that compute with float numbers, as ``NAME at output``."""
    return [f"{o.name} at {o.outputs[0]}" for o in operations(content) if o.is_float]


def input_quantization(content: bytes) -> tuple[float, int]:
    """Return the scale and zero point of a file's first input."""
    graph = read(content).subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])


def sparsity(content: bytes) -> float:
    """Return the share of zeros among the weights of all convolutions and dense layers."""
    found = [values for _, _, values in kernels(content)]
    total = sum(values.size for values in found)
    return sum(int((values == 0).sum()) for values in found) / total if total else 0.0


def unique_weights(content: bytes) -> int:
    """Return the number of different weights in the convolution that has most, without the first.

    Depthwise convolutions and dense layers are not looked at, as by ``--cluster``. Of quantized
    kernels the stored integers are counted.
    """
    _, *others = [values for name, _, values in kernels(content) if name == "CONV_2D"]
    return max(map(different, others), default=0)


def different(values: np.ndarray) -> int:
    """Return the number of different values.

    float16 goes through float32: NumPy 2.4 does not sort long arrays of it right with AVX-512.
    """
    wide = values.astype(np.float32) if values.dtype == np.float16 else values
    return len(np.unique(wide))


def kernels(content: bytes) -> Iterator[tuple[str, str, np.ndarray]]:
    """Yield name, output and stored weights [n] of each operation with a kernel, in order."""
    model = read(content)
    for graph in model.subgraphs:
        stored = {o.outputs[0]: o.inputs[0] for o in graph.operators}  # before a DEQUANTIZE
        for operation in graph.operators:
            code = model.operatorCodes[operation.opcodeIndex]
            name = operator_name(code)
            if name not in WITH_KERNELS:
                continue
            index = operation.inputs[1]
            values = _values(model, graph.tensors[index])
            if values is None and index in stored:
                values = _values(model, graph.tensors[stored[index]])
            if values is not None:
                yield name, _tensor_name(graph.tensors[operation.outputs[0]]), values.reshape(-1)


def _is_stored(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _values(model: Any, tensor: Any) -> np.ndarray | None:
    """Return the stored values of a tensor, flat; None if it is computed."""
    if not _is_stored(model, tensor):
        return None
    raw = np.asarray(model.buffers[tensor.buffer].data, np.uint8)
    kind = _name(schema.TensorType, tensor.type)
    if kind == "INT4":  # two in a byte
        return np.stack([raw & 15, raw >> 4])
    return raw.view(TYPES[kind])


def input_name(content: bytes) -> str:
    """Return the name of a file's first input tensor."""
    graph = read(content).subgraphs[0]
    return graph.tensors[graph.inputs[0]].name.decode()


def _tensor_name(tensor: Any) -> str:
    """Return a tensor's name; empty if it has none."""
    return (tensor.name or b"").decode()


def operator_name(code: Any) -> str:
    """Return the name of a builtin operator, as in TFLite's schema, or that of a custom one."""
    builtin = flatbuffer_utils.get_builtin_code_from_operator_code(code)
    if builtin == schema.BuiltinOperator.CUSTOM and code.customCode:
        return str(code.customCode.decode())
    return _name(schema.BuiltinOperator, builtin)


def type_name(tensor: Any) -> str:
    """Return the data type of a tensor, as in TFLite's schema."""
    return _name(schema.TensorType, tensor.type)


@cache
def _names(enum: type) -> dict[int, str]:
    return {v: k for k, v in vars(enum).items() if isinstance(v, int)}


def _name(enum: type, value: int) -> str:
    return _names(enum).get(value, "CUSTOM")
