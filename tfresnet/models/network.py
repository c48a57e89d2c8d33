"""What all networks share: a trunk of named layers and blocks, called one after the other.

The first word of a step's name is its part: ``stem``, ``stage1`` ..., ``final``, ``pool``,
``dropout``, ``head``. Parts are what features are taken from and what can be frozen.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.runtime.errors import unknown

layers = keras.layers
Layers = list[keras.layers.Layer]


class Features(NamedTuple):
    """What a network sees in a batch.

    Attributes:
        pyramid: the last block's feature map of each resolution, float [batch, H, W, C], finest
            first; with an ImageNet stem the strides are 4, 8, 16, 32. Of pre-activated networks
            they are the plain sums, before the final norm.
        embedding: the pooled features that the head classifies, float [batch, D].
    """

    pyramid: tuple[tf.Tensor, ...]
    embedding: tf.Tensor


class Block(keras.layers.Layer):
    """A layer whose ``call`` uses Keras layers only, each once: a functional twin looks inside."""


class Network(keras.Model):
    """A network for classification.

    Takes float NHWC images normalised as the run's ``InputSpec`` says, and gives float32
    logits of shape [batch, num_classes].

    Args:
        trunk: its layers and blocks in order; :func:`classifier` makes the last of them.
    """

    def __init__(self, trunk: Layers, name: str):
        super().__init__(name=name)
        self.trunk = trunk

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return logits; Keras passes ``training`` on to the batch norms by itself."""
        return apply(self.trunk, images)

    def features(self, images: Any, training: bool = False) -> Features:
        """Return the pyramid and the embedding of float NHWC images."""
        levels, x = {}, images
        for step in self.trunk[: self._position("pool") + 1]:
            x = step(x, training=training)
            if isinstance(step, Block) and part(step) != "stem":
                levels[tuple(x.shape[1:3])] = x
        return Features(tuple(levels.values()), x)

    def evidence(self, images: Any) -> tuple[Any, Any]:
        """Return where in float NHWC images each class is seen, and the logits.

        The class activation maps [batch, h, w, classes] of Zhou et al. (2016, arXiv:1512.04150):
        the head applied at every place before pooling, without its bias. Behind a global average
        and a linear head, Grad-CAM (Selvaraju et al. 2017, arXiv:1610.02391) is the same up to a
        factor.
        """
        position = self._position("pool")
        x = images
        for step in self.trunk[:position]:
            x = step(x, training=False)
        head = self.trunk[-1]
        maps = tf.einsum("bhwd,dc->bhwc", tf.cast(x, tf.float32), head.kernel)
        return maps, head(self.trunk[position](x))

    def classify(self, embedding: Any) -> Any:
        """Return logits for :attr:`Features.embedding`, as :meth:`call` would (no dropout)."""
        return self.trunk[-1](embedding)

    def freeze_until(self, last: str) -> None:
        """Keep ``last``, and all parts before it, as they are; their statistics too.

        Raises:
            InputError: there is no such part before the pooling.
        """
        body = self.trunk[: self._position("pool")]
        parts = [part(step) for step in body]
        if last not in parts:
            raise unknown("part of the network", last, list(dict.fromkeys(parts)))
        end = len(parts) - parts[::-1].index(last)
        for step in body[:end]:
            step.trainable = False

    def _position(self, name: str) -> int:
        return next(i for i, step in enumerate(self.trunk) if step.name == name)


def part(step: keras.layers.Layer) -> str:
    """Return the part that a step of the trunk belongs to."""
    return step.name.partition("_")[0]


def classifier(num_classes: int, dropout: float) -> Layers:
    """Return global pooling, dropout at a rate of ``dropout``, and a linear head."""
    steps: Layers = [layers.GlobalAveragePooling2D(name="pool")]
    if dropout:
        steps.append(layers.Dropout(dropout, name="dropout"))
    # float32 logits also under mixed precision: a bfloat16 softmax is too coarse.
    return [*steps, layers.Dense(num_classes, dtype="float32", name="head")]


def apply(steps: Iterable[keras.layers.Layer], x: Any) -> Any:
    """Return ``x`` after every layer in turn."""
    for step in steps:
        x = step(x)
    return x


def scaled(channels: int, factor: float, divisor: int = 8) -> int:
    """Return ``factor`` times ``channels``, to the nearest multiple of 8 but at least 8."""
    return channels if factor == 1 else max(divisor, round(channels * factor / divisor) * divisor)
