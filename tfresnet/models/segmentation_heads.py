"""Heads that give logits for every place of a feature map: U-Net and LR-ASPP."""

from typing import Any

from tfresnet.keras2 import keras
from tfresnet.models.blocks import Conv, convolution, norm_relu
from tfresnet.models.network import Block, FeatureMaps, Layers, apply
from tfresnet.models.top_down import TopDown, pyramid, upsampling

layers = keras.layers
LOW_STRIDE = 8  # of the level whose details LR-ASPP adds


class UNetHead:
    """A U-Net's decoder: logits at the stride of the backbone's finest level.

    That is 4 with an ImageNet stem and 1 with a CIFAR stem; see :class:`.top_down.TopDown`.

    Args:
        num_classes: number of logits.
        dropout: rate of the dropout before the last convolution; 0 for none.
    """

    def __init__(self, num_classes: int, dropout: float = 0.0):
        self.decoder = TopDown(name="decoder")
        self.dropout = [layers.Dropout(dropout, name="dropout")] if dropout else []
        self.logits = logits(num_classes, "logits")

    @property
    def layers(self) -> Layers:
        """See :class:`.network.Head`."""
        return [self.decoder, *self.dropout, self.logits]

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> Any:
        """Return float32 logits [batch, h, w, num_classes]."""
        return apply(self.layers, pyramid(maps, stride=1), training)


class LrAsppHead:
    """LR-ASPP, the light head of MobileNetV3 (Howard et al. 2019, arXiv:1905.02244, section 6.4).

    The last feature map, weighted by what is seen in the whole image, gives logits; they are
    upsampled to a finer level and added to the logits of that level. (Upsampling the logits equals
    the paper's upsampling of the features before the 1x1 convolution, and costs less.) The finer
    level has stride 8 where there is one, else the next lower stride.

    Args:
        num_classes: number of logits.
        filters: channels of the branch on the last feature map; 128 in the paper.
        dropout: rate of the dropout before the last convolutions; 0 for none.
    """

    def __init__(self, num_classes: int, filters: int = 128, dropout: float = 0.0):
        self.block = LrAspp(num_classes, filters, dropout, name="lraspp")

    @property
    def layers(self) -> Layers:
        """See :class:`.network.Head`."""
        return [self.block]

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> Any:
        """Return float32 logits [batch, h, w, num_classes] at the stride of the finer level."""
        *others, _ = maps.levels
        strides = [maps.strides[name] for name in others if maps.strides[name] <= LOW_STRIDE]
        low = next(name for name in others if maps.strides[name] == max(strides))
        return apply([self.block], [maps.last, maps.levels[low]], training)


class LrAspp(Block):
    """The layers of :class:`LrAsppHead`, made for the sizes of the maps it is first called with."""

    def __init__(self, num_classes: int, filters: int, dropout: float, name: str):
        super().__init__(name=name)
        self.branch = [
            *convolution(Conv(filters, 1), "same", f"{name}_conv"),
            *norm_relu(name),
        ]
        self.weigh = [
            layers.GlobalAveragePooling2D(keepdims=True, name=f"{name}_pool"),
            layers.Conv2D(filters, 1, activation="sigmoid", use_bias=False, name=f"{name}_weights"),
        ]
        self.multiply = layers.Multiply(name=f"{name}_scale")
        self.dropout = [layers.Dropout(dropout, name=f"{name}_dropout")] if dropout else []
        self.high, self.low = (logits(num_classes, f"{name}_{level}") for level in ("high", "low"))
        self.add = layers.Add(dtype="float32", name=f"{name}_add")

    def build(self, shapes: Any) -> None:
        """Build the upsampling for maps of these shapes."""
        coarse, fine = shapes
        self.upsample = upsampling(coarse, fine, self.name, "float32")
        super().build(shapes)

    def call(self, maps: list[Any]) -> Any:
        """Return the logits of the last feature map and of a finer level, float NHWC."""
        last, fine = maps
        high = self.multiply([apply(self.branch, last), apply(self.weigh, last)])
        high = self.high(apply(self.dropout, high))
        return self.add([apply(self.upsample, high), self.low(fine)])


def logits(num_classes: int, name: str) -> keras.layers.Layer:
    """Build a 1x1 convolution to logits, float32 also under mixed precision."""
    return layers.Conv2D(num_classes, 1, dtype="float32", name=name)
