"""A top-down path: from a backbone's last feature map up to its finer levels."""

from typing import Any

from tfresnet.keras2 import keras
from tfresnet.models.blocks import Conv, convolution, norm_relu
from tfresnet.models.network import Block, FeatureMaps, Layers, apply

layers = keras.layers
SMALLEST, LARGEST = 32, 128  # channels, unless the level that is joined has fewer


def pyramid(maps: FeatureMaps, stride: int) -> list[Any]:
    """Return the last feature map and the finer levels down to ``stride``, coarse to fine.

    Of levels with the same stride, as those of a dilated backbone, it is the last one.
    """
    coarsest = max(maps.strides.values())
    levels = {maps.strides[name]: level for name, level in maps.levels.items()}
    finer = sorted((s for s in levels if stride <= s < coarsest), reverse=True)
    return [maps.last, *(levels[s] for s in finer)]


class TopDown(Block):
    """The decoder of a U-Net (Ronneberger et al. 2015, arXiv:1505.04597), with few channels.

    Maps, coarse to fine, become one of the size of the last: a 1x1 convolution, then for every
    finer map bilinear upsampling, concatenation, and a 3x3 convolution; each with a norm and a
    ReLU. It has half as many channels as the map that is joined, but see ``SMALLEST``.

    Its layers are made for the sizes of the maps that it is first called with; maps of other sizes
    are refused if they do not fit together.
    """

    def build(self, shapes: Any) -> None:
        """Build the layers for maps of these shapes."""
        coarsest, *finer = shapes
        widths = [_width(shape[-1]) for shape in finer] or [_width(coarsest[-1])]
        name = f"{self.name}_reduce"
        self.reduce = [*convolution(Conv(widths[0], 1), "same", name), *norm_relu(name)]
        self.joins = [
            Join(width, name=f"{self.name}_join{number}")
            for number, (width, _) in enumerate(zip(widths, finer, strict=False), start=1)
        ]
        super().build(shapes)

    def call(self, maps: list[Any]) -> Any:
        """Return a float NHWC map of the size of the last one."""
        coarsest, *finer = maps
        x = apply(self.reduce, coarsest)
        for join, level in zip(self.joins, finer, strict=True):
            x = join([x, level])
        return x


class Join(Block):
    """Upsample a map to the size of another, concatenate both, and convolve (3x3, norm, ReLU).

    A map of more than twice as many channels as come out goes through a 1x1 convolution first.
    """

    def __init__(self, filters: int, name: str):
        super().__init__(name=name)
        self.filters = filters
        self.concatenate = layers.Concatenate(name=f"{name}_concat")
        self.convolve = [
            *convolution(Conv(filters, 3), "same", f"{name}_conv"),
            *norm_relu(name),
        ]

    def build(self, shapes: Any) -> None:
        """Build the upsampling for maps of these shapes."""
        coarse, fine = shapes
        self.upsample = upsampling(coarse, fine, self.name)
        self.reduce: Layers = []
        if fine[-1] > 2 * self.filters:
            name = f"{self.name}_reduce"
            self.reduce = [*convolution(Conv(self.filters, 1), "same", name), *norm_relu(name)]
        super().build(shapes)

    def call(self, maps: list[Any]) -> Any:
        """Return a float NHWC map of the size of the second one."""
        coarse, fine = maps
        both = [apply(self.upsample, coarse), apply(self.reduce, fine)]
        return apply(self.convolve, self.concatenate(both))


def upsampling(coarse: Any, fine: Any, name: str, dtype: str | None = None) -> Layers:
    """Build bilinear upsampling of a map of shape ``coarse`` to height and width of ``fine``.

    The factors are whole numbers, and what exceeds ``fine`` is cut off on the right and below: 23
    pixels become 46 and then 45. Where pixels were dropped on the way down, zeros fill their place.
    """
    sizes = list(zip(coarse[1:3], fine[1:3], strict=True))
    factors = [max(1, round(after / before)) for before, after in sizes]
    excess = [size * factor - after for (size, after), factor in zip(sizes, factors, strict=True)]
    steps: Layers = []
    if max(factors) > 1:
        steps.append(
            layers.UpSampling2D(
                tuple(factors), interpolation="bilinear", dtype=dtype, name=f"{name}_up"
            )
        )
    if max(excess) > 0:
        cut = tuple((0, max(0, count)) for count in excess)
        steps.append(layers.Cropping2D(cut, dtype=dtype, name=f"{name}_crop"))
    if min(excess) < 0:
        missing = tuple((0, max(0, -count)) for count in excess)
        steps.append(layers.ZeroPadding2D(missing, dtype=dtype, name=f"{name}_pad"))
    return steps


def _width(channels: int) -> int:
    """Return the channels of the path where it joins a level of ``channels``."""
    return min(channels, LARGEST, max(SMALLEST, channels // 2))
