"""Change the end of an integer TFLite file: logits of 16 bits, and a softmax in float.

Sigmoids, TFLite's ``LOGISTIC``, may stand in the softmax's place. An integer softmax has steps of
1/256: classes with a probability below 1/512 get 0, which spoils top-5 and the cross-entropy.
Logits of 8 bits have 256 values for all classes together, so that many of a thousand classes tie.
"""

from typing import Any

import numpy as np
from ai_edge_litert import schema_py_generated as schema

from tfresnet.deploy.formats import graph

WIDER = 128  # values of 16 bits in one of 8: none, less its zero point, is above 255
HEADROOM = 4  # of the logits' range over that of the calibration images: 14 bits are left
# The first versions of the operations that have int16 inputs, or outputs.
QUANTIZE, FULLY_CONNECTED, DEQUANTIZE = 2, 7, 3


def apply(content: bytes) -> bytes:
    """Return an integer file whose float32 probabilities are computed in float from its logits.

    ``FULLY_CONNECTED, SOFTMAX, DEQUANTIZE`` become ``QUANTIZE, FULLY_CONNECTED, DEQUANTIZE,
    SOFTMAX``: the dense layer's int8 inputs are widened to int16, which changes none of them, and
    so its outputs are int16. 4-bit weights, for which TFLite has no such kernel, keep int8 logits.
    A file that does not end in this way, as one with integer outputs, is returned as it is.
    """
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    made = {int(index): o for o in subgraph.operators for index in o.outputs}
    dequantize = made[int(subgraph.outputs[0])]
    softmax: Any = made.get(int(dequantize.inputs[0]))
    names = [_name(model, o) for o in (dequantize, softmax) if o]
    if names not in [["DEQUANTIZE", activation] for activation in graph.ACTIVATIONS]:
        return content
    before = made[int(softmax.inputs[0])]
    if _name(model, before) == "QUANTIZE":  # the dense layer was left in float
        softmax.inputs, softmax.outputs = before.inputs, dequantize.outputs
        subgraph.operators = [o for o in subgraph.operators if o not in (before, dequantize)]
        return graph.packed(model)
    _swap(subgraph, softmax, dequantize)
    if _name(model, before) == "FULLY_CONNECTED":
        _widen(model, subgraph, before, dequantize)
    return graph.packed(model)


def _swap(subgraph: Any, softmax: Any, dequantize: Any) -> None:
    """Move the dequantization before the softmax, so that it dequantizes the logits."""
    between = softmax.outputs
    tensor = subgraph.tensors[between[0]]
    tensor.type, tensor.quantization = schema.TensorType.FLOAT32, None
    dequantize.inputs, softmax.outputs = softmax.inputs, dequantize.outputs
    dequantize.outputs = softmax.inputs = between
    subgraph.operators.remove(dequantize)
    subgraph.operators.insert(subgraph.operators.index(softmax), dequantize)


def _widen(model: Any, subgraph: Any, dense: Any, dequantize: Any) -> None:
    """Give an int8 dense layer int16 inputs, an int64 bias and int16 outputs."""
    inputs, weights, *bias = (subgraph.tensors[i] for i in dense.inputs if i >= 0)
    if (inputs.type, weights.type) != (schema.TensorType.INT8, schema.TensorType.INT8):
        return
    if bias:  # the converter drops one of zeros
        _lengthen(model, subgraph, *bias)
    logits = subgraph.tensors[dense.outputs[0]]
    (scale,), (zero_point,) = logits.quantization.scale, logits.quantization.zeroPoint
    largest = scale * max(127 - zero_point, zero_point + 128)
    logits.type = schema.TensorType.INT16
    _requantize(logits, HEADROOM * largest / 32767)

    quantize = schema.OperatorT()
    quantize.inputs, quantize.outputs = [dense.inputs[0]], [len(subgraph.tensors)]
    dense.inputs = [*quantize.outputs, *dense.inputs[1:]]
    subgraph.tensors.append(_widened(model, inputs))
    subgraph.operators.insert(subgraph.operators.index(dense), quantize)
    for operation, name, version in (
        (quantize, "QUANTIZE", QUANTIZE),
        (dense, "FULLY_CONNECTED", FULLY_CONNECTED),
        (dequantize, "DEQUANTIZE", DEQUANTIZE),
    ):
        operation.opcodeIndex = _code(model, name, version)


def _lengthen(model: Any, subgraph: Any, bias: Any) -> None:
    """Convert an int32 bias to int64, with the scale of products of the widened inputs."""
    old = bias.buffer
    steps = np.asarray(model.buffers[old].data, np.uint8).view(np.int32).astype(np.int64) * WIDER
    bias.type, bias.buffer = schema.TensorType.INT64, _new_buffer(model)
    model.buffers[bias.buffer].data = steps.view(np.uint8)
    _requantize(bias, bias.quantization.scale / WIDER)
    if all(tensor.buffer != old for tensor in subgraph.tensors):  # equal constants share one
        model.buffers[old].data = None


def _widened(model: Any, tensor: Any) -> Any:
    """Return an int16 tensor that holds the values of an int8 one exactly."""
    wide = schema.TensorT()
    wide.name, wide.shape = tensor.name + b"_int16", tensor.shape
    wide.shapeSignature, wide.hasRank = tensor.shapeSignature, tensor.hasRank
    wide.type, wide.buffer = schema.TensorType.INT16, _new_buffer(model)
    _requantize(wide, tensor.quantization.scale / WIDER)
    return wide


def _new_buffer(model: Any) -> int:
    model.buffers.append(schema.BufferT())
    return len(model.buffers) - 1


def _requantize(tensor: Any, scale: Any) -> None:
    """Give a tensor a scale, or one for each of its values, and zero points of 0."""
    tensor.quantization = schema.QuantizationParametersT()
    tensor.quantization.scale = np.atleast_1d(scale).astype(np.float32)
    tensor.quantization.zeroPoint = np.zeros(len(tensor.quantization.scale), np.int64)


def _code(model: Any, name: str, version: int) -> int:
    """Return an operation's index in the file's list of operators; it is added if missing."""
    code = schema.OperatorCodeT()
    code.builtinCode = getattr(schema.BuiltinOperator, name)
    code.deprecatedBuiltinCode, code.version = code.builtinCode, version
    for number, other in enumerate(model.operatorCodes):
        if (graph.operator_name(other), other.version) == (name, version):
            return number
    model.operatorCodes.append(code)
    return len(model.operatorCodes) - 1


def _name(model: Any, operation: Any) -> str:
    return graph.operator_name(model.operatorCodes[operation.opcodeIndex])
