"""Turn a model's outputs into predictions, by task; a new task is a row of ``DECODERS``."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Union

import numpy as np
from PIL import Image

from . import boxes, points
from .boxes import Box
from .colors import overlay, palette
from .marks import with_boxes, with_points
from .metadata import (
    BOXES,
    CLASS_MAP,
    CLASS_PROBABILITIES,
    DETECTIONS,
    EMBEDDING,
    POINTS_KIND,
    PROBABILITIES,
    SCORES,
)
from .points import Point
from .spec import CLASSIFICATION, MULTI_LABEL, OutputSpec

TOP = 5  # labels that are given of a picture that has one of them
THRESHOLD = 0.5  # of the probability of a label, where a picture may have many

# The outputs of each kind of file, in their order.
OUTPUTS = {
    PROBABILITIES: (PROBABILITIES,),
    EMBEDDING: (EMBEDDING,),
    CLASS_MAP: (CLASS_MAP,),
    CLASS_PROBABILITIES: (CLASS_PROBABILITIES,),
    BOXES: (BOXES, SCORES),
    POINTS_KIND: (POINTS_KIND, SCORES),
    # Float32 [n, 100, 4] as y1, x1, y2, x2, twice [n, 100], and [n]: how many are there.
    DETECTIONS: ("detection_boxes", "detection_classes", "detection_scores", "num_detections"),
}

Scored = list[tuple[str, float]]  # labels with their probabilities


class Prediction(NamedTuple):
    """What a classifier predicts of one picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        top: the most probable (label, probability), best first.
        prepare_ms: reading, cropping and resizing.
        run_ms: the model.
        labels: of a multi-label model, those that are probable enough, best first; else None.
    """

    picture: Any
    top: Scored
    prepare_ms: float
    run_ms: float
    labels: Scored | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return ``top`` and, of a multi-label model, ``labels`` as JSON types."""
        found = {"top": _named(self.top)}
        return found if self.labels is None else {**found, "labels": _named(self.labels)}

    def text(self) -> str:
        """Return the labels with their probabilities in one line."""
        shown = self.top if self.labels is None else self.labels
        return ", ".join(f"{label} {p:.1%}" for label, p in shown) or "none of the labels"


class EmbeddingPrediction(NamedTuple):
    """The embedding of one picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        embedding: float32 [D].
        prepare_ms: reading, cropping and resizing.
        run_ms: the model.
    """

    picture: Any
    embedding: np.ndarray
    prepare_ms: float
    run_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``embedding`` as a list of numbers."""
        return {"embedding": self.embedding.tolist()}

    def text(self) -> str:
        """Return the numbers in one line."""
        return " ".join(f"{x:.6g}" for x in self.embedding)


class SegmentationPrediction(NamedTuple):
    """The class of each pixel of a picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        class_map: as the model gives it, uint8 [H, W].
        shares: of each label that occurs, of the picture's area, 0 to 1; the largest first.
        size: width and height of the picture as a person sees it, in pixels.
        prepare_ms: reading and resizing.
        run_ms: the model.
    """

    picture: Any
    class_map: np.ndarray
    shares: dict[str, float]
    size: tuple[int, int]
    prepare_ms: float
    run_ms: float

    def full_size(self) -> np.ndarray:
        """Return the class of each pixel of the picture, uint8 [height, width]."""
        image = Image.fromarray(self.class_map)
        return np.asarray(image.resize(self.size, Image.Resampling.NEAREST))

    def to_dict(self) -> dict[str, Any]:
        """Return ``shares`` and ``mask``, None: the path of a file, if one is written."""
        return {"mask": None, "shares": self.shares}

    def drawn(self, picture: Image.Image, output: OutputSpec) -> dict[str, Image.Image]:
        """Return the ``picture`` with the classes in color over it, and the ``mask``.

        Args:
            picture: as a person sees it, RGB.
            output: of the model.

        Returns:
            Images of the picture's size; a pixel of the mask is the class, and its palette has the
            colors.
        """
        classes, colors = self.full_size(), palette(output)
        mask = Image.fromarray(classes)
        mask.putpalette(colors.tobytes())
        blended = overlay(np.asarray(picture), classes, colors)
        return {"picture": Image.fromarray(blended), "mask": mask}

    def text(self) -> str:
        """Return the labels with their shares in one line."""
        return ", ".join(f"{label} {share:.1%}" for label, share in self.shares.items())


class DetectionPrediction(NamedTuple):
    """The objects in a picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        boxes: of the objects, those with the highest score first.
        prepare_ms: reading and resizing.
        run_ms: the model, and the choice among its boxes.
    """

    picture: Any
    boxes: list[Box]
    prepare_ms: float
    run_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``boxes`` as JSON types."""
        return {"boxes": [{**one._asdict(), "box": list(one.box)} for one in self.boxes]}

    def drawn(self, picture: Image.Image, output: OutputSpec) -> dict[str, Image.Image]:
        """Return the ``picture`` with the boxes, their labels and scores; it is RGB, upright."""
        return {"picture": with_boxes(picture, self.boxes, output)}

    def text(self) -> str:
        """Return the labels with their scores in one line."""
        return ", ".join(f"{one.label} {one.score:.1%}" for one in self.boxes) or "nothing"


