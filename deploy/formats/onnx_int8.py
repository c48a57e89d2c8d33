"""Static int8 quantisation of ONNX graphs by onnxruntime: QDQ nodes, scales per channel."""

import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.deploy.formats import onnx_graph, wrap
from tfresnet.errors import UserError
from tfresnet.native_stderr import captured

# The softmax stays float: its answers are what is read.
OPERATIONS = ["Conv", "MatMul", "Gemm", "Add", "Relu", "Clip", "GlobalAveragePool", "MaxPool",
              "AveragePool", "Concat", "Mul", "Flatten"]  # fmt: skip


def quantize(proto: onnx_graph.Proto, images: np.ndarray) -> onnx_graph.Proto:
    """Return a float32 graph with an NCHW input of ``(pixel - 128) / 128``, quantised.

    Activations are uint8, weights int8 with a scale per output channel. The input's scale is
    exactly 1/128 and its zero point 128. ``images`` are uint8 [n, H, W, C].
    """
    import onnx
    from onnxruntime import quantization as tools
    from onnxruntime.quantization import shape_inference

    with tempfile.TemporaryDirectory() as folder, captured(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        source, target = Path(folder) / "float.onnx", Path(folder) / "int8.onnx"
        onnx.save(proto, source)
        shape_inference.quant_pre_process(source, source, skip_symbolic_shape=True)
        tools.quantize_static(
            source,
            target,
            _reader(proto.graph.input[0], images),
            quant_format=tools.QuantFormat.QDQ,
            op_types_to_quantize=OPERATIONS,
            per_channel=True,
            activation_type=tools.QuantType.QUInt8,
            weight_type=tools.QuantType.QInt8,
            extra_options={"CalibMovingAverage": False},
        )
        return onnx.load(target)


def take_bytes(proto: onnx_graph.Proto) -> None:
    """Drop what quantises the input: let the image's bytes in.

    Raises:
        UserError: the input's scale is not that of bytes.
    """
    import onnx
    from onnx import numpy_helper

    (entry,) = proto.graph.input
    (quantizer,) = [n for n in proto.graph.node if entry.name in n.input]
    values = {t.name: numpy_helper.to_array(t) for t in proto.graph.initializer}
    scale, zero_point = (values[name].item() for name in quantizer.input[1:3])
    if (scale, zero_point) != (wrap.SCALE, wrap.ZERO_POINT):
        raise UserError(
            f"expected an int8 input with scale {wrap.SCALE} and zero point {wrap.ZERO_POINT:g}, "
            f"so that it holds the image's bytes, got {scale} and {zero_point}"
        )
    proto.graph.node.remove(quantizer)
    onnx_graph.redirect(proto, quantizer.output[0], entry.name)
    entry.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def make_unsigned(proto: onnx_graph.Proto) -> None:
    """Let activations be uint8 instead of int8, with zero points 128 higher: the same numbers.

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
    """Remove each ReLU whose output is quantised from 0 on: the quantiser cuts off the same.

    onnxruntime computes a convolution or a sum with integers only if it is quantised at once.
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
    """Return what gives a graph's input ``entry`` one image after the other, to fill its batch."""
    from onnxruntime import quantization as tools

    batch = entry.type.tensor_type.shape.dim[0].dim_value or 1

    class Reader(tools.CalibrationDataReader):
        """The first two pixels are black and white."""

        def __init__(self) -> None:
            self.samples: Iterator[np.ndarray] = wrap.representative(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            for image in self.samples:
                return {entry.name: image.transpose(0, 3, 1, 2).repeat(batch, 0)}
            return None

    return Reader()
