"""Sections of a report about classes of pixels: each class, and the images that changed most."""

from collections.abc import Iterator, Sequence

import numpy as np

from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.report import figures
from tfresnet.deploy.report.figures import Predictions, Section
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.colors import overlay, palette

SHOWN = 6  # images that changed most
HEIGHT = 160  # pixels


def sections(
    context: ExportContext, predictions: Predictions, artifacts: Sequence[ArtifactRecord]
) -> list[Section]:
    """Return the sections of the files that are examined in detail."""
    found = [("Each class", _classes(context, predictions, artifacts))] if artifacts else []
    return found + [_changed(context, predictions[a.path], a) for a in artifacts]


def _classes(
    context: ExportContext, predictions: Predictions, artifacts: Sequence[ArtifactRecord]
) -> str:
    """Return a table of the classes, with the IoU of the checkpoint and of files."""
    columns = {"checkpoint": context.reference.predictions}
    columns |= {figures.label(a): predictions[a.path] for a in artifacts}
    found = {name: _per_class(context, values) for name, values in columns.items()}
    note = "Intersection over union on the held-out images."
    return f'{figures.class_table(context.run.output, found)}<p class="quiet">{note}</p>'


def _per_class(context: ExportContext, predictions: np.ndarray) -> dict[str, float | None]:
    metrics = context.task.metrics()
    metrics.update(predictions, context.reference.truth)
    return metrics.result()["per_class"]


def _changed(context: ExportContext, after: np.ndarray, artifact: ArtifactRecord) -> Section:
    """Return the held-out images on which most pixels have another class than before."""
    before = context.reference.predictions
    shares = (before != after).mean(axis=(1, 2))
    worst = np.argsort(-shares, kind="stable")[:SHOWN]
    shown = "".join(_pictures(context, worst[shares[worst] > 0], after))
    return (
        f"Where {figures.label(artifact)} disagrees most with the checkpoint: "
        f"{shares.mean():.2%} of all pixels",
        f'<div class="rows">{shown}</div>' if shown else "<p>Nowhere.</p>",
    )


def _pictures(context: ExportContext, indices: np.ndarray, after: np.ndarray) -> Iterator[str]:
    """Yield held-out images as they are, with classes over them, and where files change these."""
    colors, before = palette(context.run.output), context.reference.predictions
    for i, image in figures.chosen_images(context.held_out, indices):
        changed = before[i] != after[i]
        maps = {"true": context.reference.truth[i], "checkpoint": before[i], "file": after[i]}
        shown = {
            "image": image,
            **{name: overlay(image, classes, colors, 0.7) for name, classes in maps.items()},
            f"{changed.mean():.2%} differ": np.where(changed[..., None], 255, image // 4),
        }
        inside = "".join(
            f'<figure><img src="{figures.picture(pixels.astype(np.uint8), HEIGHT)}" '
            f'alt="{name} {i}">{name}</figure>'
            for name, pixels in shown.items()
        )
        yield f"<div>{inside}</div>"
