"""Sections of a report about boxes: each class, precision over recall, and what changed."""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.report import figures
from tfresnet.deploy.report.figures import Predictions, Section
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime import boxes
from tfresnet.runtime.decode import in_pixels, with_boxes
from tfresnet.tasks.detection import pairs_of

SHOWN = 6  # images that changed most
HEIGHT = 240  # pixels


def sections(
    context: ExportContext, predictions: Predictions, artifacts: Sequence[ArtifactRecord]
) -> list[Section]:
    """Return the sections of the files that are examined in detail."""
    if not artifacts:
        return []
    columns = {"checkpoint": context.reference.predictions}
    columns |= {figures.label(a): predictions[a.path] for a in artifacts}
    return [
        ("Each class", _classes(context, columns)),
        ("Precision and recall", figures.side_by_side([_curves(context, columns)])),
        *(_changed(context, predictions[a.path], a) for a in artifacts),
    ]


def _classes(context: ExportContext, columns: Mapping[str, Any]) -> str:
    """Return a table of the classes, with the average precision of the checkpoint and of files."""
    found = {}
    for name, values in columns.items():
        metrics = context.task.metrics()
        metrics.update(values, context.reference.truth)
        found[name] = metrics.result()["per_class"]
    return figures.class_table(context.run.output, found) + (
        '<p class="quiet">Average precision at an intersection over union of 0.5, on the held-out '
        "images.</p>"
    )


def _curves(context: ExportContext, columns: Mapping[str, Any]) -> Figure:
    """Draw the precision over the recall of all classes together."""
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, values in columns.items():
        recall, precision = precision_and_recall(values, context.reference.truth)
        axis.plot(recall, precision, label=name)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    return figure


def precision_and_recall(
    predictions: Mapping[str, np.ndarray], truth: Mapping[str, np.ndarray]
) -> tuple[np.ndarray, np.ndarray]:
    """Return the recall and the precision at each score, best first, float [detections].

    A detection is right if it overlaps a true box of its class by 0.5 (intersection over union)
    that no better one does. All classes count together.
    """
    scores: list[float] = []
    right: list[bool] = []
    total = 0
    for row in range(len(predictions["scores"])):
        ours, theirs = boxes.shown(predictions, row, 0.0), _true(truth, row)
        matched = {i for i, _ in pairs_of(ours, theirs)}
        scores.extend(ours.scores)
        right.extend(i in matched for i in range(len(ours.scores)))
        total += len(theirs.scores)
    order = np.argsort(-np.array(scores), kind="stable")
    hits = np.cumsum(np.array(right, np.float64)[order])
    return hits / max(1, total), hits / np.arange(1, len(hits) + 1)


def _true(truth: Mapping[str, np.ndarray], row: int) -> boxes.Detections:
    """Return the true boxes of an image, without those that are ignored."""
    there = (truth["classes"][row] >= 0) & ~truth["ignored"][row]
    return boxes.Detections(
        truth["boxes"][row][there], np.ones(int(there.sum())), truth["classes"][row][there]
    )


def _changed(
    context: ExportContext, after: Mapping[str, np.ndarray], artifact: ArtifactRecord
) -> Section:
    """Return the held-out images on which most boxes are missed or invented."""
    before = context.reference.predictions
    changes = np.array([_missed_and_invented(before, after, i) for i in range(context.reference.n)])
    missed, invented = changes.sum(axis=0)
    worst = np.argsort(-changes.sum(axis=1), kind="stable")[:SHOWN]
    worst = worst[changes[worst].sum(axis=1) > 0]
    shown = "".join(_pictures(context, worst, after))
    return (
        f"Where {figures.label(artifact)} disagrees most with the checkpoint: {missed} boxes "
        f"missed, {invented} invented",
        f'<div class="rows">{shown}</div>' if shown else "<p>Nowhere.</p>",
    )


def _missed_and_invented(
    before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], row: int
) -> tuple[int, int]:
    """Count the checkpoint's boxes in an image that a file lacks, and those that it has alone."""
    ours, theirs = boxes.shown(after, row), boxes.shown(before, row)
    matched = len(pairs_of(ours, theirs))
    return len(theirs.scores) - matched, len(ours.scores) - matched


def _pictures(
    context: ExportContext, indices: np.ndarray, after: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Yield held-out images with the true boxes, those of the checkpoint and those of a file."""
    output, before = context.run.output, context.reference.predictions
    for i, image in figures.chosen_images(context.held_out, indices):
        picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        picture = picture.resize((round(HEIGHT * picture.width / picture.height), HEIGHT))
        kinds = {
            "true": _true(context.reference.truth, i),
            "checkpoint": boxes.shown(before, i),
            "file": boxes.shown(after, i),
        }
        inside = ""
        for name, found in kinds.items():
            drawn = with_boxes(picture, in_pixels(found, output.labels, picture.size), output)
            source = figures.picture(np.asarray(drawn), HEIGHT)
            inside += f'<figure><img src="{source}" alt="{name} {i}">{escape(name)}</figure>'
        yield f"<div>{inside}</div>"
