"""Find the channels inside residual blocks that a network needs least, and remove them.

Only channels inside blocks can go: those of every convolution of a block but its last one. What a
block takes and gives stays, so that the shortcut fits.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from tfresnet.deploy.compress.finetune import copied
from tfresnet.deploy.compress.fold import only_reader
from tfresnet.keras2 import keras
from tfresnet.models.functional import layer_macs
from tfresnet.runtime.errors import InputError
from tfresnet.tasks.base import Loss

Channels = list[np.ndarray]  # of each inner convolution: something for each of its channels


class InnerConvolution(NamedTuple):
    """A convolution inside a block, all but the block's last one, by the names of its layers.

    Attributes:
        name: the convolution.
        norm: the batch normalization behind it.
        reader: the convolution that alone takes its channels.
        channels: how many there are.
    """

    name: str
    norm: str
    reader: str
    channels: int


def inner_convolutions(model: keras.Model) -> list[InnerConvolution]:
    """Return the convolutions inside the blocks of a ResNet, in the order of the network.

    Args:
        model: functional.

    Raises:
        InputError: their channels are in groups.
    """
    convolutions = {x.name: x for x in model.layers if isinstance(x, keras.layers.Conv2D)}
    found = []
    for name in _inner_names(convolutions):
        prefix, number = name[:-1], int(name[-1])
        layer, reader = convolutions[name], f"{prefix}{number + 1}"
        if layer.groups > 1 or convolutions[reader].groups > 1:
            raise InputError(
                f"slim: expected a ResNet without groups, got {model.name}, whose {reader} has them"
            )
        norm = only_reader(layer)
        assert isinstance(norm, keras.layers.BatchNormalization), name
        found.append(InnerConvolution(name, norm.name, reader, layer.filters))
    return found


def _inner_names(convolutions: Iterable[str]) -> Iterator[str]:
    """Yield ``stage1_block1_conv1`` and so on: all that another one of the block follows."""
    known, stage, block = set(convolutions), 1, 1
    while f"stage{stage}_block1_conv1" in known:
        number = 1
        while f"stage{stage}_block{block}_conv{number + 1}" in known:
            yield f"stage{stage}_block{block}_conv{number}"
            number += 1
        block += 1
        if f"stage{stage}_block{block}_conv1" not in known:
            stage, block = stage + 1, 1


def by_norm(model: keras.Model, inner: Sequence[InnerConvolution]) -> Channels:
    """Return the scale of each channel in batch normalization, over the mean of its layer's.

    Source: Liu et al. 2017, arXiv:1708.06519.
    """
    scales = [np.abs(model.get_layer(each.norm).gamma.numpy()) for each in inner]
    return [scale / max(scale.mean(), 1e-12) for scale in scales]


def by_taylor(
    model: keras.Model,
    inner: Sequence[InnerConvolution],
    batches: Iterable[tuple[tf.Tensor, Any]],
    loss: Loss,
) -> Channels:
    """Return by how much the loss of an image would change without each channel, squared.

    It is the mean over images of the square of the first term of the loss's Taylor series in a
    factor on the output of the channel's batch normalization (Molchanov et al. 2019,
    arXiv:1906.10771); such numbers compare across layers.

    Args:
        model: functional.
        inner: the convolutions.
        batches: normalized images and targets, as for training.
        loss: of every image.
    """
    model = copied(model)  # layers that are wired only once
    norms = [model.get_layer(each.norm).output for each in inner]
    probe = keras.Model(model.inputs, [norms, model.output])
    sums: Channels = [np.zeros(each.channels) for each in inner]
    count = 0

    @tf.function
    def squares(images: tf.Tensor, targets: Any) -> list[tf.Tensor]:
        with tf.GradientTape() as tape:
            outputs, predictions = probe(images, training=False)
            losses = loss(targets, predictions)
        gradients = tape.gradient(losses, outputs)
        changes = [
            tf.reduce_sum(gradient * output, axis=(1, 2))
            for gradient, output in zip(gradients, outputs, strict=True)
        ]
        return [tf.reduce_sum(tf.square(change), axis=0) for change in changes]

    for images, targets in batches:
        count += len(images)
        for total, square in zip(sums, squares(images, targets), strict=True):
            total += square.numpy()
    return [total / max(1, count) for total in sums]


@dataclass(frozen=True)
class Costs:
    """The multiply-adds of a network, as far as they depend on its inner widths.

    Attributes:
        inner: the convolutions.
        total: multiply-adds of one image.
        layers: of each convolution that makes or takes inner channels, in the whole network.
    """

    inner: Sequence[InnerConvolution]
    total: int
    layers: dict[str, int]

    @classmethod
    def of(cls, model: keras.Model, inner: Sequence[InnerConvolution]) -> "Costs":
        """Count those of a functional model."""
        counts: dict[str, int] = {}
        for layer, count in layer_macs(model):
            counts[layer.name] = counts.get(layer.name, 0) + count
        names = {name for each in inner for name in (each.name, each.reader)}
        return cls(inner, sum(counts.values()), {name: counts[name] for name in names})

    def per_channel(self) -> list[float]:
        """Return the multiply-adds that one channel of each inner convolution takes."""
        return [
            (self.layers[each.name] + self.layers[each.reader]) / each.channels
            for each in self.inner
        ]

    def with_widths(self, widths: Sequence[int]) -> int:
        """Return the multiply-adds of one image with other inner widths."""
        left = dict.fromkeys(self.layers, 1.0)
        for each, width in zip(self.inner, widths, strict=True):
            for name in (each.name, each.reader):
                left[name] *= width / each.channels
        return round(self.total - sum(n * (1 - left[name]) for name, n in self.layers.items()))


def least_important(
    importance: Channels, costs: Costs, multiple: int, share: float = 0.0, macs: int | None = None
) -> list[np.ndarray]:
    """Choose the channels that stay, sorted indices for each inner convolution.

    They are removed in groups, after which a convolution has a multiple of ``multiple`` channels;
    one group at least stays. The group goes first whose importance for each of its multiply-adds is
    least.

    Args:
        importance: of each channel.
        costs: of the network.
        multiple: of channels that a convolution keeps.
        share: of all inner channels that go.
        macs: instead, the most multiply-adds that the network may have then.

    Raises:
        InputError: so much can't be removed.
    """
    widths = [each.channels for each in costs.inner]
    ranks = [np.argsort(values, kind="stable") for values in importance]
    removed, target = [0] * len(widths), round(share * sum(widths))

    def group(number: int) -> int:
        """Return the size of a convolution's next group; 0 if it must stay."""
        left = widths[number] - removed[number]
        size = left % multiple or multiple
        return size if left > size else 0

    def price(number: int) -> float:
        size, first = group(number), removed[number]
        least = importance[number][ranks[number][first : first + size]]
        return float(least.sum() / (size * costs.per_channel()[number]))

    def left() -> list[int]:
        return [width - gone for width, gone in zip(widths, removed, strict=True)]

    def enough(number: int) -> bool:
        """Tell whether so much is removed; the last group goes if more than half of it must."""
        if macs:
            return costs.with_widths(left()) <= macs
        return target - sum(removed) < max(1, group(number) / 2)

    while True:
        free = [number for number in range(len(widths)) if group(number)]
        cheapest = min(free, key=price, default=0)
        if enough(cheapest):
            break
        if not free:
            least_macs, most = costs.with_widths(left()), sum(removed) / max(1, sum(widths))
            raise InputError(
                f"max_macs: expected at least {least_macs:,}, as each convolution keeps "
                f"{multiple} channels, got {macs:,}"
                if macs
                else f"slim: expected at most {most:.2f}, as each convolution keeps {multiple} "
                f"channels, got {share:g}"
            )
        removed[cheapest] += group(cheapest)
    return [np.sort(rank[gone:]) for rank, gone in zip(ranks, removed, strict=True)]


def copy_kept(
    source: keras.Model,
    slim: keras.Model,
    inner: Sequence[InnerConvolution],
    kept: Sequence[np.ndarray],
) -> None:
    """Put the weights of a network, without the channels that go, into a slim one.

    Args:
        source: functional, with all channels.
        slim: functional, with layers of the same names.
        inner: the convolutions inside blocks.
        kept: the channels that stay, of each.
    """
    outputs = dict(zip((each.name for each in inner), kept, strict=True))
    norms = dict(zip((each.norm for each in inner), kept, strict=True))
    inputs = dict(zip((each.reader for each in inner), kept, strict=True))
    for layer in slim.layers:
        weights = source.get_layer(layer.name).get_weights() if layer.weights else []
        if layer.name in norms:
            weights = [values[norms[layer.name]] for values in weights]
        if layer.name in inputs:
            weights[0] = weights[0][:, :, inputs[layer.name]]
        if layer.name in outputs:
            weights = [values[..., outputs[layer.name]] for values in weights]
        layer.set_weights(weights)
