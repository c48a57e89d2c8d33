"""Round the integer weights of a quantized TFLite file by GPTQ, with the scales that they have."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfresnet.deploy.formats import gptq, graph, kernels, running

POSITIONS, CHUNK = gptq.POSITIONS, gptq.CHUNK
PRUNED = 0.01  # share of zeros in a kernel that no training without pruning leaves
LARGEST = {schema.TensorType.INT8: 127, schema.TensorType.INT4: 7}  # integer of a weight, by type


@dataclass(frozen=True)
class Layer:
    """A convolution or dense layer of the float file.

    Attributes:
        kernel: its weights.
        source: the tensor that it reads.
        options: of the operation, in TFLite's schema.
    """

    kernel: kernels.Kernel
    source: str
    options: Any


def apply(quantized: bytes, floating: bytes, images: np.ndarray) -> bytes:
    """Return a quantized file whose weights are rounded so that the layers' outputs stay close.

    Depthwise and grouped convolutions keep their weights: an output has few inputs there. So do
    layers with weights that are 0, or shared, by pruning and clustering.

    Args:
        quantized: made of ``floating``, with weights of 4 or 8 bits and a scale for each output.
        floating: the float32 TFLite file.
        images: its inputs, float32 [n, H, W, C].
    """
    model = graph.read(quantized)
    before, after = list(_layers(floating)), list(_quantized(model))
    if len(before) != len(after):
        return quantized  # an operation became another one
    pairs = [
        (layer, tensor)
        for layer, tensor in zip(before, after, strict=True)
        if layer is not None
        and tensor.type in LARGEST
        and len(tensor.quantization.scale) == len(layer.kernel.values)  # not of shared weights
        and (layer.kernel.values == 0).mean() < PRUNED
    ]
    sums = _products(floating, [layer for layer, _ in pairs], images)
    for (layer, tensor), products in zip(pairs, sums, strict=True):
        values, scales = layer.kernel.values, np.asarray(tensor.quantization.scale)
        flat = values.reshape(len(values), -1) / scales[:, None]
        found = gptq.round_weights(flat, products, LARGEST[tensor.type]).astype(np.int8)
        model.buffers[tensor.buffer].data = _stored(found.reshape(-1), tensor.type)
    return graph.packed(model)


def _stored(integers: np.ndarray, kind: int) -> np.ndarray:
    """Return int8 integers as a file holds them; of 4 bits, two in a byte, the first one low."""
    if kind == schema.TensorType.INT8:
        return integers.view(np.uint8)
    nibbles = np.append(integers, np.zeros(len(integers) % 2, np.int8)).view(np.uint8) & 15
    return nibbles[::2] | (nibbles[1::2] << 4)


def _layers(floating: bytes) -> Iterator[Layer | None]:
    """Yield the layers of the float file; None for one that is not rounded anew."""
    model = graph.read(floating)
    stored = {kernel.tensor: kernel for kernel in kernels.dense(floating)}
    for _, subgraph, operation in kernels.operations(model):
        tensors = [subgraph.tensors[i] for i in (operation.inputs[0], operation.outputs[0])]
        source, output = (tensor.name.decode() for tensor in tensors)
        kernel = stored.get(output)
        inputs = tensors[0].shape[-1]
        whole = kernel is not None and kernel.values.shape[-1] == inputs
        yield Layer(kernel, source, operation.builtinOptions) if kernel and whole else None


def _quantized(model: Any) -> Iterator[Any]:
    """Yield the tensor of weights of each operation that has some."""
    for _, subgraph, operation in kernels.operations(model):
        yield subgraph.tensors[operation.inputs[1]]


def _products(floating: bytes, layers: list[Layer], images: np.ndarray) -> list[np.ndarray]:
    """Return the sum of x x^T over the inputs x of each layer, float32 [inputs, inputs]."""
    sums: list[Any] = [0.0] * len(layers)
    kept: list[list[np.ndarray]] = [[] for _ in layers]
    rng = np.random.default_rng(0)
    run = running.tensors(floating, [layer.source for layer in layers])
    for number, image in enumerate(images, 1):
        values = run(image)
        for layer, rows in zip(layers, kept, strict=True):
            rows.append(_rows(layer, values[layer.source][0], rng))
        if number % CHUNK == 0 or number == len(images):
            for i, rows in enumerate(kept):
                x = np.concatenate(rows)
                sums[i] += x.T @ x
                rows.clear()
    return sums


def _rows(layer: Layer, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the inputs of a layer at some positions of an image, float32 [positions, inputs].

    Args:
        layer: whose inputs they are.
        values: [height, width, channels] for a convolution, else any shape that ends in inputs.
        rng: chooses the positions.
    """
    kernel, options = layer.kernel, layer.options
    if kernel.operation != "CONV_2D":
        return values.reshape(-1, kernel.values.shape[-1])
    size = kernel.values.shape[1:3]
    steps = (options.strideH, options.strideW)
    dilations = (options.dilationHFactor, options.dilationWFactor)
    pads, starts, offsets = [], [], []
    for axis in (0, 1):
        reach, length = (size[axis] - 1) * dilations[axis] + 1, values.shape[axis]
        count = -(-length // steps[axis])
        missing = max((count - 1) * steps[axis] + reach - length, 0)
        if options.padding != schema.Padding.SAME:
            count, missing = (length - reach) // steps[axis] + 1, 0
        pads.append((missing // 2, missing - missing // 2))
        starts.append(np.arange(count) * steps[axis])
        offsets.append(np.arange(size[axis]) * dilations[axis])
    padded = np.pad(values, (*pads, (0, 0)))
    chosen = rng.permutation(len(starts[0]) * len(starts[1]))[:POSITIONS]
    rows = starts[0][chosen // len(starts[1])][:, None] + offsets[0]
    columns = starts[1][chosen % len(starts[1])][:, None] + offsets[1]
    return padded[rows[:, :, None], columns[:, None, :]].reshape(len(chosen), -1)
