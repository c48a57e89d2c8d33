"""Quantisation-aware training (Jacob et al. 2017, arXiv:1712.05877), with tfmot.

tensorflow-model-optimization takes functional models only, so it gets the functional twin, which
shares its variables with the model that it is of.
"""

import copy
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.backend import keras
from tfresnet.data.sources import Dataset
from tfresnet.deploy import calibration
from tfresnet.deploy.compress import affine, cluster
from tfresnet.deploy.compress.finetune import copied, fine_tune
from tfresnet.models.functional import functional
from tfresnet.models.network import Network
from tfresnet.runs.run_directory import Run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec

OBSERVED, BATCH = 512, 64  # images that ranges start from, and how many at a time

# Why tfmot refuses a layer, by the layer's type.
OBSTACLES = {
    "Multiply": "it has no quantisation for the products of channel attention",
    "Conv1D": "it has no quantisation for the convolution of eca",
}


def quantization_aware(
    model: keras.Model,
    image_shape: tuple[int, int, int],
    pruned: bool = False,
    clustered: bool = False,
) -> keras.Model:
    """Return a functional model with fake quantisation, which starts from ``model``'s weights.

    Zeros of a ``pruned`` and the values of a ``clustered`` network stay as they are. A batch norm
    that follows no convolution, as before an activation, becomes a depthwise convolution of 1 x 1.

    Raises:
        InputError: see :func:`check`.
    """
    from tensorflow_model_optimization.quantization import keras as quantization

    from tfresnet.deploy.compress import preserve

    twin = functional(model, image_shape) if isinstance(model, Network) else model
    check(twin)
    shared = cluster.clustered_layers(twin) if clustered else set()
    with preserve.scope():
        annotated = _annotated(affine.without_lone_norms(twin), shared, pruned)
        annotated = quantization.quantize_annotate_model(annotated)
        return quantization.quantize_apply(annotated, preserve.scheme(pruned and not clustered))


def check(model: keras.Model) -> None:
    """Raise a ``InputError`` for a functional model that tfmot refuses; it says why."""
    for layer in model.layers:
        if reason := OBSTACLES.get(type(layer).__name__):
            raise InputError(
                f"quantisation-aware training: expected a network that tfmot can quantise, got "
                f"{model.name}, whose {layer.name} it refuses: {reason}; quantise it after "
                "training instead (--quantize int8)"
            )


def _annotated(model: keras.Model, shared: set[str], sparse: bool) -> keras.Model:
    """Return a model whose average poolings take over the scale of what they pool, as TFLite's.

    The layers called ``shared`` keep their few different weights, with zeros if ``sparse``.
    """
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )
    from tensorflow_model_optimization.quantization import keras as quantization

    from tfresnet.deploy.compress.preserve import SharedWeights

    def annotate(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.AveragePooling2D):
            return quantization.quantize_annotate_layer(layer, configs.NoOpQuantizeConfig())
        if layer.name in shared:
            return quantization.quantize_annotate_layer(layer, SharedWeights(sparse))
        return layer

    return keras.models.clone_model(model, clone_function=annotate)


def train(
    run: Run,
    dataset: Dataset,
    epochs: int,
    directory: Path,
    source: keras.Model | None = None,
    pruned: bool = False,
    clustered: bool = False,
    bits: tuple[int, int] = (8, 8),
) -> keras.Model:
    """Return the run's network, or ``source``, after ``epochs`` with fake quantisation.

    ``directory`` gets the log and the curve, see ``finetune``. ``bits`` are those of the weights of
    convolutions and dense layers, and those of the first convolution's and the classifier's.

    Raises:
        InputError: tfmot refuses the network.
    """

    def build() -> keras.Model:
        model = copied(source) if source else run.model()
        aware = quantization_aware(model, run.spec.shape, pruned, clustered)
        _set_bits(aware, *bits)
        images = calibration.draw(
            dataset.train, OBSERVED, run.config.train.seed, tasks.of(run.output)
        ).images
        _observe_ranges(aware, ((images - run.spec.mean) / run.spec.std).astype(np.float32))
        _span_a_byte(aware, run.spec)
        return aware

    method: dict[str, Any] = {"qat": True, "pruned": pruned, "clustered": clustered}
    if bits != (8, 8):
        method["bits"] = bits
    model = fine_tune(
        run, dataset, epochs, directory, build, method, "QAT", one_device=source is not None
    )
    _span_a_byte(model, run.spec)
    return model


