"""Convert Keras models to ONNX: float32, float16, and int8 with QDQ nodes."""

import contextlib
import gzip
import io
import json
import logging
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf  # (before onnx: the other order crashes in protobuf)

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FLOAT16, INT8, Quantization, quantization_named
from tfresnet.deploy.formats import graph, onnx_graph, onnx_int8, tflite, wrap
from tfresnet.deploy.formats.base import Audit, Format, Source, Target
from tfresnet.keras2 import keras
from tfresnet.runtime.decode import OUTPUTS
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import ONNX_KEY, ModelMetadata, digest
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.native_stderr import captured

OPSETS = range(13, 19)  # 13: scales per channel; tf2onnx 1.17 raises on 19 and above


class OnnxFormat(Format[bytes]):
    """ONNX: a Protocol Buffers message, with metadata among its properties."""

    def convert(self, source: Source, target: Target, config: ExportConfig) -> bytes:
        """See :class:`.base.Format`."""
        interface, batch = config.interface, config.batch_of(self.row)
        if not wrap.has_fake_quantization(source.model):
            return converted(
                source, target.quantization, interface, batch, config.layout, config.opset
            )
        scales = tflite.converted(source, INT8, "float", batch, integer_softmax=True)
        return from_int8_tflite(scales, source, interface, config.layout, config.opset)

    def embed_metadata(self, content: bytes, metadata: ModelMetadata) -> bytes:
        """Put the metadata behind the model: Protocol Buffers read two messages as one."""
        import onnx

        whole = replace(metadata, content=digest(io.BytesIO(content), len(content)))
        labels = "\n".join(metadata.output.labels)
        properties = onnx.ModelProto()
        texts = {ONNX_KEY: json.dumps(whole.to_dict()), "labels": labels}
        onnx.helper.set_model_props(properties, texts)
        return content + properties.SerializeToString()

    def audit(self, content: bytes) -> Audit:
        """See :class:`.base.Format`; only the size is known."""
        return Audit(gzip_bytes=len(gzip.compress(content, compresslevel=6)))

    def command(self, name: str) -> str:
        """See :class:`.base.Format`."""
        return f"{super().command(name)}  # pip install onnxruntime"


def convert(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    quantization: str = "float32",
    calibration: np.ndarray | None = None,
    kind: str = "",
    **more: Any,
) -> bytes:
    """Convert ``model`` to an ONNX file, without metadata.

    Args:
        quantization: the name of one of ONNX's.
        calibration: training images, uint8 [n, H, W, C], for int8.
        kind: what the file gives, see :class:`.base.Source`.
        more: see :func:`converted`.
    """
    images = np.empty((0, *spec.shape), np.uint8) if calibration is None else calibration
    source = Source(model, spec, output, images, kind)
    return converted(source, quantization_named(quantization), **more)


def converted(
    source: Source,
    quantization: Quantization,
    interface: str = "uint8",
    batch: int | None = None,
    layout: str = "nhwc",
    opset: int = OPSETS[-1],
) -> bytes:
    """Convert a network to an ONNX file, simplified and checked, without metadata.

    Args:
        source: the network.
        quantization: int8 is static, with scales per channel, as pairs of QuantizeLinear and
            DequantizeLinear; the logits of a classifier are float.
        interface: ``uint8``: pixels in; ``float``: ``(pixel - 128) / 128`` in, float32. Out comes
            what the source's kind says, such as float32 ``probabilities`` [n, classes].
        batch: images at a time; None for any number.
        layout: of the input.
        opset: 13 to 18.
    """
    # int8 starts from a float input, so that its scale can be found; bytes go straight into it.
    pixels = interface == "uint8" and quantization is not INT8
    function = (wrap.from_pixels if pixels else wrap.from_centered_pixels)(
        *source.network, batch, source.kind
    )
    turned = layout == "nchw" or quantization is INT8
    proto = onnx_graph.simplified(_translate(function, opset, turned))
    if quantization is FLOAT16:
        proto = onnx_graph.to_float16(proto)
    if quantization is INT8:
        if not len(source.calibration):
            raise InputError("int8: expected calibration images, got none")
        proto = onnx_int8.quantize(proto, source.calibration, ranges=source.ranges)
        onnx_int8.leave_logits_float(proto)
    return _finished(proto, source, quantization is INT8, interface, layout)


def from_int8_tflite(
    content: bytes, source: Source, interface: str, layout: str, opset: int = OPSETS[-1]
) -> bytes:
    """Convert an int8 TFLite file with a float interface to QDQ ONNX, with its scales.

    This is the way for a network trained for quantization: its scales are in that file,
    whose softmax is integer too. The weights become 7 bits, with the calibration images' help.

    Args:
        content: the file.
        source: the network that it was made of.
        interface, layout, opset: see :func:`converted`.
    """
    import tf2onnx

    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with tempfile.TemporaryDirectory() as folder, captured(), contextlib.redirect_stdout(None):
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        proto, _ = tf2onnx.convert.from_tflite(
            str(path), opset=opset, inputs_as_nchw=[graph.input_name(content)]
        )
    proto = onnx_graph.simplified(proto)
    onnx_int8.make_unsigned(proto)
    onnx_int8.drop_relus(proto)
    onnx_int8.leave_logits_float(proto)
    onnx_int8.fit_in_seven_bits(proto, source.calibration)
    return _finished(proto, source, True, interface, layout)


def _finished(
    proto: "onnx_graph.Proto", source: Source, integer: bool, interface: str, layout: str
) -> bytes:
    """Give a graph its input, the names of its border and of itself; check and pack it."""
    if integer and interface == "uint8":
        onnx_int8.take_bytes(proto)
    if integer and layout == "nhwc":
        onnx_graph.take_channels_last(proto)
    onnx_graph.name_border(proto, OUTPUTS[wrap.kind_of(source)])
    proto.graph.name = source.model.name
    onnx_graph.check(proto, quantized=integer)
    return proto.SerializeToString()


def _translate(
    function: tf.types.experimental.GenericFunction, opset: int, channels_first: bool
) -> "onnx_graph.Proto":
    import tf2onnx

    # Keras compiles grouped convolutions with XLA, because a CPU can't train them otherwise;
    # tf2onnx does not look into what is compiled.
    plain = mock.patch.object(
        keras.layers.Conv2D, "_jit_compiled_convolution_op", keras.layers.Conv2D.convolution_op
    )
    logging.getLogger("tf2onnx").setLevel(logging.ERROR)
    with plain, captured(), contextlib.redirect_stdout(None):
        proto, _ = tf2onnx.convert.from_function(
            function,
            input_signature=function.input_signature,
            opset=opset,
            inputs_as_nchw=["image:0"] if channels_first else None,
        )
    return proto
