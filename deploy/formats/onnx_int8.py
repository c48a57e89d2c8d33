"""Quantize ONNX graphs to int8 with onnxruntime: QDQ nodes, scales per channel.

Weights have 7 bits. On x86 without VNNI (AVX2, most processors before 2019) onnxruntime adds the
products of two uint8 activations and two int8 weights in 16 bits, where 255 * (127 + 127) saturates
at 32767: with weights of 8 bits up to 3 points of accuracy are lost there, and none elsewhere. Of
the ways to avoid it this one costs no time, and with ``gptq`` no accuracy
(``benchmarks/onnx_int8.py``).
"""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.deploy.formats import activation_ranges, gptq, onnx_graph, wrap
from tfresnet.runtime.errors import InputError
from tfresnet.system.native_stderr import captured

# The softmax stays float: probabilities need finer steps than 8 bits have.
OPERATIONS = ["Conv", "MatMul", "Gemm", "Add", "Relu", "Clip", "GlobalAveragePool", "MaxPool",
              "AveragePool", "Concat", "Mul", "Flatten", "Resize", "Slice", "Pad"]  # fmt: skip
LARGEST_WEIGHT = 64  # 255 * (64 + 64) <= 32767


def quantize(
    proto: onnx_graph.Proto,
    images: np.ndarray,
    nearest: bool = False,
    ranges: str = "min-max",
    **choices: Any,
) -> onnx_graph.Proto:
    """Quantize a float32 graph with an NCHW input of ``(pixel - 128) / 128``.

    Activations are uint8, weights int8, -64 to 64, with a scale per output channel. The input's
    scale is exactly 1/128 and its zero point 128.

    Args:
        images: uint8 [n, H, W, C].
        nearest: whether weights are rounded to the nearest integer instead of by ``gptq``.
        ranges: how the images set the ranges of activations, a key of
            ``activation_ranges.METHODS``.
        choices: other arguments of onnxruntime's ``quantize_static``, for comparisons.
    """
    import onnx
    from onnx import numpy_helper
    from onnxruntime import quantization as tools
    from onnxruntime.quantization import shape_inference

    with tempfile.TemporaryDirectory() as folder, captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(proto, source)
        shape_inference.quant_pre_process(source, source, skip_symbolic_shape=True)
        options: dict[str, Any] = {"CalibMovingAverage": False}
        if ranges != "min-max":
            options["TensorQuantOverrides"] = _ranges(onnx.load(source), images, ranges)
        usual = {
            "quant_format": tools.QuantFormat.QDQ,
            "op_types_to_quantize": OPERATIONS,
            "per_channel": True,
            "reduce_range": True,
            "activation_type": tools.QuantType.QUInt8,
            "weight_type": tools.QuantType.QInt8,
            "extra_options": options,
        }
        reader = _reader(proto.graph.input[0], images)
        tools.quantize_static(source, target, reader, **usual | choices)
        exact = {
            f"{tensor.name}_quantized": numpy_helper.to_array(tensor)
            for tensor in onnx.load(source).graph.initializer
        }
        quantized = onnx.load(target)
        if not nearest:
            gptq.apply(quantized, exact, images, LARGEST_WEIGHT)
        return quantized


def _ranges(
    proto: onnx_graph.Proto, images: np.ndarray, method: str
) -> dict[str, list[dict[str, np.floating]]]:
    """Return the ranges of the activations by a method, as onnxruntime takes them.

    The outputs of the last layers with weights, and what follows them, keep all values.
    """
    inner = [node for node in proto.graph.node if node.op_type in OPERATIONS]
    made = {name: node for node in proto.graph.node for name in node.output}
    exact, left = set(), [value.name for value in proto.graph.output]
    while left:
        name = left.pop()
        exact.add(name)
        if name in made and made[name].op_type not in onnx_graph.WITH_WEIGHTS:
            left += [other for other in made[name].input if other not in exact]
    names = [node.output[0] for node in inner if node.output[0] not in exact]
    if not names:
        return {}
    run = gptq.watched(proto, names)
    found = activation_ranges.counted(
        lambda image: dict(zip(names, run(image), strict=True)), list(wrap.representative(images))
    )
    ends = {name: activation_ranges.METHODS[method](found[name]) for name in names}
    return {
        name: [{"rmin": np.float32(low), "rmax": np.float32(high)}]
        for name, (low, high) in ends.items()
    }


