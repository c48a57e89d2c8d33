"""Quantization-aware training (Jacob et al. 2017, arXiv:1712.05877), with tfmot."""

import copy
from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

import tensorflow as tf

from tfresnet.deploy.compress import cluster, ranges
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner, Stage, copied
from tfresnet.deploy.compress.standalone_norms import without_standalone_norms
from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError

OBSERVED = 512  # training images that the ranges of activations start from
CONVERTIBLE = 8  # bits of the fake quantization that TensorFlow's converter understands
WITH_WEIGHTS = (keras.layers.Conv2D, keras.layers.Dense)  # depthwise convolutions keep 8 bits

# Their outputs have the scales of their inputs.
SAME_SCALE = (keras.layers.AveragePooling2D, keras.layers.UpSampling2D)
# Why tfmot refuses a layer, by the layer's type.
OBSTACLES = {
    "Conv1D": "it has no quantization for the convolution of eca",
}


@dataclass(frozen=True)
class QuantizationAwareTraining:
    """Trains a network with fake quantization: values are rounded as they will be in the file.

    With 8 bits the result has fake quantization, from which a converter takes the scales. Of other
    numbers of bits it has the trained weights only, since no converter understands them.

    Attributes:
        epochs: of training.
        pruned: whether zeros stay zeros.
        clustered: whether the different weights of a kernel stay as few as they are.
        bits: of the weights of convolutions and dense layers.
        edge_bits: the same of the first convolution and of the layers that give the logits.
        four_bits: names of layers with 4-bit weights, whatever the others have.
    """

    epochs: int
    pruned: bool = False
    clustered: bool = False
    bits: int = CONVERTIBLE
    edge_bits: int = CONVERTIBLE
    four_bits: frozenset[str] = frozenset()
    name = "qat"
    stage = "quantization-aware training"

    def check(self, network: FunctionalNetwork) -> None:
        """Raise an ``InputError`` that names a layer that tfmot refuses, and why."""
        check(network)

    def apply(self, network: FunctionalNetwork, fine_tune: FineTuner) -> FunctionalNetwork:
        """See :class:`.base.Compressor`."""
        spec = fine_tune.run.spec

        def build() -> keras.Model:
            own = network.with_model(copied(network.model))
            aware = quantization_aware(own, self.pruned, self.clustered)
            set_bits(aware, network, self.bits, self.edge_bits, self.four_bits)
            ranges.observe(aware, fine_tune.images(OBSERVED))
            ranges.set_input_range(aware, spec)
            return aware

        # The wrappers that keep zeros and shared weights can't be trained on several devices.
        one_device = self.pruned or self.clustered
        stage = Stage("QAT", self.epochs, self._method(), one_device=one_device)
        aware = fine_tune(build, stage)
        ranges.set_input_range(aware, spec)
        if self.bits != CONVERTIBLE or self.four_bits:
            return without_fake_quantization(aware, network)
        return network.with_model(aware)

    def _method(self) -> dict[str, Any]:
        method: dict[str, Any] = {"qat": True, "pruned": self.pruned, "clustered": self.clustered}
        if self.four_bits:
            method["four_bits"] = sorted(self.four_bits)
        bits = (self.bits, self.edge_bits)
        return method if bits == (CONVERTIBLE, CONVERTIBLE) else method | {"bits": bits}


def check(network: FunctionalNetwork) -> None:
    """Raise an ``InputError`` that names a layer that tfmot refuses, and why."""
    for layer in network.model.layers:
        if reason := OBSTACLES.get(type(layer).__name__):
            raise InputError(
                "quantization-aware training: expected a network that tfmot can quantize, got "
                f"{network.model.name}, whose {layer.name} it refuses: {reason}; quantize it after "
                "training instead (--quantize int8)"
            )


