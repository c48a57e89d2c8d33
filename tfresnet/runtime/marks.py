"""Draw what was found into a picture: boxes and points, with their labels and scores."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from .boxes import Box
from .colors import palette
from .points import Point
from .spec import OutputSpec

Color = tuple[int, int, int]


def with_boxes(picture: Image.Image, found: Sequence[Box], output: OutputSpec) -> Image.Image:
    """Return a picture, RGB, with boxes around what was found, and its label and score."""
    result, colors = picture.copy(), _colors(output)
    draw = ImageDraw.Draw(result)
    line = max(1, round(max(picture.size) / 320))
    for one in reversed(found):  # the best ones on top
        color = colors[one.label]
        draw.rectangle(one.box, outline=color, width=line)
        _tag(draw, picture.size, (one.box[0], one.box[1]), f"{one.label} {one.score:.0%}", color)
    return result


def with_points(picture: Image.Image, found: Sequence[Point], output: OutputSpec) -> Image.Image:
    """Return a picture, RGB, with a dot at each point, and its label and score above it."""
    result, colors = picture.copy(), _colors(output)
    draw = ImageDraw.Draw(result)
    radius = max(2, round(max(picture.size) / 100))
    for one in reversed(found):
        color = colors[one.label]
        ends = (one.x - radius, one.y - radius, one.x + radius, one.y + radius)
        draw.ellipse(ends, fill=color, outline=_ink(color), width=max(1, radius // 3))
        place = (one.x + radius, one.y - radius)
        _tag(draw, picture.size, place, f"{one.label} {one.score:.0%}", color)
    return result


def _colors(output: OutputSpec) -> dict[str, Color]:
    rows = palette(output).tolist()
    return {label: (r, g, b) for label, (r, g, b) in zip(output.labels, rows, strict=True)}


def _tag(
    draw: ImageDraw.ImageDraw,
    size: tuple[int, int],
    place: tuple[float, float],
    text: str,
    color: Color,
) -> None:
    """Write a text on a colored ground above a place of a picture, or below where no room is."""
    font = ImageFont.load_default(size=max(10, round(max(size) / 45)))
    left, top, right, bottom = draw.textbbox((0, 0), text, font=font)
    width, height = right - left + 4, bottom - top + 4
    x = min(max(0, place[0]), max(0, size[0] - width))
    y = place[1] - height if place[1] >= height else place[1]
    draw.rectangle((x, y, x + width, y + height), fill=color)
    draw.text((x + 2 - left, y + 2 - top), text, fill=_ink(color), font=font)


def _ink(color: Color) -> str:
    """Return the one of black and white that is read better on a color."""
    return "black" if np.dot(color, (0.299, 0.587, 0.114)) > 128 else "white"  # ITU-R 601-2
