"""What a compressor is, and the networks that it takes and gives."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Protocol

from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.deploy.formats.base import SlimShape
from tfresnet.keras2 import keras
from tfresnet.models.functional import functional
from tfresnet.models.network import Network


@dataclass(frozen=True)
class FunctionalNetwork:
    """A network as a functional Keras model, with the parts of the network that it came from.

    Attributes:
        model: a flat functional model: its layers are the layers inside all blocks.
        stem: names of the layers of the backbone's first part.
        head: names of the last layers with weights: those that give the logits.
        slim: what it is like if it is another network than the run's: one with fewer channels.
    """

    model: keras.Model
    stem: frozenset[str]
    head: frozenset[str]
    slim: SlimShape | None = None

    @classmethod
    def of(cls, network: Network, image_shape: tuple[int, int, int]) -> "FunctionalNetwork":
        """Return a network's functional model, which shares its variables."""
        stem, *_ = network.backbone.parts
        model = functional(network, image_shape)
        return cls(model, _names(stem.layers), _last_with_weights(model))

    def with_model(self, model: keras.Model) -> "FunctionalNetwork":
        """Return the same parts with another model, whose layers have the same names."""
        return replace(self, model=model)


def _names(layers: Iterable[keras.layers.Layer]) -> frozenset[str]:
    """Return the names of layers and of the layers inside them."""
    return frozenset(inner.name for layer in layers for inner in layer._flatten_layers())


def _last_with_weights(model: keras.Model) -> frozenset[str]:
    """Return the names of the layers with weights that none with weights follows."""
    found, left = set(), list(model.outputs)
    while left:
        layer, index, _ = left.pop()._keras_history
        if layer.weights:
            found.add(layer.name)
        else:
            left += layer._inbound_nodes[index].keras_inputs
    return frozenset(found)


class Compressor(Protocol):
    """One way to compress a network, with its settings.

    Attributes:
        name: what was done to a network, for names of files and folders: ``pruned``.
        stage: what is being done, for the line of progress.
    """

    @property
    def name(self) -> str: ...  # noqa: D102

    @property
    def stage(self) -> str: ...  # noqa: D102

    def check(self, network: FunctionalNetwork) -> None:
        """Raise an ``InputError`` that says why if this network can't be compressed in this way."""
        ...

    def apply(self, network: FunctionalNetwork, fine_tune: FineTuner) -> FunctionalNetwork:
        """Return a compressed copy of a network, trained with ``fine_tune``.

        Raises:
            InputError: see :meth:`check`.
        """
        ...
