"""Keras model -> ONNX bytes, float32."""

import contextlib
import logging
from unittest import mock

import tensorflow as tf  # noqa: F401  (before onnx: the other order crashes in protobuf)
import tf_keras as keras

from tfresnet.deploy.formats import wrap
from tfresnet.native_stderr import captured
from tfresnet.spec import InputSpec

OPSET = 18  # tf2onnx 1.17 raises on 19 and above


def convert(model: keras.Model, spec: InputSpec) -> bytes:
    """Return an ONNX file of ``model``: uint8 RGB [n, H, W, 3] in, probabilities [n, classes] out.

    The batch size is free.
    """
    import tf2onnx

    function = wrap.from_pixels(model, spec, batch=None)
    # Keras compiles grouped convolutions with XLA, because a CPU can't train them otherwise;
    # tf2onnx does not look into what is compiled.
    plain = mock.patch.object(
        keras.layers.Conv2D, "_jit_compiled_convolution_op", keras.layers.Conv2D.convolution_op
    )
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with plain, captured(), contextlib.redirect_stdout(None):
        proto, _ = tf2onnx.convert.from_function(
            function, input_signature=function.input_signature, opset=OPSET
        )
    proto.graph.name = model.name
    return proto.SerializeToString()
