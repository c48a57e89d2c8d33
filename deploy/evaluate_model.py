"""Measure anything that tfresnet makes: a run directory, a model file, a SavedModel."""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet import metrics
from tfresnet import run as runs
from tfresnet.config import with_data
from tfresnet.data import corruptions, pipeline, sources
from tfresnet.data.splits import Split
from tfresnet.deploy.device import runtime
from tfresnet.deploy.formats import saved_model
from tfresnet.deploy.proof import figures
from tfresnet.errors import UserError
from tfresnet.files import png, write_bytes
from tfresnet.sections import DataConfig
from tfresnet.spec import InputSpec


@dataclass(frozen=True)
class Subject:
    """What is measured: ``infer`` gives float [n, classes] for uint8 images [n, H, W, C]."""

    infer: Callable[[Any], Any]
    spec: InputSpec
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
    """Return ``metrics.summary`` of the model at ``path`` on its held-out images.

    Args:
        path: a run directory, a .tflite, an .onnx or a SavedModel.
        overrides: replace keys of the data section that the model was trained with.
        flip: as in ``metrics.with_mirrored``.
        corrupted: names of ``data.corruptions``; adds ``corruptions``, of each the top-1 at each
            severity, and ``corrupted_top1``, the mean of all.
        severities: which of them, 1 to 5.
        plots: a folder for reliability.png and, up to 30 classes, confusion.png; adds ``plots``,
            their paths.

    Raises:
        UserError: there is no such model, its labels are not the dataset's, or no such corruption.
    """
    for name in corrupted:
        corruptions.check(name, severities)
    if plots:
        plots.mkdir(parents=True, exist_ok=True)  # before hours of work
    subject = _open(path, overrides)
    if flip:
        mirrored = metrics.with_mirrored(subject.infer)
        subject = Subject(mirrored, subject.spec, subject.held_out)
    answers, classes = subject.answers()
    result = metrics.summary(answers, classes, subject.spec.labels)
    if corrupted:
        result |= _robustness(subject, corrupted, severities)
    if plots:
        result["plots"] = _draw(answers, classes, subject.spec.labels, path.name, plots)
    return result


def _robustness(
    subject: Subject, corrupted: Sequence[str], severities: Sequence[int]
) -> dict[str, Any]:
    table: dict[str, dict[str, float]] = {}
    for name in corrupted:
        table[name] = {}
        for severity in severities:
            split = corruptions.CorruptedSplit(subject.held_out, name, severity)
            answers, classes = subject.answers(split)
            table[name][str(severity)] = float((answers.argmax(axis=1) == classes).mean())
    every = [top1 for row in table.values() for top1 in row.values()]
    return {"corruptions": table, "corrupted_top1": float(np.mean(every))}


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


def _open(path: Path, overrides: dict[str, Any]) -> Subject:
    if not path.exists():
        raise UserError(f"expected a run directory or a model file, {path} does not exist")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        return _run(runs.open_run(path), overrides)
    model: Any
    if path.is_dir():
        metadata, model = runtime.read_metadata(path), saved_model.LoadedSavedModel(path)
        runtime.check_output(path, metadata, "probabilities")
    else:
        classifier = runtime.Classifier(path, threads=os.cpu_count() or 1)
        metadata, model = classifier.metadata, classifier.model
    try:
        spec = InputSpec.from_dict(metadata["spec"])
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: expected an input spec inside: {error}") from None
    dataset = sources.load_for(spec, _data(metadata.get("data", {}), overrides))
    return Subject(lambda images: model.run(np.ascontiguousarray(images)), spec, dataset.held_out)


def _run(run: runs.Run, overrides: dict[str, Any]) -> Subject:
    dataset = sources.load_for(run.spec, _data(run.config.data, overrides))
    infer = metrics.probability_function(run.model())
    return Subject(
        lambda images: infer(pipeline.normalise(images, run.spec)), run.spec, dataset.held_out
    )


def _data(config: DataConfig | dict[str, Any], overrides: dict[str, Any]) -> DataConfig:
    """Return the data section to measure on; only TFDS has splits that can be named."""
    changed = with_data(config, overrides)
    if "eval_split" in overrides and not sources.is_tfds(changed):
        raise UserError(
            f"--split: expected a TFDS dataset, {changed.dataset} has just one held-out part"
        )
    return changed
