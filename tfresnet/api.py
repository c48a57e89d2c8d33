"""The Python interface: ``tfresnet.train``, ``load``, ``evaluate``, ``export``.

Importing ``tfresnet`` loads no TensorFlow; calling one of these does.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import tfresnet.deploy.export
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import RunConfig
from tfresnet.data.corruptions import SEVERITIES
from tfresnet.deploy import evaluate_model
from tfresnet.runs import train_run
from tfresnet.runs.request import training_request
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.system.files import expanded


def train(
    config: str | Path | RunConfig = "quickstart",
    settings: Mapping[str, Any] | Iterable[str] = (),
    run_dir: str | Path | None = None,
    resume: bool = False,
) -> Run:
    """Train a network and return its finished run.

    Args:
        config: the name of a preset, a YAML file, a folder of pictures (settings are chosen for
            it, see ``tfresnet.data.folder_recipe``), or a configuration.
        settings: changes to a preset or file: ``{"train.epochs": 10}`` or ``["train.epochs=10"]``.
        run_dir: the run directory; by default ``runs/`` and the configuration's or folder's name.
        resume: go on with the run that is there.

    Raises:
        InputError: bad usage or bad input, in one line.
    """
    if isinstance(settings, Mapping):
        settings = [loading.setting(key, value) for key, value in settings.items()]
    directory = None if run_dir is None else expanded(run_dir)
    if isinstance(config, RunConfig):
        values = config.model_dump(exclude_unset=True)
        whole = loading.validate(values, overrides=settings)
        return train_run.train(whole, directory or Path("runs") / whole.name, resume)
    request = training_request(str(config), list(settings), directory, resume)
    return train_run.train(request.config, request.directory, resume)


def load(run_dir: str | Path) -> Run:
    """Return the run in a directory: its ``config``, ``spec``, ``output``, ``result``, ``model()``.

    Raises:
        InputError: there is none.
    """
    return open_run(expanded(run_dir))


def evaluate(
    model: Run | str | Path,
    flip: bool = False,
    corruptions: Sequence[str] = (),
    severities: Sequence[int] = SEVERITIES,
    plots: str | Path | None = None,
    **data: Any,
) -> dict[str, Any]:
    """Measure a run or a model file on every held-out image.

    Args:
        model: a run, its directory, a .tflite, .onnx or .xml file, or a SavedModel.
        flip: average the predictions for an image and its horizontal flip.
        corruptions: names of ``tfresnet.data.corruptions.CORRUPTIONS`` to measure as well.
        severities: of the corruptions, 1 to 5.
        plots: a folder for confusion.png and reliability.png.
        data: keys of the data section to replace: ``dataset``, ``data_dir``, ``eval_split``.

    Returns:
        ``top1 top5 loss ece n per_class``, accuracies as fractions of 1; with corruptions also
        ``corruptions`` and ``corrupted_top1``. Of a multi-label model ``map micro_f1 macro_f1
        exact_match loss n per_class`` and ``corrupted_map``.

    Raises:
        InputError: bad usage or bad input, in one line.
    """
    folder = None if plots is None else expanded(plots)
    return evaluate_model.evaluate(_directory(model), data, flip, corruptions, severities, folder)


def export(
    run: Run | str | Path, data: Mapping[str, Any] | None = None, **options: Any
) -> dict[str, Any]:
    """Write model files into ``RUN/export/``, each measured against the run.

    Args:
        run: a finished run, or its directory.
        data: keys of the data section to replace, if the data have moved.
        options: keys of ``config.export.ExportConfig``: ``formats=("tflite",)``,
            ``quantizations=("int8",)``.

    Returns:
        What ``report.json`` holds: ``checkpoint_top1``, ``n``, ``artifacts`` and more.

    Raises:
        InputError: bad usage or bad input, in one line.
    """
    opened = run if isinstance(run, Run) else load(run)
    report = tfresnet.deploy.export.export(opened, ExportConfig(**options), data=dict(data or {}))
    return report.to_dict()


def _directory(model: Run | str | Path) -> Path:
    return model.directory if isinstance(model, Run) else expanded(model)
