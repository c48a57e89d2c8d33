"""Load the teacher of a distillation: another run, whose predictions are to be matched."""

from collections.abc import Callable
from pathlib import Path

from tfresnet.config.sections import RunConfig
from tfresnet.keras2 import keras
from tfresnet.runs.run_directory import open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec


def loader(
    config: RunConfig, spec: InputSpec, output: OutputSpec
) -> Callable[[], keras.Model] | None:
    """Return a function that loads the teacher model; None without ``train.teacher``.

    The run is checked at once: its input and its labels must be the student's.

    Raises:
        InputError: there is no such run, or its input or labels differ.
    """
    if not config.train.teacher:
        return None
    teacher = open_run(Path(config.train.teacher))
    pairs = {"labels": (output.labels, teacher.output.labels)} | {
        key: (getattr(spec, key), getattr(teacher.spec, key)) for key in ("shape", "mean", "std")
    }
    for key, (expected, got) in pairs.items():
        if expected != got:
            raise InputError(
                f"train.teacher: expected the {key} of this run, {list(expected)}, got {list(got)}"
            )
    if teacher.output.multi_label:
        raise InputError(
            "train.teacher: expected a run with one label a picture, got a multi-label one, whose "
            "predictions are no softmax to be matched"
        )
    if config.data.progressive:
        raise InputError(
            "train.teacher: expected images of the teacher's size, got "
            "data.progressive; leave one of them out"
        )
    return lambda: teacher.model(precision=config.train.precision)
