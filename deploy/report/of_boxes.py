"""Sections of a report about boxes or points: each class, precision over recall, changes."""

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
from tfresnet.runtime import boxes, points
from tfresnet.runtime.decode import in_pixels, points_in_pixels
from tfresnet.runtime.marks import with_boxes, with_points
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks.box_metrics import DetectionMetrics, Matched
from tfresnet.tasks.detection import Detection

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
    found = {
        name: _measured(context, values).result()["per_class"] for name, values in columns.items()
    }
    words = context.task.headings.per_class
    note = f"{words[:1].upper()}{words[1:]}, on the held-out images."
    return f'{figures.class_table(context.run.output, found)}<p class="quiet">{note}</p>'


def _measured(context: ExportContext, predictions: Any) -> DetectionMetrics:
    metrics = _task(context).metrics()
    metrics.update(predictions, context.reference.truth)
    return metrics


def _task(context: ExportContext) -> Detection:
    task = context.task
    assert isinstance(task, Detection)
    return task


def _curves(context: ExportContext, columns: Mapping[str, Any]) -> Figure:
    """Draw the precision over the recall of all classes together."""
    figure = Figure(figsize=(4.8, 3.6), layout="constrained")
    axis = figure.subplots()
    for name, values in columns.items():
        recall, precision = precision_and_recall(_measured(context, values).matched())
        axis.plot(recall, precision, label=name)
    axis.set(xlabel="recall", ylabel="precision", xlim=(0, 1.02), ylim=(0, 1.02))
    axis.grid(alpha=0.3)
    axis.legend(loc="lower left")
    return figure


def precision_and_recall(classes: Sequence[Matched]) -> tuple[np.ndarray, np.ndarray]:
    """Return the recall and the precision at each score, best first, float [detections].

    All classes count together.

    Args:
        classes: the detections of each, matched with what is true.
    """
    scores, right = (np.concatenate(parts) for parts in zip(*(m[:2] for m in classes), strict=True))
    total = sum(int(m.boxes.sum()) for m in classes)
    hits = np.cumsum(right[np.argsort(-scores, kind="stable")])
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
    """Return the held-out images on which most objects are missed or invented."""
    before, count = context.reference.predictions, context.reference.n
    changes = np.array(
        [_missed_and_invented(_task(context), before, after, i) for i in range(count)]
    )
    missed, invented = changes.sum(axis=0)
    worst = np.argsort(-changes.sum(axis=1), kind="stable")[:SHOWN]
    worst = worst[changes[worst].sum(axis=1) > 0]
    shown = "".join(_pictures(context, worst, after))
    return (
        f"Where {figures.label(artifact)} disagrees most with the checkpoint: {missed} objects "
        f"missed, {invented} invented",
        f'<div class="rows">{shown}</div>' if shown else "<p>Nowhere.</p>",
    )


def _missed_and_invented(
    task: Detection, before: Mapping[str, np.ndarray], after: Mapping[str, np.ndarray], row: int
) -> tuple[int, int]:
    """Count the checkpoint's objects in an image that a file lacks, and those that it has alone."""
    ours, theirs = task.shown(after, row), task.shown(before, row)
    matched = len(task.pairs(ours, theirs))
    return len(theirs.scores) - matched, len(ours.scores) - matched


def _pictures(
    context: ExportContext, indices: np.ndarray, after: Mapping[str, np.ndarray]
) -> Iterator[str]:
    """Yield held-out images with the true boxes, and what the checkpoint and a file find."""
    task, before = _task(context), context.reference.predictions
    for i, image in figures.chosen_images(context.held_out, indices):
        picture = Image.fromarray(np.broadcast_to(image, (*image.shape[:2], 3)))
        picture = picture.resize((round(HEIGHT * picture.width / picture.height), HEIGHT))
        kinds = {
            "true": _true(context.reference.truth, i),
            "checkpoint": task.shown(before, i),
            "file": task.shown(after, i),
        }
        inside = ""
        for name, found in kinds.items():
            drawn = _drawn(picture, found, task.output)
            source = figures.picture(np.asarray(drawn), HEIGHT)
            inside += f'<figure><img src="{source}" alt="{name} {i}">{escape(name)}</figure>'
        yield f"<div>{inside}</div>"


def _drawn(
    picture: Image.Image, found: boxes.Detections | points.Points, output: OutputSpec
) -> Image.Image:
    if isinstance(found, points.Points):
        return with_points(picture, points_in_pixels(found, output.labels, picture.size), output)
    return with_boxes(picture, in_pixels(found, output.labels, picture.size), output)
