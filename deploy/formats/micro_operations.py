"""The operations that TFLite Micro has, of those that our networks become. No TensorFlow."""

from tfresnet.deploy.formats import graph, weight_tables

# MicroMutableOpResolver's methods, of the operations that our networks become.
# https://github.com/tensorflow/tflite-micro/blob/main/tensorflow/lite/micro/micro_mutable_op_resolver.h
METHODS = {
    "ADD": "AddAdd", "ARG_MAX": "AddArgMax", "AVERAGE_POOL_2D": "AddAveragePool2D",
    "CAST": "AddCast", "CONCATENATION": "AddConcatenation", "CONV_2D": "AddConv2D",
    "DEPTHWISE_CONV_2D": "AddDepthwiseConv2D", "DEQUANTIZE": "AddDequantize",
    "FULLY_CONNECTED": "AddFullyConnected", "GREATER": "AddGreater",
    "GREATER_EQUAL": "AddGreaterEqual", "HARD_SWISH": "AddHardSwish", "LOGISTIC": "AddLogistic",
    "MAXIMUM": "AddMaximum", "MAX_POOL_2D": "AddMaxPool2D",
    "MEAN": "AddMean", "MUL": "AddMul", "PAD": "AddPad", "PADV2": "AddPadV2",
    "QUANTIZE": "AddQuantize", "RELU": "AddRelu", "RELU6": "AddRelu6", "RESHAPE": "AddReshape",
    "RESIZE_BILINEAR": "AddResizeBilinear", "SELECT_V2": "AddSelectV2", "SOFTMAX": "AddSoftmax",
    "STRIDED_SLICE": "AddStridedSlice", "SUB": "AddSub", weight_tables.DECODE: "AddDecode",
}  # fmt: skip


def refusal(content: bytes) -> str | None:
    """Return why TFLite Micro's kernels do not take a TFLite file; None if they do.

    They lack an operation, or its combination of data types.
    """
    for operation in graph.operations(content):
        if operation.name not in METHODS:
            return f"TFLite Micro's kernels lack {operation.name}"
        if "FLOAT16" in operation.types:
            return f"TFLite Micro has no float16: {operation.name}"
        weights = operation.name in graph.WITH_KERNELS
        if weights and "FLOAT32" in operation.types and operation.types & {"INT8", "INT4"}:
            return f"TFLite Micro has no float activations beside int8 weights: {operation.name}"
    return None
