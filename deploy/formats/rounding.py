"""Rounding of weights that keeps a layer's outputs instead of each weight.

GPTQ (Frantar et al. 2023, arXiv:2210.17323): weights are rounded input by input, and what one loses
is made up for by those that are not rounded yet, as the inputs go together in calibration images.
With it weights of 7 bits do what those of 8 do that are rounded to the nearest
(``benchmarks/onnx_int8.py``).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfresnet.deploy.formats import onnx_graph, wrap

PLACES = 32  # of each image, where the inputs of a convolution are looked at
CHUNK = 25  # images whose inputs are kept before they are added up
BLOCK = 128  # inputs that are rounded before the others make up for them
DAMPING = 0.01  # of the mean square of the inputs


@dataclass(frozen=True)
class Layer:
    """A convolution or product with int8 weights, in a graph of QDQ nodes.

    Attributes:
        node: the operation.
        kernel: the initializer with its weights.
        scales: float [outputs], of the weights.
        axis: of the outputs in the kernel.
    """

    node: Any
    kernel: Any
    scales: np.ndarray
    axis: int

    @property
    def attributes(self) -> dict[str, Any]:
        """The node's attributes."""
        from onnx import helper

        return {a.name: helper.get_attribute_value(a) for a in self.node.attribute}


def improve(
    proto: onnx_graph.Proto, exact: dict[str, np.ndarray], images: np.ndarray, largest: int
) -> None:
    """Round the weights of a graph of QDQ nodes anew; their scales stay.

    Convolutions with groups are left as they are: few inputs meet in one output.

    Args:
        proto: with an NCHW input of ``(pixel - 128) / 128``.
        exact: the weights to be rounded, float, by the name of the initializer.
        images: of the calibration, uint8 [n, H, W, C].
        largest: absolute value of an integer.
    """
    from onnx import numpy_helper

    layers = [layer for layer in _layers(proto) if layer.kernel.name in exact]
    for layer, products in zip(layers, _products(proto, layers, images), strict=True):
        weights = np.moveaxis(exact[layer.kernel.name], layer.axis, 0)
        flat = weights.reshape(len(weights), -1) / layer.scales[:, None]
        found = rounded(flat, products, largest).reshape(weights.shape)
        array = np.ascontiguousarray(np.moveaxis(found, 0, layer.axis).astype(np.int8))
        layer.kernel.CopyFrom(numpy_helper.from_array(array, layer.kernel.name))


def rounded(weights: np.ndarray, products: np.ndarray, largest: int) -> np.ndarray:
    """Return integers from -largest to largest, float64 [outputs, inputs], for such weights.

    Args:
        weights: float [outputs, inputs], in units of one step.
        products: the sums of x x^T over inputs x, [inputs, inputs].
        largest: absolute value of an integer.
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
    """Return the sums of x x^T over the inputs x of each layer, float64 [inputs, inputs]."""
    sums: list[Any] = [0.0] * len(layers)
    kept: list[list[np.ndarray]] = [[] for _ in layers]
    rng = np.random.default_rng(0)

    def add_up() -> None:
        for i, rows in enumerate(kept):
            x = np.concatenate(rows)
            sums[i] += (x.T @ x).astype(np.float64)
            rows.clear()

    for number, inputs in enumerate(_inputs(proto, layers, images), 1):
        for layer, values, rows in zip(layers, inputs, kept, strict=True):
            rows.append(_rows(layer, values[0], rng))
        if number % CHUNK == 0 or number == len(images):
            add_up()
    return sums


def _inputs(
    proto: onnx_graph.Proto, layers: list[Layer], images: np.ndarray
) -> Iterator[list[np.ndarray]]:
    """Yield what each layer gets for one image after the other."""
    import onnx
    import onnxruntime

    watched = onnx.ModelProto.FromString(proto.SerializeToString())
    (entry,) = watched.graph.input
    names = [layer.node.input[0] for layer in layers]
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
    for image in wrap.representative(images):
        fed = {entry.name: image.transpose(0, 3, 1, 2).repeat(batch, 0)}
        yield session.run(names, fed)


def _rows(layer: Layer, values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return inputs of a layer at some places, float32 [places, inputs], of one image's values."""
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
    chosen = rng.permutation(count)[:PLACES]
    rows = starts[0][chosen // len(starts[1])][:, None] + offsets[0]
    columns = starts[1][chosen % len(starts[1])][:, None] + offsets[1]
    found = padded[:, rows[:, :, None], columns[:, None, :]]  # channels, places, height, width
    return found.transpose(1, 0, 2, 3).reshape(len(chosen), -1)
