"""Start training from other weights: those of a run, or of a file from elsewhere."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from tfresnet.backend import keras
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.models import pretrained, zoo
from tfresnet.models.functional import functional
from tfresnet.models.names import OURS, variable_kind
from tfresnet.runs.convert_weights import convert
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec

# What must be the same for weights to mean the same.
STRUCTURE = (
    "arch", "variant", "pre_activation", "shortcut", "padding", "attention", "width", "stem",
)  # fmt: skip


@dataclass(frozen=True)
class Start:
    """Weights to start from, by the names of our layers, and what they belong to."""

    name: str
    model: ModelConfig
    spec: InputSpec
    output: OutputSpec
    arrays: dict[str, np.ndarray]


def start(config: RunConfig) -> Start | None:
    """Return what ``train.init_from`` names: a run, or a file of weights from elsewhere.

    Raises:
        InputError: there is no such run or file, or it can't be read.
    """
    if not config.train.init_from:
        return None
    path = Path(config.train.init_from)
    if not path.is_file():
        return _of_run(open_run(path), str(path))
    with tempfile.TemporaryDirectory() as folder:
        run, _ = convert(path, config.model.arch, Path(folder))
        return _of_run(run, str(path))


def _of_run(run: Run, name: str) -> Start:
    stem = zoo.stem(run.config.model, run.spec.shape)
    arrays = {
        f"{layer.name}/{variable_kind(variable)}": variable.numpy()
        for layer in functional(run.model(), run.spec.shape).layers
        for variable in layer.variables
    }
    model = run.config.model.model_copy(update={"stem": stem})
    return Start(name, model, run.spec, run.output, arrays)


def adopt(config: RunConfig, start: Start) -> RunConfig:
    """Return the configuration with the start's network where it leaves that open.

    Raises:
        InputError: it asks for another network.
    """
    changes = {}
    for key in STRUCTURE:
        wanted, got = getattr(start.model, key), getattr(config.model, key)
        if key in config.model.model_fields_set and got not in ("auto", wanted):
            raise InputError(
                f"train.init_from: expected model.{key}={wanted!r} as in {start.name}, got {got!r}"
            )
        changes[key] = wanted
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def normalised_as(start: Start, spec: InputSpec) -> InputSpec:
    """Return ``spec`` with the normalisation that the start's weights have learnt.

    Raises:
        InputError: one is grey and the other RGB.
    """
    expected, got = start.spec.shape[2], spec.shape[2]
    if expected != got:
        raise InputError(f"data.channels: expected {expected} as in {start.name}, got {got}")
    return replace(spec, mean=start.spec.mean, std=start.spec.std)


def initialise(model: keras.Model, spec: InputSpec, output: OutputSpec, start: Start) -> None:
    """Give ``model`` the start's weights; its head too if the classes are the same.

    Raises:
        InputError: the networks differ.
    """
    with_head = start.output.labels == output.labels
    pretrained.load(model, spec.shape, start.arrays, OURS, with_head)
