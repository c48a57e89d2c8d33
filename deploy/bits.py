"""Choose the layers whose weights get 4 bits, so that a file fits a size and loses least.

The sensitivity of a layer is the noise in the logits when its weights alone have 4 bits, as in
mixed-precision quantization by measured sensitivity (Cai et al. 2020, arXiv:2001.00281).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tfresnet.deploy import inspect
from tfresnet.deploy.formats import kernels

BITS, USUAL = 4, 8


@dataclass(frozen=True)
class LayerBits:
    """What 4-bit weights of one layer cost and save.

    Attributes:
        tensor: the layer's output in the float32 TFLite file.
        saved: bytes that 4 bits save over 8.
        noise: power of the error in the logits, or other last layers with weights, as a share of
            their power.
    """

    tensor: str
    saved: int
    noise: float

    @property
    def layer(self) -> str:
        """The name of the Keras layer."""
        return kernels.layer_name(self.tensor)


def sensitivities(floating: bytes, images: np.ndarray) -> list[LayerBits]:
    """Measure every convolution and dense layer, depthwise ones left out, in the file's order.

    Args:
        floating: a float32 TFLite file.
        images: uint8 [n, H, W, C].
    """
    ends = kernels.last(floating)
    exact = inspect.values(floating, ends, images)
    power = sum(float(np.square(values).sum()) for values in exact)
    found = []
    for layer in kernels.dense(floating):
        rounded = kernels.with_kernel(floating, layer.tensor, kernels.rounded(layer.values, BITS))
        noisy = inspect.values(rounded, ends, images)
        noise = sum(float(np.square(a - b).sum()) for a, b in zip(noisy, exact, strict=True))
        saved = layer.values.size * (USUAL - BITS) // 8
        found.append(LayerBits(layer.tensor, saved, noise / max(power, 1e-30)))
    return found


def allocate(layers: Sequence[LayerBits], needed: int) -> list[LayerBits]:
    """Choose layers that together save at least ``needed`` bytes, all if those are too few.

    They are taken by noise for each byte saved, the least first; those that turn out not to be
    needed are given back, the noisiest first.
    """
    chosen: list[LayerBits] = []
    for layer in sorted(layers, key=lambda layer: layer.noise / max(layer.saved, 1)):
        if sum(other.saved for other in chosen) >= needed:
            break
        chosen.append(layer)
    for layer in sorted(chosen, key=lambda layer: -layer.noise):
        if sum(other.saved for other in chosen) - layer.saved >= needed:
            chosen.remove(layer)
    return [layer for layer in layers if layer in chosen]
