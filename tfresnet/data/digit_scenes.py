"""Compose pictures of several numbered discs, with their masks and boxes; no download.

Every scene shows one to four discs, each with one of scikit-learn's scans of a handwritten digit
(see ``digits``), enlarged, in random colors, sizes and places, on a background with a gradient,
noise and lines. All is computed in integers and drawn by NumPy's frozen generator, so that a scene
is the same on every machine.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from tfresnet.data import digits

SIDE = 96  # pixels of a scene
SCENES = {"train": 3000, "held_out": 300}
MOST = 4  # discs in a scene
SIZES = (32, 56)  # pixels of a disc's diameter
SCAN = (2, 3)  # of the diameter, the side of the scan in the middle
VISIBLE = 88  # percent of a disc's pixels that others leave uncovered
CONTRAST = 90  # smallest difference in lightness, of 255, of a digit and its disc
EDGE = 30  # the same of a disc and what is behind it
INK = 112  # of 255: a pixel of an enlarged scan from which on it is more digit than disc
TRIES = 12  # places, and colors, that are tried
Y, X = np.mgrid[:SIDE, :SIDE].astype(np.int32)
Draw = Callable[..., Any]  # whole numbers, as NumPy's ``randint`` has them
LABELS = ("background", *digits.LABELS)


@dataclass(frozen=True)
class Scenes:
    """Pictures with what is true of them.

    Attributes:
        images: uint8 [n, 96, 96, 3].
        masks: the class of each pixel, uint8 [n, 96, 96]: 0 for the background, d + 1 for a disc
            with digit d.
        boxes: around the discs, float32 [n, 4, 4], x1 y1 x2 y2 in shares of the sides; 0 where
            there is none.
        classes: of the boxes, the digits, int32 [n, 4]; -1 where there is none.
    """

    images: np.ndarray
    masks: np.ndarray
    boxes: np.ndarray
    classes: np.ndarray

    def __len__(self) -> int:
        return len(self.images)


def make(scans: np.ndarray, classes: np.ndarray, count: int, seed: tuple[int, ...]) -> Scenes:
    """Compose scenes.

    Args:
        scans: of digits, uint8 [m, 8, 8], white on black.
        classes: which digits they are, int64 [m].
        count: scenes to make.
        seed: equal ones give equal scenes; non-negative numbers below 2 ** 32.
    """
    # No version of NumPy changes the numbers of RandomState, and no system those of 32 bits.
    draw = functools.partial(np.random.RandomState(seed).randint, dtype=np.int32)
    scenes = Scenes(
        np.empty((count, SIDE, SIDE, 3), np.uint8),
        np.zeros((count, SIDE, SIDE), np.uint8),
        np.zeros((count, MOST, 4), np.float32),
        np.full((count, MOST), -1, np.int32),
    )
    for number in range(count):
        image = _background(draw)
        owner = np.full((SIDE, SIDE), -1)  # the number of the disc that a pixel shows
        areas: list[int] = []
        for _ in range(1 + draw(MOST)):
            chosen = draw(len(scans))
            if (place := _place(draw, owner, areas)) is None:
                continue
            top, left, side = place
            rows, columns = slice(top, top + side), slice(left, left + side)
            inside = _disc(side) >= 0
            owner[rows, columns][inside] = len(areas)
            scenes.masks[number, rows, columns][inside] = classes[chosen] + 1
            scenes.boxes[number, len(areas)] = np.array([left, top, left + side, top + side]) / SIDE
            scenes.classes[number, len(areas)] = classes[chosen]
            areas.append(int(inside.sum()))
            _paint(draw, image[rows, columns], scans[chosen])
        scenes.images[number] = image
    return scenes


def enlarged(scan: np.ndarray, side: int) -> np.ndarray:
    """Enlarge a scan, uint8 [8, 8], to [side, side], int64 0 to 255, bilinear in whole numbers."""
    weights = _weights(side)
    return (weights @ scan.astype(np.int64) @ weights.T) // (2 * side) ** 2


@functools.cache
def _weights(side: int, scan: int = digits.IMAGE_SIZE) -> np.ndarray:
    """Return the weights of a scan's pixels in those of the enlarged one, in 1 / (2 * side)."""
    place = np.clip((2 * np.arange(side) + 1) * scan - side, 0, 2 * side * (scan - 1))
    left, share = place // (2 * side), place % (2 * side)
    weights = np.zeros((side, scan + 1), np.int64)
    weights[np.arange(side), left] = 2 * side - share
    weights[np.arange(side), left + 1] = share
    return weights[:, :scan]


