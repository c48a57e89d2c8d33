"""Fold batch normalization into the convolutions before it, as converters do.

Weights that are shared by clustering must be those of the file. If batch normalization were folded
afterwards, it would multiply each output channel by a factor of its own.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from tfresnet.keras2 import keras

CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D)
FUSED_INTO = (*CONVOLUTIONS, keras.layers.Dense)


def folded(model: keras.Model) -> keras.Model:
    """Fold batch normalization into convolutions and ReLUs into their activations.

    A ReLU becomes the activation of the convolution before it, as in TFLite, because tfmot does not
    quantize the weights of a convolution that a ReLU layer follows. Batch normalization that
    follows anything else, as before the activations of He et al. (2016, arXiv:1603.05027), stays.

    Args:
        model: a functional model; is not changed.

    Returns:
        A functional model with the same outputs and fewer layers.
    """
    removed: dict[str, str] = {}  # from a removed layer to the convolution that replaces it
    scaled: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    activated = set()
    for convolution in model.layers:
        if not isinstance(convolution, CONVOLUTIONS):
            continue
        reader = only_reader(convolution)
        if isinstance(reader, keras.layers.BatchNormalization):
            scaled[convolution.name] = scale_and_shift(reader)
            removed[reader.name] = convolution.name
            reader = only_reader(reader)
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
    """Tell whether batch normalization alone reads the output of a convolution or dense layer."""
    producer = norm.input._keras_history.layer
    return isinstance(producer, FUSED_INTO) and only_reader(producer) is norm


def scale_and_shift(norm: keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """Return the factors and offsets of batch normalization at inference, float32 [channels]."""
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
    """Return the weights of a convolution, multiplied and shifted by the factors and offsets."""
    if factors is None:
        return weights
    (kernel, *bias), (scale, shift) = weights, factors
    before = bias[0] if bias else np.zeros_like(shift)
    depthwise = isinstance(layer, keras.layers.DepthwiseConv2D)
    per_output = scale.reshape(kernel.shape[2:]) if depthwise else scale
    return [kernel * per_output, before * scale + shift]


def only_reader(layer: keras.layers.Layer) -> keras.layers.Layer | None:
    """Return the layer that alone reads a layer's output; None if there are more, or none."""
    # The layers of a model may be wired up more than once, always in the same way.
    readers = list({id(n.outbound_layer): n.outbound_layer for n in layer.outbound_nodes}.values())
    return readers[0] if len(readers) == 1 else None


def _is_plain_relu(layer: keras.layers.Layer) -> bool:
    if not isinstance(layer, keras.layers.ReLU):
        return False
    config = layer.get_config()
    return config["max_value"] is None and not config["negative_slope"] and not config["threshold"]


def _rewired(config: dict[str, Any], removed: dict[str, str]) -> dict[str, Any]:
    """Return a functional model's configuration without some layers.

    Args:
        config: as ``get_config`` gives it.
        removed: from the name of each removed layer to that of the layer that replaces its output.
    """

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