def quantization_aware(
    network: FunctionalNetwork, pruned: bool = False, clustered: bool = False
) -> keras.Model:
    """Return a functional model with fake quantization of 8 bits and the network's weights.

    Batch normalization that follows no convolution, as before an activation, becomes a depthwise
    convolution of 1 x 1.

    Args:
        network: is not changed.
        pruned: whether zeros stay zeros in training.
        clustered: whether the different weights of a kernel stay as few as they are.

    Raises:
        InputError: see :func:`check`.
    """
    from tensorflow_model_optimization.quantization import keras as quantization

    from tfresnet.deploy.compress import preserve

    check(network)
    shared = cluster.clustered_layers(network) if clustered else set()
    with preserve.scope():
        annotated = _annotated(without_standalone_norms(network.model), shared, pruned)
        annotated = quantization.quantize_annotate_model(annotated)
        return quantization.quantize_apply(annotated, preserve.scheme(pruned and not clustered))


def _annotated(model: keras.Model, shared: set[str], sparse: bool) -> keras.Model:
    """Return a model with notes for tfmot about layers that it must treat in another way.

    The output of an average pooling or of an upsampling has the scale of its input, as in TFLite.
    A product's is quantized as a sum's, which tfmot does not do by itself. The layers called
    ``shared`` keep their few different weights, with zeros if ``sparse``.
    """
    from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
        default_8bit_quantize_configs as configs,
    )
    from tensorflow_model_optimization.quantization import keras as quantization

    from tfresnet.deploy.compress.preserve import SharedWeights

    def annotate(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, SAME_SCALE):
            return quantization.quantize_annotate_layer(layer, configs.NoOpQuantizeConfig())
        if isinstance(layer, keras.layers.Multiply):
            own = configs.Default8BitOutputQuantizeConfig()
            return quantization.quantize_annotate_layer(layer, own)
        if layer.name in shared:
            return quantization.quantize_annotate_layer(layer, SharedWeights(sparse))
        return layer

    return keras.models.clone_model(model, clone_function=annotate)


def without_fake_quantization(aware: keras.Model, network: FunctionalNetwork) -> FunctionalNetwork:
    """Return the network that was trained, without fake quantization, with the trained weights.

    Args:
        aware: made from ``network`` by :func:`quantization_aware`, and trained.
        network: as it was before.
    """
    model = copied(without_standalone_norms(network.model))
    for wrapper in _wrappers(aware):
        trained = {_last_word(v): v.numpy() for v in wrapper.variables}
        layer = model.get_layer(wrapper.layer.name)
        layer.set_weights([trained[_last_word(v)] for v in layer.weights])
    return network.with_model(model)


def _wrappers(aware: keras.Model) -> list[Any]:
    """Return tfmot's wrappers, each with a ``layer`` inside."""
    from tensorflow_model_optimization.python.core.quantization.keras import quantize_wrapper

    return [w for w in aware.layers if isinstance(w, quantize_wrapper.QuantizeWrapper)]


def _last_word(variable: tf.Variable) -> str:
    """Return ``kernel:0`` of ``stem_conv/kernel:0``."""
    return variable.name.rpartition("/")[2]


def set_bits(
    aware: keras.Model,
    network: FunctionalNetwork,
    inner: int,
    edges: int,
    four_bits: Collection[str] = (),
) -> None:
    """Set the bits of the weights of convolutions and dense layers.

    Args:
        aware: made from ``network`` by :func:`quantization_aware`; is changed.
        network: tells which layers give the logits.
        inner: bits of most layers.
        edges: bits of the first convolution and of the layers that give the logits.
        four_bits: names of layers that have 4 bits instead.
    """
    wrappers = [w for w in _wrappers(aware) if isinstance(w.layer, WITH_WEIGHTS)]
    at_the_edges = network.head | {wrappers[0].layer.name}
    for wrapper in wrappers:
        count = edges if wrapper.layer.name in at_the_edges else inner
        count = 4 if wrapper.layer.name in four_bits else count
        # tfmot's layers of a kind share one quantizer, so each gets a copy.
        wrapper._weight_vars = [
            (weight, _with_bits(quantizer, count), variables)
            for weight, quantizer, variables in wrapper._weight_vars
        ]


def _with_bits(quantizer: Any, count: int) -> Any:
    result = copy.copy(quantizer)
    result.num_bits = count
    return result
