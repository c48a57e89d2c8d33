"""Store the weights of TFLite Micro's files as packed indices into tables of their values.

A kernel with at most 16 different values needs 4 bits a weight instead of 8. TFLite Micro's
operation DECODE unpacks the weights of a convolution into the arena just before it runs: such a
file takes less flash, and more RAM and time. The form is that of ``tflite_micro.compression``
(``decode.py`` and ``lut.py``):
https://github.com/tensorflow/tflite-micro/tree/main/tensorflow/lite/micro/compression

Only weights of convolutions are packed: optimized kernels of dense layers read theirs before any
operation has run. A kernel has as many tables as it has scales, one or one for each output channel:
TFLite Micro before its version of autumn 2026 looks for no other number.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import flatbuffers
import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfresnet.deploy.formats import graph
from tfresnet.runtime.backends import UNPACKING

DECODE = UNPACKING  # the name of the custom operation
WITH_PACKED_WEIGHTS = ("CONV_2D", "DEPTHWISE_CONV_2D")
WEIGHTS = 1  # position of the weights among an operation's inputs
LOOKUP_TABLE, VERSION = 0, 1  # bytes 0 and 1 of the header
ONE_TABLE = 15  # the axis that stands for a single table
HEADER_BYTES, MAX_BITS = 16, 7
ALIGNMENT = 16  # of all data: the kernels read indices 8 bytes at a time, Xtensa's tables by 16
LEAST_GAIN = 0.1  # share of a file that must be saved, for a packed one to be made


@dataclass(frozen=True)
class PackedWeights:
    """Weights as indices into tables.

    Attributes:
        indices: packed, the first index in the highest bits of the first byte.
        tables: a header of 16 bytes, then the values of each table, int8.
    """

    indices: bytes
    tables: bytes


def packed(content: bytes) -> bytes | None:
    """Return a TFLite file with packed weights; None if that saves less than a tenth of it.

    Args:
        content: an int8 TFLite file without metadata behind it.
    """
    model = graph.read(content)
    for subgraph in model.subgraphs:
        _pack(model, subgraph)
        for tensor in subgraph.tensors:  # names would take flash, too
            tensor.name = None
    model.signatureDefs = []
    result = _aligned_file(model)
    return result if len(result) <= (1 - LEAST_GAIN) * len(content) else None


def clustered_size(content: bytes, clusters: int) -> int:
    """Return the bytes that a file takes packed, if its kernels had so many different weights.

    Such kernels have one scale, and so one table.

    Args:
        content: as for :func:`packed`.
        clusters: different weights in a kernel.
    """
    model = graph.read(content)
    for subgraph in model.subgraphs:
        for index in _packable(model, subgraph):
            tensor = subgraph.tensors[index]
            quantization, buffer = tensor.quantization, model.buffers[tensor.buffer]
            quantization.scale, quantization.zeroPoint = [1.0], [0]
            buffer.data = np.asarray(buffer.data, np.uint8) % clusters
    found = packed(graph.packed(model))
    return len(content) if found is None else len(found)


def unpacked(content: bytes) -> bytes:
    """Return the TFLite file without DECODE that has the same weights: the inverse of packing."""
    model = graph.read(content)
    for subgraph in model.subgraphs:
        for operation in [o for o in subgraph.operators if _is_decode(model, o)]:
            indices, tables = (_bytes(model, subgraph.tensors[i]) for i in operation.inputs)
            tensor = subgraph.tensors[operation.outputs[0]]
            tensor.buffer = len(model.buffers)
            values = unpack(PackedWeights(indices, tables), tuple(tensor.shape))
            model.buffers.append(_buffer(values.tobytes()))
        subgraph.operators = [o for o in subgraph.operators if not _is_decode(model, o)]
    return graph.packed(model)


def same_weights(one: bytes, other: bytes) -> bool:
    """Tell whether two files without DECODE have the same kernels, bit for bit."""
    left, right = ([values for *_, values in graph.kernels(c)] for c in (one, other))
    return len(left) == len(right) and all(map(np.array_equal, left, right))


def pack(values: np.ndarray, tables: int) -> PackedWeights | None:
    """Pack int8 weights [channels, ...]; None if a table would have more than 128 values.

    Args:
        values: the weights.
        tables: 1, or one for each channel.
    """
    rows = values.reshape(tables, -1)
    found = [np.unique(row, return_inverse=True) for row in rows]
    stride = max(len(table) for table, _ in found)
    bits = max(1, (stride - 1).bit_length())
    if bits > MAX_BITS:
        return None
    indices = np.concatenate([places.reshape(-1) for _, places in found]).astype(np.uint8)
    ones = np.unpackbits(indices[:, None], axis=1)[:, 8 - bits :]
    header = np.zeros(HEADER_BYTES, np.uint8)
    axis = ONE_TABLE if tables == 1 else 0
    header[[0, 1, 4, 5, 6]] = LOOKUP_TABLE, VERSION, VERSION, axis << 4 | bits, stride
    filled = np.zeros((tables, stride), np.int8)
    for row, (table, _) in zip(filled, found, strict=True):
        row[: len(table)] = table
    return PackedWeights(np.packbits(ones).tobytes(), header.tobytes() + filled.tobytes())


def unpack(weights: PackedWeights, shape: tuple[int, ...]) -> np.ndarray:
    """Return the int8 weights, of a shape [channels, ...], that packed ones stand for."""
    kind, version, _, _, table_version, parameters, stride = weights.tables[:7]
    assert (kind, version, table_version) == (LOOKUP_TABLE, VERSION, VERSION)
    axis, bits, count = parameters >> 4, parameters & 7, int(np.prod(shape))
    tables = np.frombuffer(weights.tables, np.int8, offset=HEADER_BYTES).reshape(-1, stride)
    assert len(tables) == (1 if axis == ONE_TABLE else shape[axis])
    ones = np.unpackbits(np.frombuffer(weights.indices, np.uint8))[: count * bits]
    indices = ones.reshape(count, bits) @ (1 << np.arange(bits)[::-1])
    rows = np.repeat(np.arange(len(tables)), count // len(tables))
    return tables[rows, indices].reshape(shape)


def _pack(model: Any, subgraph: Any) -> None:
    """Pack the weights of a subgraph's convolutions, where that is smaller."""
    packable = set(_packable(model, subgraph))
    operators = []
    for operation in subgraph.operators:
        index = int(operation.inputs[WEIGHTS]) if len(operation.inputs) > WEIGHTS else None
        if index in packable and (weights := _smaller(model, subgraph.tensors[index])):
            operators.append(_decoding(model, subgraph, index, weights))
            operation.inputs[WEIGHTS] = operators[-1].outputs[0]
        operators.append(operation)
    subgraph.operators = operators


