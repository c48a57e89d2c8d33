"""Estimate the memory that TFLite Micro needs to run a model: the tensor arena. No TensorFlow.

The arena holds the activations, each for as long as an operation needs it, and what TFLite Micro
keeps of tensors, operations and channels.
https://github.com/tensorflow/tflite-micro/blob/main/tensorflow/lite/micro/docs/memory_management.md
"""

from typing import Any

import numpy as np

from tfresnet.deploy.formats import graph
from tfresnet.runtime.backends import UNPACKING

ALIGNMENT = 16  # of every buffer in the arena
POINTER_BYTES = 8  # as on this machine; 4 on a microcontroller
# Bytes of TFLite Micro's structures: of the first two for each byte of a pointer, since they hold
# little else; the others hold 32-bit numbers.
TENSOR_BYTES = 3  # TfLiteEvalTensor
NODE_BYTES = 8  # NodeAndRegistration
FIXED_BYTES = 704  # the allocator, the planner, the model's inputs and outputs
# What the kernel of an operation keeps between calls, and its options; of a convolution besides an
# int32 multiplier and an int32 shift of each channel.
KERNEL_BYTES = {"CONV_2D": 112, "DEPTHWISE_CONV_2D": 112, "FULLY_CONNECTED": 112, UNPACKING: 96}
OTHER_KERNEL_BYTES = 72
CHANNEL_BYTES = {"CONV_2D": 8, "DEPTHWISE_CONV_2D": 8}
WIDTHS = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "INT16": 2, "FLOAT16": 2}  # others: 1


def arena_bytes(content: bytes, pointer_bytes: int = POINTER_BYTES) -> int:
    """Estimate the size of the tensor arena: activations, and TFLite Micro's own structures.

    Within 1 % of what TFLite Micro's interpreter takes, of the networks that were measured.

    Args:
        content: a TFLite file with one subgraph.
        pointer_bytes: 4 for a microcontroller.
    """
    return of_model(graph.read(content), pointer_bytes)


def of_model(model: Any, pointer_bytes: int = POINTER_BYTES) -> int:
    """Do the same as :func:`arena_bytes` for a file that was read, a ``ModelT``."""
    return _aligned(_planned(model) + kept_bytes(model, pointer_bytes))


def kept_bytes(model: Any, pointer_bytes: int) -> int:
    """Estimate what TFLite Micro keeps in the arena beside the activations."""
    (subgraph,) = model.subgraphs
    kept = FIXED_BYTES + structure_bytes(model, pointer_bytes)
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        shape = subgraph.tensors[operation.outputs[0]].shape
        channels = int(shape[-1]) if shape is not None and len(shape) else 1
        kept += KERNEL_BYTES.get(name, OTHER_KERNEL_BYTES) + CHANNEL_BYTES.get(name, 0) * channels
    return kept


def scratch_bytes(model: Any) -> int:
    """Return the most that Arm's kernels, CMSIS-NN, add for a convolution: two columns of int16.

    https://github.com/ARM-software/CMSIS-NN, ``arm_convolve_get_buffer_sizes_s8.c``
    """
    (subgraph,) = model.subgraphs
    kernels = [
        subgraph.tensors[operation.inputs[1]].shape
        for operation in subgraph.operators
        if graph.operator_name(model.operatorCodes[operation.opcodeIndex]) == "CONV_2D"
    ]
    return max((2 * 2 * int(np.prod(shape[1:])) for shape in kernels), default=0)


def structure_bytes(model: Any, pointer_bytes: int) -> int:
    """Return what TFLite Micro's structures of tensors and operations take, which hold pointers."""
    (subgraph,) = model.subgraphs
    per_pointer = TENSOR_BYTES * len(subgraph.tensors) + NODE_BYTES * len(subgraph.operators)
    return pointer_bytes * per_pointer


def _planned(model: Any) -> int:
    """Return the size of all activations in TFLite Micro's greedy plan.

    The largest is placed first; of those of one size, as in ``greedy_memory_planner.cc``, the last.
    """
    (subgraph,) = model.subgraphs
    alive: dict[int, list[int]] = {int(i): [0, 0] for i in subgraph.inputs}
    for step, operation in enumerate(subgraph.operators):
        for index in (*operation.inputs, *operation.outputs):
            if index >= 0 and not _is_constant(model, subgraph.tensors[index]):
                alive.setdefault(int(index), [step, step])[1] = step
    for index in subgraph.outputs:
        alive[int(index)][1] = len(subgraph.operators)
    size = {i: _aligned(_tensor_bytes(subgraph.tensors[i])) for i in alive}
    placed: list[tuple[int, int, list[int]]] = []  # start, end, life
    for index in sorted(alive, key=lambda i: (-size[i], -i)):
        life, start = alive[index], 0
        for low, high, other in sorted(placed, key=lambda entry: entry[0]):
            together = life[0] <= other[1] and other[0] <= life[1]
            if together and start + size[index] > low:
                start = max(start, high)
        placed.append((start, start + size[index], life))
    return max(end for _, end, _ in placed)


def _is_constant(model: Any, tensor: Any) -> bool:
    data = model.buffers[tensor.buffer].data
    return data is not None and len(data) > 0


def _tensor_bytes(tensor: Any) -> int:
    shape = [] if tensor.shape is None else tensor.shape
    return int(np.prod([max(1, n) for n in shape])) * WIDTHS.get(graph.type_name(tensor), 1)


def _aligned(count: int) -> int:
    return -(-count // ALIGNMENT) * ALIGNMENT
