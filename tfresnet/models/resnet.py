"""The ResNet: stem, stages of residual blocks, global pooling, a linear head."""

from typing import Any

import tf_keras as keras

from tfresnet.models.blocks import ResidualBlock, apply, conv, norm

layers = keras.layers


def cifar_stem(filters: int) -> list[keras.layers.Layer]:
    """Return a 3x3 convolution at full resolution (He et al. 2015, section 4.2)."""
    return [
        conv(filters, 3, 1, name="stem_conv"),
        norm(name="stem_bn"),
        layers.ReLU(name="stem_relu"),
    ]


def imagenet_stem(filters: int) -> list[keras.layers.Layer]:
    """Return a 7x7 convolution and a max pool, together stride 4 (He et al. 2015, table 1)."""
    return [
        conv(filters, 7, 2, name="stem_conv"),
        norm(name="stem_bn"),
        layers.ReLU(name="stem_relu"),
        layers.MaxPooling2D(3, 2, padding="same", name="stem_pool"),
    ]


STEMS = {"cifar": cifar_stem, "imagenet": imagenet_stem}


class ResNet(keras.Model):
    """A residual network for classification (He et al. 2015, arXiv:1512.03385).

    Takes float NHWC images normalised as the run's ``InputSpec`` says, and gives float32
    logits of shape [batch, num_classes]. ``trunk`` lists its layers and blocks in order.

    Args:
        depths: blocks in each stage; the first block of each but the first stage halves the size.
        widths: channels of each stage; the stem has those of the first.
        num_classes: length of the logits.
        stem: ``cifar`` or ``imagenet``.
        shortcut: ``A`` (no parameters) or ``B`` (projection) where a stage begins.
        zero_gamma: start every block as the identity (Goyal et al. 2017, arXiv:1706.02677).
    """

    def __init__(
        self,
        depths: tuple[int, ...],
        widths: tuple[int, ...],
        num_classes: int,
        stem: str,
        shortcut: str,
        zero_gamma: bool,
        name: str,
    ):
        super().__init__(name=name)
        self.trunk = STEMS[stem](widths[0])
        filters = widths[0]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            for block in range(1, depth + 1):
                strides = 2 if block == 1 and stage > 1 else 1
                block_name = f"stage{stage}_block{block}"
                self.trunk.append(
                    ResidualBlock(filters, width, strides, shortcut, zero_gamma, block_name)
                )
                filters = width
        self.trunk.append(layers.GlobalAveragePooling2D(name="pool"))
        # float32 logits also under mixed precision: a bfloat16 softmax is too coarse.
        self.trunk.append(layers.Dense(num_classes, dtype="float32", name="head"))

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Return logits; Keras passes ``training`` on to the batch norms by itself."""
        return apply(self.trunk, images)
