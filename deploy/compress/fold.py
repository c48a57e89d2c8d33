"""Batch normalization folded into the convolutions before it, as converters fold it.

Weights that are shared or pruned must be those of the file: a batch norm that is folded afterwards
multiplies each output channel by a factor of its own.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfresnet.backend import keras

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
FUSED_INTO = (*CONVOLUTIONS, keras.layers.Dense)


def folded(model: keras.Model) -> keras.Model:
    """Return a functional model with the same outputs, without the batch norms after convolutions.

    A ReLU after such a convolution becomes its activation, as in TFLite, since tfmot quantizes no
    weights of a convolution with a ReLU layer behind it. Norms that follow anything else, as before
    the activations of He et al. (2016, arXiv:1603.05027), stay.
    """
    removed: dict[str, str] = {}  # names of layers, and of the convolutions that took them over
    scaled: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    activated = set()
    for convolution in model.layers:
        if not isinstance(convolution, CONVOLUTIONS):
            continue
        reader = _only_reader(convolution)
        if isinstance(reader, keras.layers.BatchNormalization):
            scaled[convolution.name] = scale_and_shift(reader)
            removed[reader.name] = convolution.name
            reader = _only_reader(reader)
        if reader and _is_plain_relu(reader) and convolution.get_config()["activation"] == "linear":
            activated.add(convolution.name)
            removed[reader.name] = convolution.name
    config = _rewired(model.get_config(), removed)
    for layer in config["layers"]:
        if layer["name"] in scaled:
            layer["config"]["use_bias"] = True
        if layer["name"] in activated:
            layer["config"]["activation"] = "relu"
    result = keras.Model.from_config(config)
    for layer in result.layers:
        weights = model.get_layer(layer.name).get_weights()
        layer.set_weights(_scaled(layer, weights, scaled.get(layer.name)))
    return result


def follows_convolution(norm: keras.layers.Layer) -> bool:
    """Tell whether a batch norm is the only reader of a convolution or a dense layer."""
    producer = norm.input._keras_history.layer
    return isinstance(producer, FUSED_INTO) and _only_reader(producer) is norm


def scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return what a batch norm multiplies by and adds at inference, float32 [channels] each."""
    mean, variance = (np.asarray(v) for v in (norm.moving_mean, norm.moving_variance))
    gamma = np.ones_like(mean) if norm.gamma is None else np.asarray(norm.gamma)
    beta = np.zeros_like(mean) if norm.beta is None else np.asarray(norm.beta)
    scale = gamma / np.sqrt(variance + norm.epsilon)
    return scale, beta - mean * scale


def _scaled(
    layer: keras.layers.Layer,
    weights: list[np.ndarray],
    factors: tuple[np.ndarray, np.ndarray] | None,
) -> list[np.ndarray]:
    """Return the weights of a convolution that computes the batch norm after it too."""
    if factors is None:
        return weights
    (kernel, *bias), (scale, shift) = weights, factors
    before = bias[0] if bias else np.zeros_like(shift)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    per_output = scale.reshape(kernel.shape[2:]) if depthwise else scale
    return [kernel * per_output, before * scale + shift]


def _only_reader(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return the one layer that reads a layer's output; None if there are more, or none."""
    # The layers of a model may be wired up more than once, always alike.
    readers = list({id(n.outbound_layer): n.outbound_layer for n in layer.outbound_nodes}.values())
    return readers[0] if len(readers) == 1 else None


def _is_plain_relu(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.ReLU):
        return False
    config = layer.get_config()
    return config["max_value"] is None and not config["negative_slope"] and not config["threshold"]


def _rewired(config: dict[str, Any], removed: dict[str, str]) -> dict[str, Any]:
    """Return a functional model's configuration without layers whose readers read others now."""

    def renamed(node: Any) -> Any:
        if isinstance(node, dict):
            return {key: renamed(value) for key, value in node.items()}
        if isinstance(node, Iterable) and not isinstance(node, str):
            return [renamed(part) for part in node]
        return removed.get(node, node)

    kept = [layer for layer in config["layers"] if layer["name"] not in removed]
    for layer in kept:
        layer["inbound_nodes"] = renamed(layer["inbound_nodes"])
    return config | {"layers": kept, "output_layers": renamed(config["output_layers"])}
