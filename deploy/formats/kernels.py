"""Read and replace the kernels of convolutions and dense layers in a TFLite file."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfresnet.deploy.formats import graph

DENSE = ("CONV_2D", "FULLY_CONNECTED")  # not depthwise convolutions, whose weights are few


@dataclass(frozen=True)
class Kernel:
    """The weights of one operation.

    Attributes:
        operation: its name in TFLite's schema.
        tensor: name of its output.
        values: float32 [outputs, ...].
    """

    operation: str
    tensor: str
    values: np.ndarray


def dense(content: bytes) -> Iterator[Kernel]:
    """Yield the kernels of the convolutions and dense layers of a float32 file, in order."""
    model = graph.read(content)
    for name, subgraph, operation in operations(model):
        tensor = subgraph.tensors[operation.inputs[1]]
        data = model.buffers[tensor.buffer].data
        if name in DENSE and data is not None and len(data):
            values = np.asarray(data, np.uint8).view(np.float32).reshape(tensor.shape)
            yield Kernel(name, subgraph.tensors[operation.outputs[0]].name.decode(), values)


def with_kernel(content: bytes, tensor: str, values: np.ndarray) -> bytes:
    """Return a float32 file in which one operation has other weights.

    Args:
        content: the file.
        tensor: name of the operation's output.
        values: the weights, float32, in the old ones' shape.
    """
    model = graph.read(content)
    for _, subgraph, operation in operations(model):
        if subgraph.tensors[operation.outputs[0]].name.decode() == tensor:
            weights = subgraph.tensors[operation.inputs[1]]
            model.buffers[weights.buffer].data = (
                np.ascontiguousarray(values, np.float32).reshape(-1).view(np.uint8)
            )
    return graph.packed(model)


def operations(model: Any) -> Iterator[tuple[str, Any, Any]]:
    """Yield name, subgraph and operation of what has weights, of a ``ModelT``, in order."""
    for subgraph in model.subgraphs:
        for operation in subgraph.operators:
            name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
            if name in graph.WITH_KERNELS:
                yield name, subgraph, operation


def rounded(values: np.ndarray, bits: int) -> np.ndarray:
    """Round weights to symmetric integers of some bits, with a scale for each output.

    Args:
        values: float32 [outputs, ...].
        bits: of the integers.

    Returns:
        The rounded weights, float32 in the same shape.
    """
    most = 2 ** (bits - 1) - 1
    peaks = np.abs(values).reshape(len(values), -1).max(axis=1)
    scales = (np.where(peaks > 0, peaks, 1) / most).reshape(-1, *[1] * (values.ndim - 1))
    return (np.round(values / scales) * scales).astype(np.float32)


def last(content: bytes) -> list[str]:
    """Return the outputs of the operations with kernels that none with a kernel follows."""
    made = {name: o for o in graph.operations(content) for name in o.outputs}
    read = {name for o in made.values() for name in o.inputs}
    left, found = [made[name] for name in made if name not in read], []
    while left:
        operation = left.pop()
        if operation.name in graph.WITH_KERNELS:
            found.append(operation.outputs[0])
        else:
            left += [made[name] for name in operation.inputs if name in made]
    return list(dict.fromkeys(found))


def layer_name(tensor: str) -> str:
    """Return the name of the Keras layer whose operation gives a tensor.

    The converter joins the names of the operations that it fuses with ``;``, the first one last:
    ``net/relu/Relu;net/bn/FusedBatchNormV3;net/conv/Conv2D``.
    """
    parts = tensor.rpartition(";")[2].split("/")
    return parts[-2] if len(parts) > 1 else parts[0]