def _packable(model: Any, subgraph: Any) -> Iterator[int]:
    """Yield the tensors that are the weights of one convolution, and of nothing else."""
    readers = Counter(int(i) for o in subgraph.operators for i in o.inputs)
    holders = Counter(tensor.buffer for s in model.subgraphs for tensor in s.tensors)
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        if name in WITH_PACKED_WEIGHTS:
            index = int(operation.inputs[WEIGHTS])
            tensor = subgraph.tensors[index]
            alone = readers[index] == 1 and holders[tensor.buffer] == 1
            if alone and tensor.type == schema.TensorType.INT8:
                yield index


def _smaller(model: Any, tensor: Any) -> PackedWeights | None:
    """Return the packed weights of a tensor; None if they are not smaller."""
    scales = len(tensor.quantization.scale)
    if scales > 1 and tensor.quantization.quantizedDimension != 0:
        return None  # of a depthwise convolution, whose channels are its last axis
    values = np.frombuffer(_bytes(model, tensor), np.int8)
    weights = pack(values, scales)
    if weights is None or len(weights.indices) + len(weights.tables) >= values.size:
        return None
    return weights


def _decoding(model: Any, subgraph: Any, index: int, weights: PackedWeights) -> Any:
    """Replace the data of a tensor by packed ones; return the operation that unpacks them.

    What the operation writes is a new tensor, the last but one.
    """
    tensor = subgraph.tensors[index]
    decoded = schema.TensorT()
    decoded.__dict__.update(vars(tensor))
    decoded.buffer = 0  # of what is computed
    packed_tensor = _stored(model, weights.indices)
    subgraph.tensors[index] = packed_tensor
    model.buffers[tensor.buffer].data = None
    subgraph.tensors += [decoded, _stored(model, weights.tables)]
    operation = schema.OperatorT()
    operation.opcodeIndex = _decode_code(model)
    operation.inputs = [index, len(subgraph.tensors) - 1]
    operation.outputs = [len(subgraph.tensors) - 2]
    return operation


def _stored(model: Any, data: bytes) -> Any:
    """Return a tensor of bytes, whose buffer is added to the model."""
    tensor = schema.TensorT()
    tensor.shape, tensor.type = [len(data)], schema.TensorType.UINT8
    tensor.buffer = len(model.buffers)
    model.buffers.append(_buffer(data))
    return tensor


def _buffer(data: bytes) -> Any:
    buffer = schema.BufferT()
    buffer.data = np.frombuffer(data, np.uint8)
    return buffer


def _decode_code(model: Any) -> int:
    """Return the index of DECODE among a model's kinds of operations; add it if there is none."""
    for number, code in enumerate(model.operatorCodes):
        if graph.operator_name(code) == DECODE:
            return number
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode, code.version = DECODE.encode(), 1
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _is_decode(model: Any, operation: Any) -> bool:
    return graph.operator_name(model.operatorCodes[operation.opcodeIndex]) == DECODE


def _bytes(model: Any, tensor: Any) -> bytes:
    return np.asarray(model.buffers[tensor.buffer].data, np.uint8).tobytes()


class _AlignedBuilder(flatbuffers.Builder):
    """Aligns vectors of bytes, as TFLite's schema asks for and its Python classes do not."""

    def StartVector(self, elemSize: int, numElems: int, alignment: int) -> int:
        return super().StartVector(elemSize, numElems, max(alignment, ALIGNMENT))


def _aligned_file(model: Any) -> bytes:
    builder = _AlignedBuilder(1024)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())
