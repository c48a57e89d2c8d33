"""A head that finds objects by their centers (Zhou et al. 2019, arXiv:1904.07850)."""

import math
from typing import Any

from tfresnet.keras2 import keras
from tfresnet.models.blocks import Conv, convolution, norm_relu
from tfresnet.models.network import FeatureMaps, Layers, apply
from tfresnet.models.top_down import TopDown, pyramid

layers = keras.layers
BOX_STRIDE, POINT_STRIDE = 4, 8  # pixels of the image for one cell of the maps
PRIOR = 0.1  # the probability of a center in a cell, before training
LIKELY_OFFSET = 0.5  # the middle of a cell


class CenterHead:
    """Maps of centers and of boxes, from a light top-down path (:class:`.top_down.TopDown`).

    Two branches of a 3x3 convolution, norm and ReLU are followed by a 1x1 convolution for each map:
    one gives the heat, the other sizes and offsets.

    Args:
        num_classes: number of heat maps.
        filters: channels of a branch.
        stride: pixels of the image for one cell of the maps; where a backbone has no such level,
            that of its nearest coarser level, or else of its last one.
        sizes: whether the sizes of boxes are found too.
    """

    def __init__(self, num_classes: int, filters: int, stride: int, sizes: bool):
        self.stride = stride
        self.path = TopDown(name="decoder")
        self.branches = {name: _branch(filters, name) for name in ("centers", "boxes")}
        # So that the many cells without a center do not outweigh the others at first.
        prior = keras.initializers.Constant(-math.log((1 - PRIOR) / PRIOR))
        self.heat = _map(num_classes, "heat", prior)
        self.size = _map(2, "size", "zeros") if sizes else None
        self.offset = _map(2, "offset", keras.initializers.Constant(LIKELY_OFFSET))

    @property
    def layers(self) -> Layers:
        """See :class:`.network.Head`."""
        branches = [layer for branch in self.branches.values() for layer in branch]
        maps = [self.heat, self.offset, *([self.size] if self.size else [])]
        return [self.path, *branches, *maps]

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> dict[str, Any]:
        """Return maps of cells, float32.

        Returns:
            ``heat``: logits [batch, h, w, num_classes] of a center of each class in a cell;
            ``size``: [batch, h, w, 2], width and height of the box as shares of the image's;
            ``offset``: [batch, h, w, 2], from a cell's left upper corner to the center, in cells.
        """
        x = apply([self.path], pyramid(maps, self.stride), training)
        centers, boxes = (apply(branch, x, training) for branch in self.branches.values())
        outputs = {"heat": self.heat(centers), "offset": self.offset(boxes)}
        return outputs | {"size": self.size(boxes)} if self.size else outputs


def _branch(filters: int, name: str) -> Layers:
    return [*convolution(Conv(filters, 3), "same", f"{name}_conv"), *norm_relu(name)]


def _map(count: int, name: str, bias: Any) -> keras.layers.Layer:
    """Build a 1x1 convolution to a float32 map whose values start near ``bias``."""
    small = keras.initializers.RandomNormal(stddev=0.01)
    return layers.Conv2D(
        count, 1, kernel_initializer=small, bias_initializer=bias, dtype="float32", name=name
    )
