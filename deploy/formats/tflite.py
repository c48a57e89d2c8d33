"""Convert Keras models to TFLite, in every quantization and with every kind of input."""

import gzip
import io
import json
import zipfile
from dataclasses import replace
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.util import modify_model_io_type

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT4_SELECTIVE,
    INT8,
    Quantization,
    quantization_named,
)
from tfresnet.deploy.formats import (
    activation_ranges,
    delegates,
    float_softmax,
    graph,
    recipes,
    tflite_gptq,
    tflite_metadata,
    wrap,
)
from tfresnet.deploy.formats.base import Audit, Format, Source, Target
from tfresnet.keras2 import keras
from tfresnet.runtime.backends import centered
from tfresnet.runtime.decode import OUTPUTS
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import DETECTIONS, FILE_NAME, ModelMetadata, digest
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.native_stderr import captured

CONVERTED = (FLOAT32, FLOAT16, DYNAMIC, INT8)  # by TensorFlow's converter alone
PER_CHANNEL = (DYNAMIC, INT8)  # of these, with a scale for each output channel in any case


class TfliteFormat(Format[bytes]):
    """TFLite: a flatbuffer, with a zip archive of metadata behind it."""

    def convert(self, source: Source, target: Target, config: ExportConfig) -> bytes:
        """See :class:`.base.Format`; TFLite's standard metadata are inside."""
        model, spec = source.model, source.spec
        content = self._converted(source, target, config)
        return tflite_metadata.describe(
            content,
            spec,
            source.output,
            model.name,
            wrap.kind_of(source),
            centered=config.interface == "float",
        )

    def _converted(self, source: Source, target: Target, config: ExportConfig) -> bytes:
        batch = config.batch_of(self.row)
        if target.keep_float or target.quantization is INT4_SELECTIVE:
            recipe = recipes.Recipe(
                keep_float=target.keep_float, four_bits=target.four_bits, ranges=source.ranges
            )
            return with_integer_activations(source, recipe, config.interface, batch)
        # Fake quantization sees to it by itself that clusters are kept.
        clusters = 0 if wrap.has_fake_quantization(source.model) else target.compression.clusters
        return converted(source, target.quantization, config.interface, batch, clusters=clusters)

    def embed_metadata(self, content: bytes, metadata: ModelMetadata) -> bytes:
        """Put a zip archive behind the model, as TFLite's associated files are kept.

        ``unzip -p model.tflite labels.txt`` reads the labels; interpreters ignore the archive.
        """
        whole = replace(metadata, content=digest(io.BytesIO(content), len(content)))
        buffer = io.BytesIO(content)
        with zipfile.ZipFile(buffer, "a") as archive:
            for name, text in (
                (FILE_NAME, json.dumps(whole.to_dict())),
                ("labels.txt", "\n".join(metadata.output.labels) + "\n"),
            ):
                # ZipInfo's date is fixed: the same model and metadata give the same bytes.
                # Not compressed: MediaPipe takes no other archive.
                archive.writestr(zipfile.ZipInfo(name), text, zipfile.ZIP_STORED)
        return buffer.getvalue()

    def audit(self, content: bytes) -> Audit:
        """See :class:`.base.Format`."""
        return Audit(
            tuple(graph.float_operations(content)),
            graph.sparsity(content),
            graph.unique_weights(content),
            {verdict["delegate"]: verdict["runs"] for verdict in delegates.advice(content)},
            len(gzip.compress(content, compresslevel=6)),
        )


def convert(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    quantization: str,
    calibration: np.ndarray | None = None,
    interface: str = "uint8",
    batch: int | None = 1,
    kind: str = "",
    **more: Any,
) -> bytes:
    """Convert ``model`` to a TFLite file, without metadata.

    Args:
        quantization: the name of one of TFLite's.
        calibration: training images, uint8 [n, H, W, C], that set activation ranges.
        interface, batch, more: see :func:`converted`.
        kind: what the file gives, see :class:`.base.Source`.
    """
    images = np.empty((0, *spec.shape), np.uint8) if calibration is None else calibration
    source = Source(model, spec, output, images, kind)
    return converted(source, quantization_named(quantization), interface, batch, **more)


def converted(
    source: Source,
    quantization: Quantization,
    interface: str = "uint8",
    batch: int | None = 1,
    dense_per_tensor: bool = False,
    clusters: int = 0,
    integer_softmax: bool = False,
) -> bytes:
    """Convert a network to a TFLite file, without metadata.

    Args:
        source: the network.
        quantization: float16 halves the weights; dynamic keeps int8 weights (per channel) and float
            activations; int8 is integer up to the logits; the others are made by a
            ``recipes.Recipe``.
        interface: ``uint8``: pixels in, float32 probabilities out. ``integer``: the type of the
            activations in and out; int8 is ``pixel - 128``. ``float``: ``(pixel - 128) / 128`` in.
            A class map is uint8 with each of them.
        batch: images at a time; None for any number.
        dense_per_tensor: int8 dense layers have one scale, as TFLite Micro's kernels need, not one
            per output.
        clusters: different weights that kernels may have and that they keep, see ``Recipe``; 0 for
            any. Fake quantization sees to it by itself.
        integer_softmax: of integer files that give float32 probabilities, see ``float_softmax``.
            Those with integer outputs have no other.
    """
    if quantization.activations and not len(source.calibration):
        raise InputError(f"{quantization.name}: expected calibration images, got none")
    if quantization in CONVERTED and not (clusters and quantization in PER_CHANNEL):
        if quantization is INT8 and source.ranges != "min-max" and not has_own_ranges(source):
            content = _with_ranges(source, interface, batch, dense_per_tensor)
        else:
            content = _convert(source, quantization, interface, batch, dense_per_tensor)
        return content if integer_softmax else float_softmax.apply(content)
    recipe = replace(
        recipes.of(quantization),
        clusters=clusters,
        dense_per_tensor=dense_per_tensor,
        ranges=source.ranges,
    )
    if recipe.activations is None:
        return recipes.quantize(_convert(source, FLOAT32, interface, batch), recipe)
    return with_integer_activations(source, recipe, interface, batch, integer_softmax)


