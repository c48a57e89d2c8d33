"""Measure anything that tfresnet makes: a run directory, a model file, a SavedModel."""

import os
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet import evaluate as evaluation
from tfresnet import run as runs
from tfresnet.config import with_data
from tfresnet.data import pipeline, sources
from tfresnet.deploy.device import runtime
from tfresnet.deploy.formats import saved_model
from tfresnet.errors import UserError
from tfresnet.sections import DataConfig
from tfresnet.spec import InputSpec


def evaluate(path: Path, overrides: dict[str, Any], flip: bool = False) -> dict[str, Any]:
    """Return ``evaluate.metrics`` of the model at ``path`` on its held-out images.

    ``overrides`` replace keys of the data section that the model was trained with; ``flip`` is
    that of ``evaluate.with_mirrored``.

    Raises:
        UserError: there is no such model, or its labels are not the dataset's.
    """
    if not path.exists():
        raise UserError(f"expected a run directory or a model file, {path} does not exist")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        return _evaluate_run(runs.open_run(path), overrides, flip)
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

    def infer(images: Any) -> Any:
        return model.run(np.ascontiguousarray(images))

    answers, classes = evaluation.collect(
        evaluation.with_mirrored(infer) if flip else infer,
        pipeline.raw_batches(dataset.held_out, evaluation.EVAL_BATCH),
    )
    return evaluation.metrics(answers, classes, spec.labels)


def _data(config: DataConfig | dict[str, Any], overrides: dict[str, Any]) -> DataConfig:
    """Return the data section to measure on; only TFDS has splits that can be named."""
    changed = with_data(config, overrides)
    if "eval_split" in overrides and not sources.is_tfds(changed):
        raise UserError(
            f"--split: expected a TFDS dataset, {changed.dataset} has just one held-out part"
        )
    return changed


def _evaluate_run(run: runs.Run, overrides: dict[str, Any], flip: bool) -> dict[str, Any]:
    dataset = sources.load_for(run.spec, _data(run.config.data, overrides))
    return evaluation.of_model(run.model(), dataset.held_out, run.spec, flip)
