"""A network: a backbone that turns images into feature maps, and a head for a task.

Both are lists of Keras layers with a plain function over them. The layers belong to the
:class:`Network`, which is what is trained, saved and loaded.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import tensorflow as tf

from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError, unknown

layers = keras.layers
Layers = list[keras.layers.Layer]


class Block(keras.layers.Layer):
    """A group of Keras layers, wired in ``call``.

    ``call`` must use Keras layers only, no TensorFlow operations. Called on a symbolic input
    (``keras.Input``) a block adds these layers to the functional model, not itself: that is how
    :func:`tfresnet.models.functional.functional` gets a flat model.
    """

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Return what ``call`` returns, for tensors or for symbolic inputs."""
        inputs = tf.nest.flatten((args, kwargs))
        if any(isinstance(x, keras.__internal__.KerasTensor) for x in inputs):
            return self.call(*args, **kwargs)
        return super().__call__(*args, **kwargs)


@dataclass(frozen=True)
class Part:
    """Consecutive layers of a backbone: what ``train.freeze_until`` counts in.

    Attributes:
        name: ``stem``, ``stage1`` ..., ``final``.
        layers: layers and blocks in the order in which they are called.
        level: the number of these layers after which the feature map of this part's resolution is
            complete; None if the part gives no level.
        stride: pixels of the image, in height and width, for one of that feature map.
    """

    name: str
    layers: Layers
    level: int | None = None
    stride: int = 1


class FeatureMaps(NamedTuple):
    """What a backbone gives for a batch.

    Attributes:
        levels: the last feature map of each stage, float [batch, H, W, C], by the name of its
            part, finest first. With an ImageNet stem ``stage1`` to ``stage4`` have strides of 4, 8,
            16 and 32, or less if ``model.output_stride`` is less. Of pre-activated networks they
            are the sums before the final norm.
        last: the output of the last layer, float [batch, H, W, C]; as large as the last level.
        strides: pixels of the image for one of each level, by the same names.
    """

    levels: Mapping[str, Any]
    last: Any
    strides: Mapping[str, int]


class Backbone:
    """The part of a network that does not depend on the task."""

    def __init__(self, parts: Sequence[Part]):
        self.parts = tuple(parts)

    @property
    def layers(self) -> Layers:
        """All layers and blocks, in the order in which they are called."""
        return [layer for part in self.parts for layer in part.layers]

    def __call__(self, images: Any, training: bool | None = None) -> FeatureMaps:
        """Return the feature maps of normalized float NHWC images.

        ``training`` is by default what the network was called with.
        """
        levels, strides, x = {}, {}, images
        for part in self.parts:
            for number, layer in enumerate(part.layers, start=1):
                x = apply([layer], x, training)
                if number == part.level:
                    levels[part.name], strides[part.name] = x, part.stride
        return FeatureMaps(levels, x, strides)


class Head(Protocol):
    """The part of a network that turns feature maps into a task's outputs."""

    @property
    def layers(self) -> Layers:
        """All layers and blocks, which the network tracks, in a fixed order."""
        ...

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> Any:
        """Return the outputs: a float32 tensor, or a dictionary of them by name.

        Only Keras layers and blocks may be used, as in :class:`Block`.
        """
        ...


class LinearHead:
    """Global average pooling, dropout and a dense layer: feature maps to logits.

    Args:
        num_classes: number of logits.
        dropout: rate of the dropout before the dense layer; 0 for none.
    """

    def __init__(self, num_classes: int, dropout: float = 0.0):
        self.pool = layers.GlobalAveragePooling2D(name="pool")
        self.dropout = [layers.Dropout(dropout, name="dropout")] if dropout else []
        # float32 logits also under mixed precision: a bfloat16 softmax is too coarse.
        self.dense = layers.Dense(num_classes, dtype="float32", name="head")

    @property
    def layers(self) -> Layers:
        """See :class:`Head`."""
        return [self.pool, *self.dropout, self.dense]

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> Any:
        """Return float32 logits [batch, num_classes]."""
        return apply(self.layers, maps.last, training)


class Features(NamedTuple):
    """The features of a batch.

    Attributes:
        pyramid: the levels of :class:`FeatureMaps`, finest first.
        embedding: the pooled features that the head classifies, float [batch, D].
    """

    pyramid: tuple[tf.Tensor, ...]
    embedding: tf.Tensor


class Network(keras.Model):
    """A backbone and a head.

    Takes float NHWC images normalized as the run's ``InputSpec`` says, and gives what the head
    gives: for classification float32 logits [batch, num_classes].
    """

    def __init__(self, backbone: Backbone, head: Head, name: str):
        super().__init__(name=name)
        self.trunk = [*backbone.layers, *head.layers]  # the name that checkpoints know them by
        self.backbone, self.head = backbone, head

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return the outputs; Keras passes ``training`` on to the layers by itself."""
        return self.head(self.backbone(images))

    def features(self, images: Any, training: bool = False) -> Features:
        """Return the pyramid and the embedding of float NHWC images.

        Raises:
            InputError: the head does not pool, so there is no embedding; see ``backbone``.
        """
        maps = self.backbone(images, training)
        embedding = apply([self.linear_head.pool], maps.last, training)
        return Features(tuple(maps.levels.values()), embedding)

    def class_activation_maps(self, images: Any) -> tuple[Any, Any]:
        """Return where in float NHWC images each class is seen, and the logits.

        The class activation maps, float32 [batch, h, w, classes], of Zhou et al. (2016,
        arXiv:1512.04150): the dense layer applied at every place before pooling, without its bias.
        Behind a global average and a linear head, Grad-CAM (Selvaraju et al. 2017,
        arXiv:1610.02391) is the same up to a factor.

        Raises:
            InputError: the head is not linear.
        """
        head, last = self.linear_head, self.backbone(images, training=False).last
        maps = tf.einsum("bhwd,dc->bhwc", tf.cast(last, tf.float32), head.dense.kernel)
        return maps, head.dense(head.pool(last))

    def classify(self, embedding: Any) -> Any:
        """Return the logits of :attr:`Features.embedding`, as :meth:`call` does (no dropout)."""
        return self.linear_head.dense(embedding)

    def freeze_until(self, last: str) -> None:
        """Freeze ``last``, and all parts before it: neither weights nor statistics change.

        Raises:
            InputError: the backbone has no such part.
        """
        names = [part.name for part in self.backbone.parts]
        if last not in names:
            raise unknown("part of the network", last, names)
        for part in self.backbone.parts[: names.index(last) + 1]:
            for layer in part.layers:
                layer.trainable = False

    def freeze_norms(self) -> None:
        """Keep all batch normalizations as they are: statistics, scales and shifts."""
        for layer in self.submodules:
            if isinstance(layer, layers.BatchNormalization):
                layer.trainable = False

    @property
    def linear_head(self) -> LinearHead:
        """The head of a classifier; an ``InputError`` for a network with another head."""
        if not isinstance(self.head, LinearHead):
            raise InputError(
                f"{self.name}: expected a classifier, which pools and ends with a dense layer, got "
                f"a network with a {type(self.head).__name__}"
            )
        return self.head


def apply(steps: Iterable[keras.layers.Layer], x: Any, training: bool | None = None) -> Any:
    """Return ``x`` after every layer in turn; ``training`` is by default left to Keras."""
    for step in steps:
        x = step(x) if training is None else step(x, training=training)
    return x


def scaled(channels: int, factor: float, divisor: int = 8) -> int:
    """Return ``factor`` times ``channels``, to the nearest multiple of 8 but at least 8."""
    return channels if factor == 1 else max(divisor, round(channels * factor / divisor) * divisor)
