"""Simplify and change ONNX graphs without changing their results."""

import contextlib
from collections.abc import Sequence
from typing import Any

import tensorflow as tf  # noqa: F401  (before onnx: the other order crashes in protobuf)

from tfresnet.runtime.errors import InputError
from tfresnet.system.native_stderr import captured

Proto = Any  # onnx.ModelProto
WITH_WEIGHTS = ("Conv", "MatMul", "Gemm")
TO_NHWC, TO_NCHW = [0, 2, 3, 1], [0, 3, 1, 2]


def simplified(proto: Proto) -> Proto:
    """Return a graph with constants folded and without transposes that can be avoided."""
    import onnxslim

    with captured(), contextlib.redirect_stdout(None):
        proto = onnxslim.slim(proto)
    _pool_channels_first(proto)
    _name_global_pooling(proto)
    return proto


def to_float16(proto: Proto) -> Proto:
    """Return a graph that computes in float16; its inputs and outputs keep their types."""
    from onnxruntime.transformers.float16 import convert_float_to_float16
    from onnxruntime.transformers.onnx_model import OnnxModel

    result = OnnxModel(convert_float_to_float16(proto, keep_io_types=True))
    result.topological_sort()  # the casts at the border were put at the end
    return result.model


def take_channels_last(proto: Proto) -> None:
    """Change an NCHW input to NHWC, with one transpose behind it."""
    from onnx import helper

    (entry,) = proto.graph.input
    inner = f"{entry.name}_nchw"
    redirect(proto, entry.name, inner)
    proto.graph.node.insert(0, helper.make_node("Transpose", [entry.name], [inner], perm=TO_NCHW))
    n, c, h, w = list(entry.type.tensor_type.shape.dim)
    dims = [type(d).FromString(d.SerializeToString()) for d in (n, h, w, c)]
    del entry.type.tensor_type.shape.dim[:]
    entry.type.tensor_type.shape.dim.extend(dims)


def name_border(proto: Proto, outputs: Sequence[str]) -> None:
    """Rename the input to ``image``, the outputs, and a batch of any size to ``batch``."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    def rename(old: str, new: str) -> None:
        redirect(proto, old, new)
        OnnxModel(proto).replace_output_of_all_nodes(old, new)

    (entry,) = proto.graph.input
    redirect(proto, entry.name, "image")
    entry.name = "image"
    for number, result in enumerate(proto.graph.output):  # one may have the name of another
        rename(result.name, f"output_{number}")
    for number, (result, name) in enumerate(zip(proto.graph.output, outputs, strict=True)):
        rename(name, f"{name}_inside")  # what the network calls so, if there is such a tensor
        rename(f"output_{number}", name)
        result.name = name
    for value in (entry, *proto.graph.output):
        batch = value.type.tensor_type.shape.dim[0]
        if not batch.dim_value:
            batch.dim_param = "batch"
    del proto.graph.value_info[:]  # the batch has as many names there as there are tensors


def check(proto: Proto, quantized: bool) -> None:
    """Raise an ``InputError`` unless a graph is valid; ``quantized``: without float weights."""
    import onnx

    try:
        onnx.checker.check_model(proto, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise InputError(f"ONNX: expected a valid graph: {error!s:.200}") from None
    if quantized and (left := not_quantized(proto)):
        raise InputError(f"ONNX int8: expected quantized weights, got float ones in {left[0]}")


def not_quantized(proto: Proto) -> list[str]:
    """Return the convolutions and products whose weights are float."""
    weights = {t.name for t in proto.graph.initializer}
    return [
        n.name or n.output[0]
        for n in proto.graph.node
        if n.op_type in WITH_WEIGHTS and any(i in weights for i in n.input[:2])
    ]


def transposes(proto: Proto) -> int:
    """Return how many transposes a graph has."""
    return sum(n.op_type == "Transpose" for n in proto.graph.node)


def _pool_channels_first(proto: Proto) -> None:
    """Replace a transpose to NHWC and a mean over height and width by a global pooling.

    Integers may be transposed, and dequantized before the mean.
    """
    from onnx import helper
    from onnxruntime.transformers.onnx_model import OnnxModel

    model, nodes = OnnxModel(proto), proto.graph.node
    readers = model.input_name_to_nodes()
    for index, mean in enumerate(nodes):
        if mean.op_type != "ReduceMean":
            continue
        dequantize = model.match_parent(mean, "DequantizeLinear", 0)
        turn = model.match_parent(dequantize or mean, "Transpose", 0)
        between = [node for node in (turn, dequantize) if node]
        if turn is None or any(len(readers[node.output[0]]) > 1 for node in between):
            continue
        axes = model.get_node_attribute(mean, "axes")
        if axes is None:
            axes = model.get_constant_value(mean.input[1])
        if sorted(axes) != [1, 2] or model.get_node_attribute(mean, "keepdims") != 0:
            continue
        pooled = f"{mean.output[0]}_pooled"
        source = turn.input[0]
        if dequantize:
            dequantize.input[0], source = source, dequantize.output[0]
        pool = helper.make_node("GlobalAveragePool", [source], [pooled], f"{mean.name}_pool")
        flat = helper.make_node("Flatten", [pooled], [mean.output[0]], mean.name, axis=1)
        nodes.remove(mean)
        nodes.insert(index, flat)
        nodes.insert(index, pool)
        nodes.remove(turn)
        return


def _name_global_pooling(proto: Proto) -> None:
    """Replace means over height and width of NCHW maps by global pooling, which is quantized."""
    from onnx import helper
    from onnxruntime.transformers.onnx_model import OnnxModel

    model, nodes = OnnxModel(proto), proto.graph.node
    for index, mean in enumerate(nodes):
        if mean.op_type != "ReduceMean" or model.get_node_attribute(mean, "keepdims") == 0:
            continue
        axes = model.get_node_attribute(mean, "axes")
        if axes is None:
            axes = model.get_constant_value(mean.input[1])
        if sorted(axes) == [2, 3]:
            pool = helper.make_node(
                "GlobalAveragePool", mean.input[:1], mean.output, f"{mean.name}_pool"
            )
            nodes.remove(mean)
            nodes.insert(index, pool)


def redirect(proto: Proto, old: str, new: str) -> None:
    """Let all nodes read ``new`` instead of ``old``."""
    from onnxruntime.transformers.onnx_model import OnnxModel

    OnnxModel(proto).replace_input_of_all_nodes(old, new)
