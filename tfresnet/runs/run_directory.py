"""Create and open a run directory, and load its model.

Its files:
config.yaml  spec.json  environment.json  result.json
checkpoints/  metrics.jsonl  tensorboard/  curves.png  samples/  export/

A packed run has weights.safetensors in place of the checkpoints, see :mod:`tfresnet.runs.packing`.
"""

import hashlib
import json
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfresnet.config import loading
from tfresnet.config.formats import of_path
from tfresnet.config.sections import RunConfig
from tfresnet.runs import shipped
from tfresnet.runs.result import RunResult
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import ACTIVATIONS, InputSpec, OutputSpec, specs_from_dict, specs_to_dict
from tfresnet.system import environment
from tfresnet.system.environment import Environment, LaterPart, RunEnvironment
from tfresnet.system.files import read_json, read_json_lines, write_text

if TYPE_CHECKING:
    from tfresnet.data.sources import Dataset
    from tfresnet.keras2 import keras


@dataclass(frozen=True)
class Run:
    """A run directory.

    Attributes:
        directory: its path.
        config: the complete configuration.
        spec: the input of the model.
        output: the meaning of the model's output.
    """

    directory: Path
    config: RunConfig
    spec: InputSpec
    output: OutputSpec

    def model(self, averaged: bool | None = None, precision: str = "float32") -> "keras.Model":
        """Return the model with the weights that the run keeps (``train.keep``).

        Args:
            averaged: whether to take the weights' moving average; by default if there is one. A
                packed run has only the weights that are deployed.
            precision: of the computation, a value of ``train.precision``; weights are float32.

        Raises:
            InputError: there is no checkpoint, or it is damaged.
        """
        return self.model_and_step(averaged, precision)[0]

    def model_and_step(
        self, averaged: bool | None = None, precision: str = "float32"
    ) -> "tuple[keras.Model, int]":
        """Return the model, as :meth:`model` does, and the number of steps it was trained for."""
        from tfresnet import tasks
        from tfresnet.models import zoo
        from tfresnet.training import checkpoint

        labels = len(self.output.labels)
        head = tasks.of(self.output).head
        model = zoo.build(self.config.model, self.spec.shape, labels, precision, head)
        if self.is_packed:
            from tfresnet.models import own_weights

            file = self.directory / shipped.WEIGHTS
            return model, own_weights.load(file, model, self.spec.shape)
        averaged = bool(self.config.train.ema_decay) if averaged is None else averaged
        kept = checkpoint.kept(self.directory, self.config.train.keep)
        return model, checkpoint.load_weights(kept, model, averaged)

    @property
    def is_packed(self) -> bool:
        """Whether it has a file of weights in place of checkpoints: it can't be resumed."""
        return (self.directory / shipped.WEIGHTS).is_file()

    def records(self) -> list[dict]:
        """Return the records of ``metrics.jsonl``, one per epoch.

        Raises:
            InputError: a line is no record of an epoch.
        """
        path = self.directory / "metrics.jsonl"
        records = read_json_lines(path)
        for number, record in enumerate(records, start=1):
            known = record if isinstance(record, dict) else {}
            if {type(known.get("epoch")), type(known.get("step", 0))} != {int}:
                raise InputError(f"{path}, line {number}: expected a record with an epoch")
        return records

    def epochs_done(self) -> int:
        """Return the number of completed epochs."""
        return max((record["epoch"] for record in self.records()), default=0)

    def dataset(self, **overrides: Any) -> "Dataset":
        """Load the run's data; ``overrides`` replace keys of the data section.

        Raises:
            InputError: the classes or the image size differ from those of the training.
        """
        from tfresnet.data import sources

        data = loading.with_data(self.config.data, overrides)
        return sources.load_for(self.spec, self.output, data)

    @property
    def environment(self) -> RunEnvironment:
        """The command, commit, versions and machine of the training.

        Raises:
            InputError: the file is missing or damaged.
        """
        path = self.directory / "environment.json"
        return loading.checked(RunEnvironment, read_json(path), str(path))

    @property
    def result(self) -> RunResult | None:
        """The results of training and export; None before the training is finished.

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
        """Return the results of a finished run.

        Raises:
            InputError: the training is not finished, or the file is damaged.
        """
        result = self.result
        if result is None:
            raise InputError(f"{self.directory} is not trained to its end; go on with --resume")
        return result

    def write_result(self, result: RunResult) -> None:
        """Write ``result.json``."""
        write_text(self.directory / "result.json", json.dumps(result.to_dict(), indent=1))


def open_run(directory: Path) -> Run:
    """Return the run in ``directory``, which may be the name of a shipped network.

    Raises:
        InputError: there is none; the message says what is missing.
    """
    directory = shipped.located(directory)
    if not directory.exists():
        raise InputError(
            f"expected a run directory, {directory} does not exist; see tfresnet train"
        )
    if not directory.is_dir() or (directory / "saved_model.pb").is_file():
        kind = "a SavedModel" if directory.is_dir() else "a file"
        kind = "a model file" if directory.is_file() and of_path(directory) else kind
        raise InputError(f"expected a run directory, {directory} is {kind}; {_its_run(directory)}")
    for name in ("config.yaml", "spec.json"):
        if not (directory / name).is_file():
            raise InputError(
                f"expected a run directory with {name}, {directory} has none; train it first"
            )
    config = loading.read(directory / "config.yaml")
    try:
        values = read_json(directory / "spec.json")
        # Early versions did not record the activation.
        spec, output = specs_from_dict(values, ACTIVATIONS[config.train.loss])
    except (ValueError, TypeError) as error:
        raise InputError(f"{directory}/spec.json: expected an input spec: {error}") from None
    return Run(directory, config, spec, output)


def _its_run(model: Path) -> str:
    """Return the advice for an exported model that was given where a run is expected."""
    runs = [parent for parent in model.absolute().parents if (parent / "config.yaml").is_file()]
    return f"give its run: {os.path.relpath(runs[0])}" if runs else "give its run"


def create(directory: Path, config: RunConfig, spec: InputSpec, output: OutputSpec) -> Run:
    """Write the configuration, specs and environment of a run into ``directory``.

    If the run is there already, with other values in the training section, its old configuration,
    result and exported files are moved to ``epochsN/``.
    """
    directory.mkdir(parents=True, exist_ok=True)
    changed = _changed(directory, config)
    if changed:
        _set_aside(directory)
    write_text(directory / "config.yaml", config.to_yaml())
    write_text(directory / "spec.json", json.dumps(specs_to_dict(spec, output), indent=1))
    run = Run(directory, config, spec, output)
    found = _environment(run, changed).to_dict()
    write_text(directory / "environment.json", json.dumps(found, indent=1))
    return run


def _changed(directory: Path, config: RunConfig) -> dict[str, dict[str, Any]]:
    """Return the keys of the training section that changed, with their old and new values."""
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
    for name in ("result.json", "export"):  # they belong to the old weights
        if (directory / name).exists() and not (folder / name).exists():
            os.replace(directory / name, folder / name)


def _environment(run: Run, changed: dict[str, dict[str, Any]]) -> Environment:
    """Return the environment that a run began in, with those of its later parts.

    A later part has also the values that ``changed``.
    """
    now = environment.record()
    if not (run.directory / "environment.json").exists():
        return now
    first, epochs = run.environment, len(run.records())
    latest, values = first.parts[-1].to_dict(), now.to_dict()
    same = all(values[key] == latest.get(key, values[key]) for key in values if key != "command")
    if not changed and (same or epochs >= run.config.train.epochs):  # all is trained
        return first
    part = values | {"epochs": epochs} | ({"changed": changed} if changed else {})
    parts = [*first.resumed, LaterPart.model_validate(part)]
    return RunEnvironment.model_validate(first.to_dict() | {"resumed": parts})


def weights_sha256(model: "keras.Model") -> str:
    """Return the SHA-256 digest of all variables of a model, moving averages included."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()