@functools.cache
def _disc(side: int) -> np.ndarray:
    """Return how far inside a disc of this diameter pixels are, int64 [side, side].

    In 1 / (4 * side) of a pixel, nearly; below 0 outside.
    """
    from_center = 2 * np.arange(side) + 1 - side  # in half pixels
    return side**2 - from_center[:, None] ** 2 - from_center**2


def _place(draw: Draw, owner: np.ndarray, areas: list[int]) -> tuple[int, int, int] | None:
    """Find a place for a disc where it leaves enough of the others to be seen.

    Returns its top, left and diameter in pixels; None if there is no such place.
    """
    for _ in range(TRIES):
        side = draw(SIZES[0], SIZES[1] + 1)
        top, left = draw(0, SIDE - side + 1, size=2)
        covered = owner[top : top + side, left : left + side][_disc(side) >= 0]
        lost = np.bincount(covered[covered >= 0], minlength=len(areas))
        seen = np.bincount(owner[owner >= 0], minlength=len(areas))
        if all(100 * (seen[i] - lost[i]) >= VISIBLE * area for i, area in enumerate(areas)):
            return top, left, side
    return None


def _paint(draw: Draw, part: np.ndarray, scan: np.ndarray) -> None:
    """Draw a disc with a digit into a part of the image, int32 [side, side, 3]."""
    side = len(part)
    depth = _disc(side)
    behind = int(_lightness(part[depth >= 0]).sum()) // int((depth >= 0).sum())
    color = _color(draw, behind, EDGE)
    _blend(part, color, 128 + 255 * depth // (4 * side))
    few = side * SCAN[0] // SCAN[1]
    middle = slice((side - few) // 2, (side - few) // 2 + few)
    ink = _color(draw, int(_lightness(color)), CONTRAST)
    _blend(part[middle, middle], ink, (enlarged(scan, few) - INK) * 4 + 128)


def _color(draw: Draw, behind: int, contrast: int) -> np.ndarray:
    """Draw a color, int32 [3], whose lightness differs from one behind it."""
    for _ in range(TRIES):
        color = draw(0, 256, size=3)
        if abs(int(_lightness(color)) - behind) >= contrast:
            return color
    return np.full(3, 255 if behind < 128 else 0)


def _blend(part: np.ndarray, color: np.ndarray, alpha: np.ndarray) -> None:
    """Blend a color into a part of the image by ``alpha``, clipped to 0 to 255."""
    alpha = np.clip(alpha, 0, 255)[..., None]
    part[:] = (part * (255 - alpha) + color * alpha) // 255


def _lightness(pixels: np.ndarray) -> np.ndarray:
    """Return the lightness of RGB pixels [..., 3], 0 to 255, in whole numbers."""
    return (pixels @ np.array([77, 150, 29])) // 256


def _background(draw: Draw) -> np.ndarray:
    """Draw a background, int32 [96, 96, 3], 0 to 255: a gradient, noise, and up to four lines."""
    first = draw(0, 256, size=3).astype(np.int32)
    last = np.clip(first + draw(-70, 71, size=3), 0, 255).astype(np.int32)
    right, down = draw(-9, 10, size=2).tolist()
    along = X * right + Y * down
    along -= along.min()
    image = first + ((last - first) * along[..., None]) // max(1, int(along.max()))
    for _ in range(draw(5)):
        a, b = draw(-9, 10, size=2).tolist()
        x, y = draw(0, SIDE, size=2).tolist()
        width = draw(1, 4)  # half of it, in half pixels
        distance = a * (X - x) + b * (Y - y)
        on_line = 4 * distance * distance <= width**2 * (a * a + b * b)
        image[on_line] = draw(0, 256, size=3)
    strength = draw(0, 25)
    image += draw(-strength, strength + 1, size=(SIDE, SIDE, 1))
    return np.clip(image, 0, 255, out=image)
