"""Measure anything that tfresnet makes: a run directory, a model file, a SavedModel."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.data import corruptions, pipeline, sources
from tfresnet.data.corrupted_split import CorruptedSplit
from tfresnet.data.splits import Split
from tfresnet.deploy import subject
from tfresnet.deploy.formats import saved_model
from tfresnet.deploy.report import figures
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import Classifier
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import png, write_bytes
from tfresnet.tasks import metrics
from tfresnet.tasks import task as tasks
from tfresnet.tasks.task import Task
from tfresnet.training import progress


@dataclass(frozen=True)
class Measured:
    """What is measured: ``infer`` gives float [n, classes] for uint8 images [n, H, W, C]."""

    infer: Callable[[Any], Any]
    spec: InputSpec
    output: OutputSpec
    held_out: Split

    def answers(self, split: Split | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Return the probabilities and the classes of a split's images (default: all held out)."""
        chosen = self.held_out if split is None else split
        return metrics.collect(self.infer, pipeline.raw_batches(chosen, metrics.EVAL_BATCH))


def evaluate(
    path: Path,
    overrides: dict[str, Any],
    flip: bool = False,
    corrupted: Sequence[str] = (),
    severities: Sequence[int] = corruptions.SEVERITIES,
    plots: Path | None = None,
) -> dict[str, Any]:
    """Return the summary, see ``tasks``, of the model at ``path`` on its held-out images.

    Args:
        path: a run directory, a .tflite, an .onnx or a SavedModel.
        overrides: replace keys of the data section that the model was trained with.
        flip: as in ``metrics.with_mirrored``.
        corrupted: names of ``data.corruptions``; adds ``corruptions``, of each the top-1 at each
            severity, and ``corrupted_top1``, the mean of all; with any number of labels an image,
            the mAP and ``corrupted_map``.
        severities: which of them, 1 to 5.
        plots: a folder for reliability.png and, up to 30 classes, confusion.png; adds ``plots``,
            their paths.

    Raises:
        InputError: there is no such model, its labels are not the dataset's, or no such corruption.
    """
    for name in corrupted:
        corruptions.check(name, severities)
    found = subject.find(path, overrides)
    task = tasks.of(found.output)
    if plots and found.output.multi_label:
        raise InputError(
            "--plots: expected a run with one label a picture, got a multi-label one; the average "
            "precision of each label is in what evaluate prints"
        )
    if plots:
        plots.mkdir(parents=True, exist_ok=True)  # before hours of work
    measured = _load(found)
    if flip:
        mirrored = metrics.with_mirrored(measured.infer)
        measured = Measured(mirrored, measured.spec, measured.output, measured.held_out)
    answers, classes = measured.answers()
    output = measured.output
    result = task.summary(answers, classes, output.labels, output.activation)
    if corrupted:
        result |= _robustness(measured, task, corrupted, severities)
    if plots:
        result["plots"] = _draw(answers, classes, measured.output.labels, path.name, plots)
    return result


def _robustness(
    measured: Measured, task: Task, corrupted: Sequence[str], severities: Sequence[int]
) -> dict[str, Any]:
    table: dict[str, dict[str, float]] = {}
    for name in corrupted:
        table[name] = {}
        for severity in severities:
            split = CorruptedSplit(measured.held_out, name, severity)
            answers, classes = measured.answers(split)
            found = task.scores(answers, classes, measured.output.activation)
            table[name][str(severity)] = found[task.primary]
    every = [value for row in table.values() for value in row.values()]
    return {"corruptions": table, f"corrupted_{task.primary}": float(np.mean(every))}


def _draw(
    answers: np.ndarray, classes: np.ndarray, labels: tuple[str, ...], name: str, folder: Path
) -> list[str]:
    given = answers.argmax(axis=1)
    bins = metrics.reliability(answers.max(axis=1), given == classes)
    drawn = {
        "reliability.png": figures.reliability(bins, name),
        "confusion.png": figures.confusion(classes, given, labels, name),
    }
    return [str(write_bytes(folder / n, png(f))) for n, f in drawn.items() if f]


def _load(found: subject.Subject) -> Measured:
    infer = _infer(found)
    dataset = sources.load_for(found.spec, found.output, found.data)
    progress.tell(dataset.notes)
    return Measured(infer, found.spec, found.output, dataset.held_out)


def _infer(found: subject.Subject) -> Callable[[Any], Any]:
    if found.run:
        network = metrics.probability_function(found.run.model(), found.output)
        return lambda images: network(pipeline.normalize(images, found.spec))
    model: Any
    if found.path.is_dir():
        model = saved_model.LoadedSavedModel(found.path)
    else:
        model = Classifier(found.path, threads=os.cpu_count() or 1).model
    return lambda images: model.run(np.ascontiguousarray(images))
