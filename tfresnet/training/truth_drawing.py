"""Draw what is true of an image: its labels as text, its mask or its boxes into the image."""

import textwrap
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from PIL import Image, ImageDraw

from tfresnet.runtime import colors
from tfresnet.runtime.spec import DETECTION, SEGMENTATION, VOID, OutputSpec

SIDE = 320  # pixels to which images with boxes are enlarged, so that lines are thin
Boxes = dict[str, np.ndarray]  # of one image, see tfresnet.data.box_split


class Drawing(NamedTuple):
    """How to draw the truth of one image.

    Attributes:
        caption: returns the text below the image, from the truth and the output's spec.
        drawn: returns the image with the truth in it, uint8 [H, W, C], from the image, the truth
            and the output's spec.
        columns: images beside each other.
    """

    caption: Callable[[Any, OutputSpec], str]
    drawn: Callable[[np.ndarray, Any, OutputSpec], np.ndarray]
    columns: int


def of(output: OutputSpec) -> Drawing:
    """Return how the truth of a task is drawn."""
    return DRAWINGS.get(output.task, LABELS)


def caption(target: np.ndarray, labels: tuple[str, ...], limit: int = 3) -> str:
    """Return the labels of a target [classes], the largest share first: ``cat 0.73``, one a line.

    Of a target that is one class there is only the label; shares below 0.005 are left out.
    """
    order = [i for i in np.argsort(-target, kind="stable")[:limit] if target[i] >= 0.005]
    short = [_short(labels[i]) for i in order]
    if len(order) == 1 and target[order[0]] >= 0.995:
        return short[0]
    return "\n".join(f"{name} {target[i]:.2f}" for name, i in zip(short, order, strict=True))


def mask_caption(mask: np.ndarray, output: OutputSpec) -> str:
    """Return the classes with the most pixels, and their shares of a mask, uint8 [H, W]."""
    counts = np.bincount(mask.reshape(-1), minlength=VOID + 1)[: len(output.labels)]
    return caption(counts / mask.size, output.labels)


def with_mask(image: np.ndarray, mask: np.ndarray, output: OutputSpec) -> np.ndarray:
    """Blend the colors of a mask, uint8 [H, W], into an image; void stays as it is."""
    return colors.overlay(image, mask, colors.palette(output))


def boxes_caption(truth: Boxes, output: OutputSpec) -> str:
    """Return how many boxes there are of the three most frequent classes: ``car: 4``."""
    found = Counter(truth["classes"][truth["classes"] >= 0].tolist()).most_common(3)
    return "\n".join(f"{_short(output.labels[label])}: {count}" for label, count in found)


def with_boxes(image: np.ndarray, truth: Boxes, output: OutputSpec) -> np.ndarray:
    """Draw boxes in the colors of their classes into an enlarged image; ignored ones are thin."""
    factor = max(1, SIDE // max(image.shape[:2]))
    large = image.repeat(factor, axis=0).repeat(factor, axis=1)
    picture = Image.fromarray(np.ascontiguousarray(np.broadcast_to(large, (*large.shape[:2], 3))))
    draw = ImageDraw.Draw(picture)
    palette = _box_colors(output)
    for box, label, ignored in zip(*(truth[key] for key in ("boxes", "classes", "ignored")),
                                   strict=True):  # fmt: skip
        if label >= 0:
            corners = (box * np.tile(picture.size, 2)).tolist()
            draw.rectangle(corners, outline=palette[label], width=1 if ignored else 3)
    return np.asarray(picture)


def _box_colors(output: OutputSpec) -> list[tuple[int, ...]]:
    """Return a color for each class; that of the background, black, is none of them."""
    if output.colors:
        found = colors.palette(output)
    else:
        found = colors.palette(OutputSpec(DETECTION, ("background", *output.labels)))[1:]
    return [tuple(color) for color in found.tolist()]


def _short(label: str) -> str:
    return textwrap.shorten(label.replace("_", " "), 18, placeholder="…")


LABELS = Drawing(
    lambda target, output: caption(target, output.labels), lambda image, *_: image, columns=8
)
DRAWINGS = {
    SEGMENTATION: Drawing(mask_caption, with_mask, columns=4),
    DETECTION: Drawing(boxes_caption, with_boxes, columns=4),
}
