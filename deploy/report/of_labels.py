"""Sections of a report about labels of images: confusion, and images that changed their labels."""

from collections.abc import Iterator, Sequence
from html import escape

import numpy as np

from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.report import figures
from tfresnet.deploy.report.figures import Predictions, Section
from tfresnet.runs.result import ArtifactRecord

FAR = 0.05  # of a probability
SHOWN = 24  # images on which a file disagrees with the checkpoint


def sections(
    context: ExportContext, predictions: Predictions, artifacts: Sequence[ArtifactRecord]
) -> list[Section]:
    """Return the sections of the files that are examined in detail."""
    decide = context.task.decisions
    decisions = {a.path: decide(predictions[a.path]) for a in artifacts}
    before = decide(context.reference.predictions)
    found = []
    if artifacts and before.ndim == 1:  # each image has one class
        found.append(("Confusion", _confusion(context, before, decisions, artifacts)))
    exact, texts = context.reference.predictions, dict.fromkeys(decisions, "")
    if before.ndim == 1 and exact.ndim == 2 and exact.shape[1] > 1:
        texts = {path: f"<p>{moved(exact, predictions[path])}</p>" for path in decisions}
    return found + [
        _disagreement(context, before, decisions[a.path], a, texts[a.path]) for a in artifacts
    ]


def _confusion(
    context: ExportContext,
    before: np.ndarray,
    decisions: Predictions,
    artifacts: Sequence[ArtifactRecord],
) -> str:
    """Return the confusion matrices of the checkpoint and of files, next to each other."""
    truth, labels = context.reference.truth, context.run.output.labels
    predicted = {"checkpoint": before, **{figures.label(a): decisions[a.path] for a in artifacts}}
    drawn = [figures.confusion(truth, x, labels, name) for name, x in predicted.items()]
    if None in drawn:
        return f"<p>{len(labels)} classes are too many for a picture.</p>"
    return figures.side_by_side([figure for figure in drawn if figure])


def _disagreement(
    context: ExportContext,
    before: np.ndarray,
    after: np.ndarray,
    artifact: ArtifactRecord,
    moved: str = "",
) -> Section:
    """Return the held-out images on which a file and the checkpoint decide differently."""
    changed = (before != after).reshape(len(before), -1)
    different = np.flatnonzero(changed.any(axis=1))
    shown = "".join(_pictures(context, different[:SHOWN], before, after))
    count = f"{len(different):,} of {len(before):,} images"
    return (
        f"Where {figures.label(artifact)} disagrees with the checkpoint: {count}",
        (f'<div class="pictures">{shown}</div>' if shown else "<p>Nowhere.</p>") + moved,
    )


def moved(exact: np.ndarray, found: np.ndarray) -> str:
    """Return how many images have a probability that is far off, and how sure of them one was.

    Args:
        exact: the checkpoint's probabilities, [n, classes] of one class an image.
        found: a file's.
    """
    off = np.abs(exact - found).max(axis=1) > FAR
    second, first = np.sort(exact, axis=1)[:, -2:].T
    margins = first - second
    text = f"{off.sum():,} of {len(off):,} images have a probability that is off by more than {FAR}"
    if off.any():
        text += (
            ". Of these the checkpoint was unsure: its two most probable classes are "
            f"{np.median(margins[off]):.2f} apart (median; {np.median(margins):.2f} of all images)"
        )
    return text + "."


def _pictures(
    context: ExportContext, indices: np.ndarray, before: np.ndarray, after: np.ndarray
) -> Iterator[str]:
    """Yield held-out images with their true labels and the decisions before and after.

    Args:
        context: of the export.
        indices: of the images among the held-out ones, int [k].
        before: decisions of the checkpoint, [n, ...].
        after: decisions of a file, [n, ...].
    """
    for i, image in figures.chosen_images(context.held_out, indices):
        true, old, new = (
            escape(context.task.name_of(part[i]))
            for part in (context.reference.truth, before, after)
        )
        yield (
            f'<figure><img src="{figures.picture(image)}" alt="image {i}">'
            f"{true}<br>{old} &rarr; {new}</figure>"
        )