def take_bytes(proto: onnx_graph.Proto) -> None:
    """Remove the quantization of the input, which then takes the bytes of an image.

    Raises:
        InputError: the input's scale is not that of bytes.
    """
    import onnx
    from onnx import numpy_helper

    (entry,) = proto.graph.input
    (quantizer,) = [n for n in proto.graph.node if entry.name in n.input]
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scale, zero_point = (values[name].item() for name in quantizer.input[1:3])
    if (scale, zero_point) != (wrap.SCALE, wrap.ZERO_POINT):
        raise InputError(
            f"expected an int8 input with scale {wrap.SCALE} and zero point {wrap.ZERO_POINT:g}, "
            f"so that it holds the image's bytes, got {scale} and {zero_point}"
        )
    proto.graph.node.remove(quantizer)
    onnx_graph.redirect(proto, quantizer.output[0], entry.name)
    entry.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def leave_logits_float(proto: onnx_graph.Proto) -> None:
    """Remove the quantization around the final softmax or sigmoids of a graph, if it ends so.

    onnxruntime's integer product for the logits gives float results as well.
    """
    made = {name: node for node in proto.graph.node for name in node.output}
    answer, *others = proto.graph.output
    if others:
        return
    last = softmax = made[answer.name]
    if last.op_type == "DequantizeLinear":
        softmax = made[made[last.input[0]].input[0]]
    if softmax.op_type not in ("Softmax", "Sigmoid"):
        return
    pairs = [node for node in (last, made[softmax.input[0]]) if node.op_type == "DequantizeLinear"]
    softmax.output[0] = answer.name
    for dequantize in pairs:
        quantize = made[dequantize.input[0]]
        if dequantize is not last:
            softmax.input[0] = quantize.input[0]
        proto.graph.node.remove(quantize)
        proto.graph.node.remove(dequantize)


def fit_in_seven_bits(proto: onnx_graph.Proto, images: np.ndarray) -> None:
    """Halve kernels with weights beyond 64 (see this module) and double their scales.

    The loss is kept small by ``gptq`` on ``images``, uint8 [n, H, W, C].
    """
    exact: dict[str, np.ndarray] = {}
    for node, kernel in list(_kernels(proto)):
        if _exceeds(kernel):
            exact |= _halve(proto, node.input[1])
            for bias in _biases(proto, node):  # onnxruntime takes it to have the products' scale
                _halve(proto, bias)
    gptq.apply(proto, exact, images, LARGEST_WEIGHT)
    read = {name for node in proto.graph.node for name in node.input}
    kept = [tensor for tensor in proto.graph.initializer if tensor.name in read]
    del proto.graph.initializer[:]
    proto.graph.initializer.extend(kept)


def _kernels(proto: onnx_graph.Proto) -> Iterator[tuple[Any, Any]]:
    """Yield each node that has an int8 kernel, with the kernel's initializer."""
    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    made = {node.output[0]: node for node in proto.graph.node}
    for node in proto.graph.node:
        if node.op_type in onnx_graph.WITH_WEIGHTS and node.input[1] in made:
            kernel = stored.get(made[node.input[1]].input[0])
            if kernel is not None:
                yield node, kernel


def _biases(proto: onnx_graph.Proto, node: Any) -> list[str]:
    """Return the dequantized bias of a node; that of a MatMul is in the Add behind it."""
    stored = {tensor.name for tensor in proto.graph.initializer}
    dequantized = {n.output[0] for n in proto.graph.node if n.input[:1] and n.input[0] in stored}
    after = [n for n in proto.graph.node if n.op_type == "Add" and node.output[0] in n.input]
    added = [name for n in after for name in n.input] if node.op_type == "MatMul" else []
    return [name for name in [*node.input[2:], *added] if name in dequantized]


