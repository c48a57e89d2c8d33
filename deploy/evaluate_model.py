"""Measure anything that tfresnet makes: a run directory, a model file, a SavedModel."""

import os
from pathlib import Path
from typing import Any

from tfresnet import evaluate as evaluation
from tfresnet import run as runs
from tfresnet.config import DataConfig
from tfresnet.data import pipeline, sources
from tfresnet.deploy.device import runtime
from tfresnet.deploy.formats import saved_model
from tfresnet.errors import UserError
from tfresnet.spec import InputSpec


def evaluate(path: Path, overrides: dict[str, Any]) -> dict[str, Any]:
    """Return ``evaluate.metrics`` of the model at ``path`` on its held-out images.

    ``overrides`` replace keys of the data section that the model was trained with.

    Raises:
        UserError: there is no such model, or its labels are not the dataset's.
    """
    if not path.exists():
        raise UserError(f"expected a run directory or a model file, {path} does not exist")
    if path.is_dir() and not (path / "saved_model.pb").exists():
        return _evaluate_run(runs.open_run(path), overrides)
    metadata = runtime.read_metadata(path)
    model: Any
    if path.is_dir():
        model = saved_model.LoadedSavedModel(path)
    else:
        model = runtime.open_model(path, threads=os.cpu_count() or 1)
    spec = InputSpec.from_dict(metadata["spec"])
    config = DataConfig(**(metadata["data"] | overrides))
    dataset = sources.load_for(spec, config)
    answers, classes = evaluation.collect(
        lambda images: model.run(images.numpy()),
        pipeline.raw_batches(dataset.held_out, evaluation.EVAL_BATCH),
    )
    return evaluation.metrics(answers, classes, spec.labels)


def _evaluate_run(run: runs.Run, overrides: dict[str, Any]) -> dict[str, Any]:
    dataset = run.dataset(**overrides)
    return evaluation.of_model(run.model(), dataset.held_out, run.spec)
