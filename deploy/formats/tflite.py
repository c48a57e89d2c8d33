"""Keras model -> TFLite bytes: float32, float16, dynamic range, and full-integer int8."""

from collections.abc import Iterator

import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfresnet.deploy.formats import wrap
from tfresnet.errors import UserError
from tfresnet.native_stderr import captured
from tfresnet.spec import InputSpec

QUANTIZATIONS = ("float32", "float16", "dynamic", "int8")


def convert(
    model: keras.Model,
    spec: InputSpec,
    quantization: str,
    calibration: np.ndarray | None = None,
) -> bytes:
    """Return a TFLite file of ``model`` with batch 1, uint8 RGB in and float32 probabilities out.

    Args:
        quantization: one of ``QUANTIZATIONS``. float16 halves the weights; dynamic keeps int8
            weights (per channel) and float activations; int8 is integer throughout.
        calibration: training images, uint8 [n, H, W, 3], that set int8's activation ranges.
    """
    pixels = quantization != "int8"
    function = (wrap.from_pixels if pixels else wrap.from_centred_pixels)(model, spec, batch=1)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], model
    )
    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        if calibration is None or not len(calibration):
            raise UserError("int8 needs calibration images, got none")
        converter.representative_dataset = lambda: _representative(calibration)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = tf.uint8
        converter.inference_output_type = tf.float32
    with captured():
        content = converter.convert()
    if quantization == "int8" and input_quantization(content) != (wrap.SCALE, wrap.ZERO_POINT):
        raise UserError(
            f"expected an int8 input with scale {wrap.SCALE} and zero point {wrap.ZERO_POINT:g}, "
            f"so that it holds the image's bytes, got {input_quantization(content)}"
        )
    return content


def _representative(images: np.ndarray) -> Iterator[list[np.ndarray]]:
    """Yield calibration inputs that span the whole range of a byte.

    The input's scale is exactly 1/128 only if both 0 and 255 were seen. Photographs have both;
    where the images do not, two corner pixels of the first one are set to them, which is too
    little to move the range of any other tensor noticeably.
    """
    images = images.copy()
    if images.min() > 0:
        images[0, 0, 0] = 0
    if images.max() < 255:
        images[0, -1, -1] = 255
    for image in images:
        yield [(image[None].astype(np.float32) - wrap.ZERO_POINT) * np.float32(wrap.SCALE)]


def float_operations(content: bytes) -> list[str]:
    """Return the operations of a TFLite file that touch a float tensor, as ``NAME at output``.

    Left out are those at the border that change the type of an input or of an output.
    """
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    names = {v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int)}
    floats = {schema.TensorType.FLOAT16, schema.TensorType.FLOAT32, schema.TensorType.FLOAT64}
    found = []
    for graph in model.subgraphs:
        border = {*graph.inputs, *graph.outputs}
        for operation in graph.operators:
            code = model.operatorCodes[operation.opcodeIndex]
            name = names.get(max(code.builtinCode, code.deprecatedBuiltinCode), "CUSTOM")
            touched = {i for i in (*operation.inputs, *operation.outputs) if i >= 0}
            at_border = name in ("QUANTIZE", "DEQUANTIZE") and touched & border
            if not at_border and any(graph.tensors[i].type in floats for i in touched):
                found.append(f"{name} at {graph.tensors[operation.outputs[0]].name.decode()}")
    return found


def input_quantization(content: bytes) -> tuple[float, int]:
    """Return the scale and zero point of a TFLite file's first input."""
    from ai_edge_litert import schema_py_generated as schema

    graph = schema.ModelT.InitFromPackedBuf(content, 0).subgraphs[0]
    quantization = graph.tensors[graph.inputs[0]].quantization
    return float(quantization.scale[0]), int(quantization.zeroPoint[0])