def _exceeds(kernel: Any) -> bool:
    from onnx import numpy_helper

    return bool(np.abs(numpy_helper.to_array(kernel).astype(int)).max() > LARGEST_WEIGHT)


def _halve(proto: onnx_graph.Proto, dequantized: str) -> dict[str, np.ndarray]:
    """Halve the stored integers of a DequantizeLinear's output, and double its scale.

    Returns the float values from before, by the name of the new initializer.
    """
    from onnx import helper, numpy_helper

    stored = {tensor.name: tensor for tensor in proto.graph.initializer}
    (node,) = [node for node in proto.graph.node if node.output[0] == dequantized]
    values, scale = (numpy_helper.to_array(stored[name]) for name in node.input[:2])
    changed = np.round(values / 2).astype(values.dtype), 2 * scale
    for place, (name, array) in enumerate(zip(("integers", "scale"), changed, strict=True)):
        node.input[place] = f"{dequantized}_{name}"
        proto.graph.initializer.append(numpy_helper.from_array(array, node.input[place]))
    axes = [helper.get_attribute_value(a) for a in node.attribute if a.name == "axis"]
    shape = np.ones(values.ndim, int)
    shape[axes[0] if axes else 1 % values.ndim] = -1
    return {node.input[0]: values * (scale.reshape(shape) if scale.ndim else scale)}


def make_unsigned(proto: onnx_graph.Proto) -> None:
    """Change activations from int8 to uint8, with zero points 128 higher: the same numbers.

    onnxruntime has integer kernels for uint8 activations on every processor.
    """
    from onnx import numpy_helper

    constants = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    raised: dict[str, Any] = {}
    for node in proto.graph.node:
        quantizes = node.op_type in ("QuantizeLinear", "DequantizeLinear")
        if not quantizes or node.input[0] in constants:
            continue
        old = node.input[2]
        if constants[old].dtype == np.int8:
            new = node.input[2] = f"{old}_uint8"
            zero_point = (constants[old].astype(np.int16) + 128).astype(np.uint8)
            raised[new] = numpy_helper.from_array(zero_point, new)
    proto.graph.initializer.extend(raised.values())
    del proto.graph.value_info[:]  # their types are others now


def drop_relus(proto: onnx_graph.Proto) -> None:
    """Remove each ReLU whose output is quantized from 0 on, since quantization clips the same.

    onnxruntime computes a convolution or a sum with integers only if it is quantized at once.
    """
    from onnx import numpy_helper

    constants = {t.name: t for t in proto.graph.initializer}
    readers: dict[str, list[Any]] = {}
    for node in proto.graph.node:
        for name in node.input:
            readers.setdefault(name, []).append(node)
    for relu in [node for node in proto.graph.node if node.op_type == "Relu"]:
        after = readers.get(relu.output[0], [])
        if not after or not all(n.op_type == "QuantizeLinear" and len(n.input) == 3 for n in after):
            continue
        zero_points = [numpy_helper.to_array(constants[n.input[2]]) for n in after]
        if all((point == np.iinfo(point.dtype).min).all() for point in zero_points):
            onnx_graph.redirect(proto, relu.output[0], relu.input[0])
            proto.graph.node.remove(relu)


def _reader(entry: Any, images: np.ndarray) -> Any:
    """Return a reader that feeds a graph's input ``entry`` with one image after the other."""
    from onnxruntime import quantization as tools

    batch = entry.type.tensor_type.shape.dim[0].dim_value or 1

    class Reader(tools.CalibrationDataReader):
        """Yields each image as often as the batch needs."""

        def __init__(self) -> None:
            self.samples: Iterator[np.ndarray] = wrap.representative(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            for image in self.samples:
                return {entry.name: image.transpose(0, 3, 1, 2).repeat(batch, 0)}
            return None

    return Reader()