def with_integer_activations(
    source: Source,
    recipe: recipes.Recipe,
    interface: str = "uint8",
    batch: int | None = 1,
    integer_softmax: bool = False,
) -> bytes:
    """Convert to a TFLite file with integer activations, by a recipe; see :func:`converted`."""
    content = _with_integer_activations(source, recipe, interface, batch)
    return content if integer_softmax else float_softmax.apply(content)


def _with_integer_activations(
    source: Source, recipe: recipes.Recipe, interface: str, batch: int | None
) -> bytes:
    if recipe.activations == 16 and interface == "uint8":
        # LiteRT turns no uint8 into int16: the pixels go through float on their way.
        content = _convert(source, FLOAT32, "uint8", batch)
        return recipes.quantize(content, recipe, source.calibration)
    content = _convert(source, FLOAT32, "float", batch)
    quantized = recipes.quantize(content, recipe, centered(source.calibration), wrap.RANGE)
    activations = tf.int16 if recipe.activations == 16 else tf.int8
    types = {
        "uint8": (tf.uint8, tf.float32),
        "integer": (activations, activations),
        "float": (tf.float32, tf.float32),
    }
    return bytes(modify_model_io_type(quantized, *types[interface]))


def has_own_ranges(source: Source) -> bool:
    """Tell whether a network knows the ranges of its activations from training."""
    return wrap.has_fake_quantization(source.model)


def _with_ranges(
    source: Source, interface: str, batch: int | None, dense_per_tensor: bool
) -> bytes:
    """Convert to int8 with ranges by the source's method."""
    floating = _convert(source, FLOAT32, "float", batch)
    images = centered(source.calibration)
    found = activation_ranges.of(floating, images, source.ranges)
    return int8_with_ranges(floating, found, interface, dense_per_tensor, images)


def int8_with_ranges(
    floating: bytes,
    found: dict[str, activation_ranges.Range],
    interface: str,
    dense_per_tensor: bool = False,
    images: np.ndarray | None = None,
) -> bytes:
    """Quantize a float32 file with a float input to int8; its softmax is integer too.

    Args:
        floating: the file.
        found: the range of each activation, by the name of its tensor.
        interface, dense_per_tensor: see :func:`converted`.
        images: calibration inputs, float32 [n, H, W, C], with which weights are rounded by GPTQ;
            without any they are rounded to the nearest.
    """
    ranges = found | {graph.input_name(floating): wrap.RANGE}
    with captured():
        content = mlir_quantize(
            activation_ranges.with_ranges(floating, ranges),
            disable_per_channel_for_dense_layers=dense_per_tensor,
        )
    if images is not None:
        content = tflite_gptq.apply(bytes(content), floating, images)
    types = {"uint8": (tf.uint8, tf.float32), "integer": (tf.int8, tf.int8)}
    if interface in types:
        content = bytes(modify_model_io_type(content, *types[interface]))
        _check_input(content, interface)
    return bytes(content)


def _convert(
    source: Source,
    quantization: Quantization,
    interface: str,
    batch: int | None,
    dense_per_tensor: bool = False,
) -> bytes:
    """Convert with TensorFlow's converter; ``quantization`` is one of ``CONVERTED``."""
    pixels = quantization is not INT8 and interface == "uint8"
    function = (wrap.from_pixels if pixels else wrap.from_centered_pixels)(
        *source.network, batch, source.kind
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], wrap.variables_of(source.model)
    )
    if quantization is not FLOAT32:
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = dense_per_tensor
    if quantization is FLOAT16:
        converter.target_spec.supported_types = [tf.float16]
    if quantization is INT8:
        converter.representative_dataset = lambda: (
            [image] for image in wrap.representative(source.calibration)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = {
            "uint8": (tf.uint8, tf.float32),
            "integer": (tf.int8, tf.int8),
            "float": (tf.float32, tf.float32),
        }[interface]
    with captured():
        content = converter.convert()
    if quantization is INT8 and interface != "float":
        _check_input(content, interface)
    if source.kind == DETECTIONS:
        content = graph.with_exact_outputs(content)
    names = OUTPUTS[wrap.kind_of(source)]
    return graph.with_named_outputs(content, names) if len(names) > 1 else content


def _check_input(content: bytes, interface: str) -> None:
    """Raise an ``InputError`` unless the input holds the image's bytes, or those minus 128."""
    expected = wrap.SCALE, wrap.ZERO_POINT if interface == "uint8" else 0
    found = graph.input_quantization(content)
    if found != expected:
        raise InputError(
            f"expected an int8 input with scale {expected[0]} and zero point {expected[1]:g}, "
            f"so that it holds the image's bytes, got {found}"
        )