def without_fake_quantization(aware: keras.Model, model: keras.Model) -> keras.Model:
    """Return ``model``'s layers, as a functional model, with the weights that were trained."""
    plain = copied(affine.without_lone_norms(functional(model, aware.input_shape[1:])))
    for wrapper in aware.layers:
        if hasattr(wrapper, "layer"):
            found = {_last_word(v): v.numpy() for v in wrapper.variables}
            layer = plain.get_layer(wrapper.layer.name)
            layer.set_weights([found[_last_word(v)] for v in layer.weights])
    return plain


def _last_word(variable: tf.Variable) -> str:
    """Return ``kernel:0`` of ``stem_conv/kernel:0``."""
    return variable.name.rpartition("/")[2]


def _set_bits(aware: keras.Model, inner: int, edges: int) -> None:
    """Set the bits of the weights of convolutions and dense layers; depthwise ones keep 8."""
    with_weights = (keras.layers.Conv2D, keras.layers.Dense)
    wrappers = [w for w in aware.layers if isinstance(getattr(w, "layer", None), with_weights)]
    for wrapper in wrappers:
        at_the_edge = wrapper is wrappers[0] or isinstance(wrapper.layer, keras.layers.Dense)
        count = edges if at_the_edge else inner
        # tfmot's layers of a kind share one quantizer.
        wrapper._weight_vars = [
            (weight, _with_bits(quantizer, count), variables)
            for weight, quantizer, variables in wrapper._weight_vars
        ]


def _with_bits(quantizer: Any, count: int) -> Any:
    """Return a copy of tfmot's quantizer for numbers of ``count`` bits."""
    result = copy.copy(quantizer)
    result.num_bits = count
    return result


def _observe_ranges(model: keras.Model, images: np.ndarray) -> None:
    """Let the ranges of activations start at what some images [n, H, W, C] give without rounding.

    tfmot's moving averages start at -6 and 6, and 500 steps leave 60 % of that: what is larger
    would be cut off, and a ReLU's output would give a third of its 256 values to numbers below 0.
    """
    from tensorflow_model_optimization.python.core.quantization.keras import quant_ops

    seen: dict[int, tuple[tf.Variable, tf.Variable, list[tuple[float, float]]]] = {}

    def observe(x: tf.Tensor, low: tf.Variable, high: tf.Variable, **_: object) -> tf.Tensor:
        ends = min(0.0, float(tf.reduce_min(x))), max(0.0, float(tf.reduce_max(x)))
        seen.setdefault(id(low), (low, high, []))[2].append(ends)
        return x

    def leave(x: tf.Tensor, *_: object, **__: object) -> tf.Tensor:
        return x

    with (
        mock.patch.object(quant_ops, "MovingAvgQuantize", observe),  # of activations
        mock.patch.object(quant_ops, "LastValueQuantize", leave),  # of weights
        mock.patch.object(quant_ops, "AllValuesQuantize", leave),  # of the input
    ):
        for first in range(0, len(images), BATCH):
            model(tf.constant(images[first : first + BATCH]), training=False)
    for low, high, ends in seen.values():
        for variable, value in zip((low, high), np.mean(ends, axis=0), strict=True):
            variable.assign(value)


def _span_a_byte(model: keras.Model, spec: InputSpec) -> None:
    """Set the range of the input to that of normalised bytes, so that its scale is exactly theirs.

    tfmot has the smallest and the largest value of all batches there.
    """
    ends = [
        (byte - mean) / std
        for byte in (0, 255)
        for mean, std in zip(spec.mean, spec.std, strict=True)
    ]
    entrance = next(layer for layer in model.layers if layer.name.startswith("quantize_layer"))
    for variable in entrance.variables:
        for name, value in (("min", min(ends)), ("max", max(ends))):
            if variable.name.endswith(f"_{name}:0"):
                variable.assign(value)
