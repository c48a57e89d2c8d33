"""A run directory: make one, open it again, load its model.

config.yaml  spec.json  environment.json  result.json
checkpoints/  metrics.jsonl  tensorboard/  curves.png  samples/  export/
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfresnet.config import loading
from tfresnet.config.sections import RunConfig
from tfresnet.runs.result import RunResult
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import ACTIVATIONS, InputSpec, OutputSpec, from_flat, to_flat
from tfresnet.system import environment
from tfresnet.system.files import read_json, read_json_lines, write_text

if TYPE_CHECKING:
    from tfresnet.backend import keras
    from tfresnet.data.sources import Dataset


@dataclass(frozen=True)
class Run:
    """A directory that holds a run, with its configuration and what its model takes and gives."""

    directory: Path
    config: RunConfig
    spec: InputSpec
    output: OutputSpec

    def model(self, averaged: bool | None = None, precision: str = "float32") -> "keras.Model":
        """Return the model with the weights that the run keeps (train.keep).

        ``averaged`` chooses their moving average; by default, if the run has one. ``precision``
        is that of the computation, a value of ``train.precision``; the weights are float32.
        """
        return self.model_and_step(averaged, precision)[0]

    def model_and_step(
        self, averaged: bool | None = None, precision: str = "float32"
    ) -> "tuple[keras.Model, int]":
        """Return the model and the number of steps that its weights were trained for."""
        from tfresnet.models import zoo
        from tfresnet.training import checkpoint

        labels = len(self.output.labels)
        model = zoo.build(self.config.model, self.spec.shape, labels, precision)
        averaged = bool(self.config.train.ema_decay) if averaged is None else averaged
        kept = checkpoint.kept(self.directory, self.config.train.keep)
        return model, checkpoint.load_weights(kept, model, averaged)

    def records(self) -> list[dict]:
        """Return the records of ``metrics.jsonl``, one an epoch."""
        return read_json_lines(self.directory / "metrics.jsonl")

    def epochs_done(self) -> int:
        """Return the number of epochs that were trained whole."""
        return max((record["epoch"] for record in self.records()), default=0)

    def dataset(self, **overrides: Any) -> "Dataset":
        """Return the run's data; ``overrides`` replace keys of the data section.

        Raises:
            InputError: the data's classes or image size are not those that the run learnt.
        """
        from tfresnet.data import sources

        data = loading.with_data(self.config.data, overrides)
        return sources.load_for(self.spec, self.output, data)

    @property
    def environment(self) -> dict:
        """The command, commit, versions and machine that the run was made with."""
        return read_json(self.directory / "environment.json")

    @property
    def result(self) -> RunResult | None:
        """What training and export recorded; None before the training is done.

        Raises:
            InputError: the file is damaged.
        """
        path = self.directory / "result.json"
        values = read_json(path) if path.exists() else {}
        if not values:
            return None
        if lost := RunResult.missing(values):
            raise InputError(
                f"{path}: expected also {', '.join(lost)}; write it anew with --resume"
            )
        return loading.checked(RunResult, values, str(path))

    def finished_result(self) -> RunResult:
        """Return the result of a run that was trained to its end.

        Raises:
            InputError: it was not, or the file is damaged.
        """
        result = self.result
        if result is None:
            raise InputError(f"{self.directory} is not trained to its end; go on with --resume")
        return result

    def write_result(self, result: RunResult) -> None:
        """Write ``result.json``."""
        write_text(self.directory / "result.json", json.dumps(result.to_dict(), indent=1))


def open_run(directory: Path) -> Run:
    """Return the run in ``directory``, or raise a ``InputError`` that says what is missing."""
    if not directory.exists():
        raise InputError(
            f"expected a run directory, {directory} does not exist; see tfresnet train"
        )
    if not directory.is_dir() or (directory / "saved_model.pb").is_file():
        kind = "a SavedModel" if directory.is_dir() else "a file"
        kind = "a model file" if directory.suffix in (".tflite", ".onnx") else kind
        raise InputError(f"expected a run directory, {directory} is {kind}; {_its_run(directory)}")
    for name in ("config.yaml", "spec.json"):
        if not (directory / name).is_file():
            raise InputError(
                f"expected a run directory with {name}, {directory} has none; train it first"
            )
    config = loading.read(directory / "config.yaml")
    try:
        values = read_json(directory / "spec.json")
        # Earlier versions did not record it.
        spec, output = from_flat({"activation": ACTIVATIONS[config.train.loss], **values})
    except (ValueError, TypeError) as error:
        raise InputError(f"{directory}/spec.json: expected an input spec: {error}") from None
    return Run(directory, config, spec, output)


def _its_run(model: Path) -> str:
    """Return what to do with an exported model where a run is expected."""
    runs = [parent for parent in model.absolute().parents if (parent / "config.yaml").is_file()]
    return f"give its run: {os.path.relpath(runs[0])}" if runs else "give its run"


def create(directory: Path, config: RunConfig, spec: InputSpec, output: OutputSpec) -> Run:
    """Write what a run is into ``directory``, and with what code and where it goes on.

    When it goes on with other values of the training section, what was made with those before is
    kept in ``epochsN/``: its configuration, result and exported files.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changed = _changed(directory, config)
    if changed:
        _set_aside(directory)
    write_text(directory / "config.yaml", config.to_yaml())
    write_text(directory / "spec.json", json.dumps(to_flat(spec, output), indent=1))
    run = Run(directory, config, spec, output)
    write_text(directory / "environment.json", json.dumps(_environment(run, changed), indent=1))
    return run


def _changed(directory: Path, config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return keys of the training section with their values before and from now on."""
    file = directory / "config.yaml"
    if not file.exists():
        return {}
    pairs = loading.differences(loading.read(file), config)
    return {
        key: {"from": old, "to": new}
        for key, (old, new) in pairs.items()
        if key.startswith("train.")
    }


def _set_aside(directory: Path) -> None:
    folder = directory / f"epochs{loading.read(directory / 'config.yaml').train.epochs}"
    folder.mkdir(exist_ok=True)
    shutil.copyfile(directory / "config.yaml", folder / "config.yaml")
    for name in ("result.json", "export"):  # no longer those of this run's weights
        if (directory / name).exists() and not (folder / name).exists():
            os.replace(directory / name, folder / name)


def _environment(run: Run, changed: dict[str, dict[str, Any]]) -> dict:
    """Return the environment that a run began in; others, in which it went on, are ``resumed``.

    So are values that ``changed``.
    """
    now = environment.record()
    if not (run.directory / "environment.json").exists():
        return now
    first, epochs = run.environment, len(run.records())
    parts = [first, *first.get("resumed", [])]
    same = all(now[key] == parts[-1].get(key, now[key]) for key in now if key != "command")
    if not changed and (same or epochs >= run.config.train.epochs):  # all is trained
        return first
    part = now | {"epochs": epochs} | ({"changed": changed} if changed else {})
    return first | {"resumed": [*parts[1:], part]}


def weights_sha256(model: "keras.Model") -> str:
    """Return a digest of all weights, statistics included; equal for equal weights."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
