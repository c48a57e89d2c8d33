"""Keras model -> TFLite bytes, in every quantisation and with every kind of input."""

from dataclasses import replace

import numpy as np
import tensorflow as tf
from tensorflow.lite.python.util import modify_model_io_type

from tfresnet.backend import keras
from tfresnet.deploy.device.runtime import centre
from tfresnet.deploy.formats import float_softmax, graph, recipes, wrap
from tfresnet.deploy.plan import INTEGER
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.native_stderr import captured

CONVERTED = ("float32", "float16", "dynamic", "int8")  # by TensorFlow's converter alone
PER_CHANNEL = ("dynamic", "int8")  # of these, with a scale for each output channel, come what may


def convert(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    quantization: str,
    calibration: np.ndarray | None = None,
    interface: str = "uint8",
    batch: int | None = 1,
    dense_per_tensor: bool = False,
    clusters: int = 0,
    integer_softmax: bool = False,
) -> bytes:
    """Return a TFLite file of ``model``.

    Args:
        quantization: one of ``plan.KINDS``. float16 halves the weights; dynamic keeps int8
            weights (per channel) and float activations; int8 is integer up to the logits; for the
            others see ``recipes.RECIPES``.
        calibration: training images, uint8 [n, H, W, C], that set activation ranges.
        interface: ``uint8``: pixels in, float32 probabilities out. ``integer``: the type of the
            activations in and out; int8 is ``pixel - 128``. ``float``: ``(pixel - 128) / 128`` in.
        batch: images at a time; None for any number.
        dense_per_tensor: int8 dense layers have one scale, as TFLite Micro's kernels need, not one
            per output.
        clusters: different weights that kernels may have and that they keep, see ``Recipe``; 0 for
            any. Fake quantization sees to it by itself.
        integer_softmax: of integer files that give float32 probabilities, see ``float_softmax``.
            Those with integer outputs have no other.
    """
    images = np.empty((0, *spec.shape), np.uint8) if calibration is None else calibration
    if quantization in INTEGER and not len(images):
        raise InputError(f"{quantization} needs calibration images, got none")
    if quantization in CONVERTED and not (clusters and quantization in PER_CHANNEL):
        content = _convert(
            model, spec, output, quantization, images, interface, batch, dense_per_tensor
        )
        return content if integer_softmax else float_softmax.apply(content)
    recipe = replace(
        recipes.RECIPES[quantization], clusters=clusters, dense_per_tensor=dense_per_tensor
    )
    if recipe.activations is None:
        content = _convert(model, spec, output, "float32", images, interface, batch)
        return recipes.quantize(content, recipe)
    return quantize_static(model, spec, output, recipe, images, interface, batch, integer_softmax)


def quantize_static(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    recipe: recipes.Recipe,
    calibration: np.ndarray,
    interface: str = "uint8",
    batch: int | None = 1,
    integer_softmax: bool = False,
) -> bytes:
    """Return a TFLite file whose activations are integers too, by a recipe; see :func:`convert`."""
    content = _quantize_static(model, spec, output, recipe, calibration, interface, batch)
    return content if integer_softmax else float_softmax.apply(content)


def _quantize_static(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    recipe: recipes.Recipe,
    calibration: np.ndarray,
    interface: str,
    batch: int | None,
) -> bytes:
    if recipe.activations == 16 and interface == "uint8":
        # LiteRT turns no uint8 into int16: the pixels go through float on their way.
        content = _convert(model, spec, output, "float32", calibration, "uint8", batch)
        return recipes.quantize(content, recipe, calibration)
    content = _convert(model, spec, output, "float32", calibration, "float", batch)
    quantized = recipes.quantize(content, recipe, centre(calibration), wrap.RANGE)
    activations = tf.int16 if recipe.activations == 16 else tf.int8
    types = {
        "uint8": (tf.uint8, tf.float32),
        "integer": (activations, activations),
        "float": (tf.float32, tf.float32),
    }
    return bytes(modify_model_io_type(quantized, *types[interface]))


def _convert(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    quantization: str,
    calibration: np.ndarray,
    interface: str,
    batch: int | None,
    dense_per_tensor: bool = False,
) -> bytes:
    """Return what TensorFlow's converter makes; ``quantization`` is one of ``CONVERTED``."""
    pixels = quantization != "int8" and interface == "uint8"
    function = (wrap.from_pixels if pixels else wrap.from_centred_pixels)(
        model, spec, output, batch
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], wrap.variables_of(model)
    )
    if quantization != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter._experimental_disable_per_channel_quantization_for_dense_layers = dense_per_tensor
    if quantization == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if quantization == "int8":
        converter.representative_dataset = lambda: (
            [image] for image in wrap.representative(calibration)
        )
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type, converter.inference_output_type = {
            "uint8": (tf.uint8, tf.float32),
            "integer": (tf.int8, tf.int8),
            "float": (tf.float32, tf.float32),
        }[interface]
    with captured():
        content = converter.convert()
    if quantization == "int8" and interface != "float":
        _check_input(content, interface)
    return content


def _check_input(content: bytes, interface: str) -> None:
    """See that the input holds the image's bytes, or those minus 128."""
    expected = wrap.SCALE, wrap.ZERO_POINT if interface == "uint8" else 0
    found = graph.input_quantization(content)
    if found != expected:
        raise InputError(
            f"expected an int8 input with scale {expected[0]} and zero point {expected[1]:g}, "
            f"so that it holds the image's bytes, got {found}"
        )
