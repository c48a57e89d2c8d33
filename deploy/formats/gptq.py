"""Round weights so that the outputs of a layer stay close, by GPTQ.

Frantar et al. 2023, arXiv:2210.17323. Weights are rounded one input at a time, and the error of
each is compensated by the weights that are not rounded yet, according to how the inputs correlate
in the calibration images. With it, weights of 7 bits are as accurate as weights of 8 bits that are
rounded to the nearest (``benchmarks/onnx_int8.py``).
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from tfresnet.deploy.formats import onnx_graph, wrap

POSITIONS = 32  # sampled in each image from those where a convolution is computed
CHUNK = 25  # images whose inputs are collected before their products are summed
BLOCK = 128  # inputs that are rounded before the weights of the later ones are updated
DAMPING = 0.01  # of the mean square of the inputs


@dataclass(frozen=True)
class Layer:
    """A convolution or matrix product with int8 weights, in a graph of QDQ nodes.

    Attributes:
        node: the Conv, MatMul or Gemm.
        kernel: the initializer with its integer weights.
        scales: float [outputs], of the weights.
        axis: the kernel's axis of outputs.
    """

    node: Any
    kernel: Any
    scales: np.ndarray
    axis: int

    @cached_property
    def attributes(self) -> dict[str, Any]:
        """The node's attributes; they are asked for with every image."""
        from onnx import helper

        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}


def apply(
    proto: onnx_graph.Proto, exact: dict[str, np.ndarray], images: np.ndarray, largest: int
) -> None:
    """Round the integer weights of a graph of QDQ nodes anew, with the same scales.

    Grouped convolutions keep their weights: an output has few inputs there.

    Args:
        proto: with an NCHW input of ``(pixel - 128) / 128``.
        exact: the float weights, by the name of the initializer with their integers.
        images: of the calibration, uint8 [n, H, W, C].
        largest: largest absolute value of an integer.
    """
    from onnx import numpy_helper

    layers = [layer for layer in _layers(proto) if layer.kernel.name in exact]
    for layer, products in zip(layers, _products(proto, layers, images), strict=True):
        weights = np.moveaxis(exact[layer.kernel.name], layer.axis, 0)
        flat = weights.reshape(len(weights), -1) / layer.scales[:, None]
        found = round_weights(flat, products, largest).reshape(weights.shape)
        array = np.ascontiguousarray(np.moveaxis(found, 0, layer.axis).astype(np.int8))
        layer.kernel.CopyFrom(numpy_helper.from_array(array, layer.kernel.name))


def round_weights(weights: np.ndarray, products: np.ndarray, largest: int) -> np.ndarray:
    """Round the weights of a layer to integers from -largest to largest, by GPTQ.

    Args:
        weights: float [outputs, inputs], in units of one step.
        products: the sum of x x^T over inputs x, [inputs, inputs].
        largest: largest absolute value of an integer.

    Returns:
        float64 [outputs, inputs].
    """
    left, result = weights.astype(np.float64), np.zeros(weights.shape)
    power = np.trace(products) / len(products)
    if not power > 0:
        return np.clip(np.round(left), -largest, largest)
    order = np.argsort(-np.diag(products), kind="stable")  # the strongest inputs first
    damped = products[np.ix_(order, order)] + DAMPING * power * np.eye(len(products))
    upper = np.linalg.cholesky(np.linalg.inv(damped)).T
    left = left[:, order]
    for start in range(0, len(order), BLOCK):
        end = min(start + BLOCK, len(order))
        errors = np.zeros((len(left), end - start))
        for i in range(start, end):
            integers = np.clip(np.round(left[:, i]), -largest, largest)
            result[:, order[i]] = integers
            errors[:, i - start] = (left[:, i] - integers) / upper[i, i]
            left[:, i:end] -= np.outer(errors[:, i - start], upper[i, i:end])
        left[:, end:] -= errors @ upper[start:end, end:]
    return result


