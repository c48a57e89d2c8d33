"""Measure a run directory, a model file or a SavedModel on its held-out images."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet import evaluation, tasks
from tfresnet.data import corruptions, sources
from tfresnet.deploy import subject
from tfresnet.deploy.formats import saved_model
from tfresnet.deploy.report import figures
from tfresnet.runtime import decode
from tfresnet.runtime.backends import Backend
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import BY_KIND
from tfresnet.system.files import png, write_bytes
from tfresnet.tasks.base import Task
from tfresnet.tasks.calibration_error import reliability
from tfresnet.tasks.classification import Classification, ClassificationMetrics
from tfresnet.training import progress


def evaluate(
    path: Path,
    overrides: dict[str, Any],
    flip: bool = False,
    corrupted: Sequence[str] = (),
    severities: Sequence[int] = corruptions.SEVERITIES,
    plots: Path | None = None,
) -> dict[str, Any]:
    """Return the metrics of a model on its held-out images, see its task's ``Metrics.result``.

    Args:
        path: a run directory, a .tflite, .onnx or .xml file, or a SavedModel.
        overrides: replace keys of the data section that the model was trained with.
        flip: average the predictions for an image and its horizontal flip.
        corrupted: names of ``data.corruptions``; adds ``corruptions``, of each the primary number
            at each severity, and ``corrupted_top1`` (``corrupted_map``), the mean of all.
        severities: which of them, 1 to 5.
        plots: a folder for reliability.png and, up to 30 classes, confusion.png; adds ``plots``,
            their paths.

    Raises:
        InputError: there is no such model, its labels are not the dataset's, no such corruption, or
            plots of a model that is no classifier of one label an image.
    """
    for name in corrupted:
        corruptions.check(name, severities)
    found = subject.find(path, overrides)
    task = tasks.of(found.output)
    if plots:
        if not isinstance(task, Classification):
            raise InputError(
                "--plots: expected a run with one label a picture, got a "
                f"{found.output.task.replace('_', '-')} one; the numbers of each label are in what "
                "evaluate prints"
            )
        plots.mkdir(parents=True, exist_ok=True)  # before hours of work
    predict = _predict(found, task)
    if flip:
        predict = evaluation.mirrored(predict, task)
    dataset = sources.load_for(found.spec, found.output, found.data)
    progress.tell(dataset.notes)
    metrics = evaluation.measure(predict, evaluation.batches_of(dataset.held_out), task)
    result = metrics.result()
    if corrupted:
        result |= evaluation.corrupted(predict, dataset.held_out, task, corrupted, severities)
    if plots and isinstance(metrics, ClassificationMetrics):
        result["plots"] = _draw(metrics, found.output.labels, path.name, plots)
    return result


def _draw(
    metrics: ClassificationMetrics, labels: tuple[str, ...], name: str, folder: Path
) -> list[str]:
    bins = reliability(metrics.confidence, metrics.predicted == metrics.classes)
    drawn = {
        "reliability.png": figures.reliability(bins, name),
        "confusion.png": figures.confusion(metrics.classes, metrics.predicted, labels, name),
    }
    return [str(write_bytes(folder / n, png(f))) for n, f in drawn.items() if f]


def _predict(found: subject.Subject, task: Task) -> evaluation.Predict:
    """Load a model as a function from uint8 images to predictions."""
    if found.run:
        return evaluation.network_predict(found.run.model(), found.spec, task)
    assert found.metadata
    kind = found.metadata.output_kind
    model: Backend
    if found.path.is_dir():
        model = saved_model.LoadedSavedModel(found.path)
    else:
        model = BY_KIND[kind](found.path, os.cpu_count() or 1, found.metadata).model

    def predict(images: Any) -> Any:
        outputs = model.outputs(np.ascontiguousarray(images))
        return task.predictions(decode.named(outputs, kind))

    return predict
