"""Colors of classes, and pictures of class maps."""

from __future__ import annotations

import numpy as np

from .spec import OF_OBJECTS, VOID, OutputSpec

BITS = 8


def palette(output: OutputSpec) -> np.ndarray:
    """Return the color of each class, uint8 [classes, 3].

    Without ``output.colors`` they are those of the Pascal VOC challenge's development kit (2012):
    number 0 is black, and the bits of a number are spread over red, green and blue. Objects have no
    background, so that of them class 0 has number 1.
    """
    if output.colors:
        return np.array([list(bytes.fromhex(color[1:])) for color in output.colors], np.uint8)
    number = np.arange(len(output.labels)) + (output.task in OF_OBJECTS)
    found = np.zeros((len(number), 3), np.uint8)
    for place in range(BITS - 1, -1, -1):
        for channel in range(3):
            found[:, channel] |= (((number >> channel) & 1) << place).astype(np.uint8)
        number >>= 3
    return found


def overlay(
    image: np.ndarray, class_map: np.ndarray, colors: np.ndarray, alpha: float = 0.5
) -> np.ndarray:
    """Blend the colors of classes into an image; void pixels stay as they are.

    Args:
        image: uint8 [H, W, 3] or [H, W, 1].
        class_map: uint8 [H, W].
        colors: of each class, uint8 [classes, 3].
        alpha: share of the color, 0 to 1.

    Returns:
        uint8 [H, W, 3].
    """
    known = class_map != VOID
    color = colors[np.where(known, class_map, 0)].astype(np.float32)
    share = np.where(known, alpha, 0)[..., None]
    return np.round(image * (1 - share) + color * share).astype(np.uint8)
