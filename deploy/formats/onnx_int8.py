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
            _reader(proto.graph.input[0].name, images),
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
    signed = values[quantizer.input[2]].dtype == np.int8
    if (scale, zero_point) != (wrap.SCALE, 0 if signed else wrap.ZERO_POINT):
        raise UserError(
            f"expected an int8 input with scale {wrap.SCALE} and zero point {wrap.ZERO_POINT:g}, "
            f"so that it holds the image's bytes, got {scale} and {zero_point}"
        )
    proto.graph.node.remove(quantizer)
    onnx_graph.redirect(proto, quantizer.output[0], entry.name)
    if signed:  # what reads the bytes must know that they are 128 more
        bytes_zero = numpy_helper.from_array(np.array(128, np.uint8), "image_zero_point_uint8")
        proto.graph.initializer.append(bytes_zero)
        for node in proto.graph.node:
            if entry.name in node.input and node.op_type == "DequantizeLinear":
                node.input[2] = bytes_zero.name
    entry.type.tensor_type.elem_type = onnx.TensorProto.UINT8


def _reader(name: str, images: np.ndarray) -> Any:
    from onnxruntime import quantization as tools

    class Reader(tools.CalibrationDataReader):
        """Gives one image after the other; the first two pixels are black and white."""

        def __init__(self) -> None:
            self.samples: Iterator[np.ndarray] = wrap.representative(images)

        def get_next(self) -> dict[str, np.ndarray] | None:
            image = next(self.samples, None)
            return None if image is None else {name: image.transpose(0, 3, 1, 2)}

    return Reader()