class PointsPrediction(NamedTuple):
    """The centers of the objects in a picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        points: the centers, those with the highest score first.
        prepare_ms: reading and resizing.
        run_ms: the model, and the choice among its points.
    """

    picture: Any
    points: list[Point]
    prepare_ms: float
    run_ms: float

    def to_dict(self) -> dict[str, Any]:
        """Return ``points`` as JSON types."""
        return {"points": [one._asdict() for one in self.points]}

    def drawn(self, picture: Image.Image, output: OutputSpec) -> dict[str, Image.Image]:
        """Return the ``picture`` with the points, their labels and scores; it is RGB, upright."""
        return {"picture": with_points(picture, self.points, output)}

    def text(self) -> str:
        """Return the labels with their scores in one line."""
        return ", ".join(f"{one.label} {one.score:.1%}" for one in self.points) or "nothing"


AnyPrediction = Union[  # noqa: UP007  (evaluated on Python 3.9)
    Prediction, EmbeddingPrediction, SegmentationPrediction, DetectionPrediction, PointsPrediction
]


@dataclass(frozen=True)
class Decoder:
    """How the probabilities of a task are read.

    Attributes:
        default_top: from the number of labels to how many are given by default.
        accepted: from all labels, best first, and a threshold to those that are true of the
            picture; None where that is the first one.
    """

    default_top: Callable[[int], int]
    accepted: Callable[[Scored, float], Scored | None]


def named(outputs: Mapping[str, np.ndarray], kind: str) -> dict[str, np.ndarray]:
    """Return the outputs of a file by our names, whatever its format calls them."""
    return dict(zip(OUTPUTS[kind], outputs.values(), strict=True))


def predictions(outputs: Mapping[str, np.ndarray]) -> Any:
    """Return the predictions that a file's outputs stand for.

    They are the probabilities of the labels or the embedding as they are, the class of each pixel,
    uint8 [n, H, W], and a dictionary of boxes, see :func:`.boxes.detections`, or of points, see
    :func:`.points.best`.

    Args:
        outputs: by the names of ``OUTPUTS``.
    """
    if CLASS_PROBABILITIES in outputs:
        return outputs[CLASS_PROBABILITIES].argmax(-1).astype(np.uint8)
    if CLASS_MAP in outputs:
        return outputs[CLASS_MAP].astype(np.uint8)  # those of TFLite Micro have the bytes as int8
    if POINTS_KIND in outputs:
        return points.best(outputs[SCORES], outputs[POINTS_KIND])
    if SCORES in outputs:
        return boxes.detections(outputs[SCORES], outputs[BOXES])
    if set(OUTPUTS[DETECTIONS]) <= set(outputs):
        return boxes.counted(*(outputs[name] for name in OUTPUTS[DETECTIONS]))
    (found,) = outputs.values()
    return found


def in_pixels(found: boxes.Detections, labels: Sequence[str], size: tuple[int, int]) -> list[Box]:
    """Return detections with their labels, in pixels of a picture of this width and height."""
    corners = found.boxes * np.array([*size, *size], np.float32)
    return [
        Box(labels[kind], float(score), (x1, y1, x2, y2))
        for kind, score, (x1, y1, x2, y2) in zip(
            found.classes, found.scores, corners.astype(float).round(2).tolist(), strict=True
        )
    ]


def points_in_pixels(
    found: points.Points, labels: Sequence[str], size: tuple[int, int]
) -> list[Point]:
    """Return points with their labels, in pixels of a picture of this width and height."""
    places = (found.points * np.array(size, np.float32)).astype(float).round(2).tolist()
    return [
        Point(labels[kind], float(score), x, y)
        for kind, score, (x, y) in zip(found.classes, found.scores, places, strict=True)
    ]


def shares(class_map: np.ndarray, labels: Sequence[str]) -> dict[str, float]:
    """Return the share of the area of each label that occurs, the largest first.

    Args:
        class_map: uint8 [H, W].
        labels: the name of each class.
    """
    counts = np.bincount(class_map.ravel(), minlength=len(labels))
    order = np.argsort(-counts, kind="stable")
    return {labels[i]: float(counts[i] / class_map.size) for i in order if counts[i]}


def ranked(probabilities: np.ndarray, labels: Sequence[str]) -> Scored:
    """Return all labels with their probabilities, best first.

    Args:
        probabilities: float [classes].
        labels: the name of each class.
    """
    best = np.argsort(-probabilities, kind="stable")
    return [(labels[i], float(probabilities[i])) for i in best]


def above(scored: Scored, threshold: float) -> Scored:
    """Return the labels whose probability is at least ``threshold``."""
    return [one for one in scored if one[1] >= threshold]


# The decoder of each task whose files give a probability of each label.
DECODERS = {
    CLASSIFICATION: Decoder(lambda classes: min(TOP, classes), lambda scored, threshold: None),
    MULTI_LABEL: Decoder(lambda classes: classes, above),
}


def _named(scored: Scored) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in scored]