def _layers(proto: onnx_graph.Proto) -> Iterator[Layer]:
    """Yield the layers that :func:`apply` can round: one scale an output, no groups."""
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    made = {node.output[0]: node for node in proto.graph.node}
    for node in proto.graph.node:
        dequantize = made.get(node.input[1]) if node.op_type in onnx_graph.WITH_WEIGHTS else None
        if dequantize is None or dequantize.input[0] not in stored:
            continue
        kernel = stored[dequantize.input[0]]
        axes = {a.name: helper.get_attribute_value(a) for a in dequantize.attribute}
        axis = axes.get("axis", 1) % len(kernel.dims)
        scales = numpy_helper.to_array(stored[dequantize.input[1]]).reshape(-1)
        layer = Layer(node, kernel, scales, axis)
        padded = layer.attributes.get("auto_pad", b"NOTSET") == b"NOTSET"
        if len(scales) == kernel.dims[axis] and layer.attributes.get("group", 1) == 1 and padded:
            yield layer


def _products(proto: onnx_graph.Proto, layers: list[Layer], images: np.ndarray) -> list[np.ndarray]:
    """Return the sum of x x^T over the inputs x of each layer, float32 [inputs, inputs]."""
    sums: list[Any] = [0.0] * len(layers)
    kept: list[list[np.ndarray]] = [[] for _ in layers]
    rng = np.random.default_rng(0)

    def add_products() -> None:
        for i, rows in enumerate(kept):
            x = np.concatenate(rows)
            sums[i] += x.T @ x
            rows.clear()

    for number, inputs in enumerate(_inputs(proto, layers, images), 1):
        for layer, values, rows in zip(layers, inputs, kept, strict=True):
            rows.append(_rows(layer, values[0], rng))
        if number % CHUNK == 0 or number == len(images):
            add_products()
    return sums


def _inputs(
    proto: onnx_graph.Proto, layers: list[Layer], images: np.ndarray
) -> Iterator[list[np.ndarray]]:
    """Yield the inputs of all layers, one image at a time."""
    run = watched(proto, [layer.node.input[0] for layer in layers])
    for image in wrap.representative(images):
        yield run(image)


def watched(
    proto: onnx_graph.Proto, names: Sequence[str]
) -> Callable[[np.ndarray], list[np.ndarray]]:
    """Return a function that runs a graph and gives the tensors of some names inside it.

    Args:
        proto: with one NCHW input.
        names: of tensors.

    Returns:
        A function from an input, float32 [1, H, W, C], to arrays.
    """
    import onnx
    import onnxruntime

    watched = onnx.ModelProto.FromString(proto.SerializeToString())
    (entry,) = watched.graph.input
    known = {value.name for value in watched.graph.output}
    watched.graph.output.extend(
        onnx.helper.make_empty_tensor_value_info(name) for name in {*names} - known
    )
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        watched.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    batch = entry.type.tensor_type.shape.dim[0].dim_value or 1

    def run(image: np.ndarray) -> list[np.ndarray]:
        return session.run(names, {entry.name: image.transpose(0, 3, 1, 2).repeat(batch, 0)})

    return run


def _rows(layer: Layer, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return the inputs of a layer at some positions of an image, float32 [positions, inputs].

    Args:
        layer: whose inputs they are.
        values: [channels, height, width] for a convolution, else [inputs].
        rng: chooses the positions.
    """
    if layer.node.op_type != "Conv":
        return values.reshape(-1, values.shape[-1])
    attributes = layer.attributes
    top, left, bottom, right = attributes.get("pads", [0] * 4)
    padded = np.pad(values, ((0, 0), (top, bottom), (left, right)))
    starts, offsets = [], []
    for side, axis in enumerate((1, 2)):
        size, step = layer.kernel.dims[2 + side], attributes.get("strides", [1, 1])[side]
        offsets.append(np.arange(size) * attributes.get("dilations", [1, 1])[side])
        starts.append(np.arange(0, padded.shape[axis] - offsets[side][-1], step))
    count = len(starts[0]) * len(starts[1])
    chosen = rng.permutation(count)[:POSITIONS]
    rows = starts[0][chosen // len(starts[1])][:, None] + offsets[0]
    columns = starts[1][chosen % len(starts[1])][:, None] + offsets[1]
    found = padded[:, rows[:, :, None], columns[:, None, :]]  # channels, positions, height, width
    return found.transpose(1, 0, 2, 3).reshape(len(chosen), -1)
