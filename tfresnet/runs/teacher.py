"""The teacher of a distilled run: another run, whose predictions are to be matched."""

from collections.abc import Callable
from pathlib import Path

from tfresnet.backend import keras
from tfresnet.config.sections import RunConfig
from tfresnet.runs.run_directory import open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec


def loader(
    config: RunConfig, spec: InputSpec, output: OutputSpec
) -> Callable[[], keras.Model] | None:
    """Return a function that loads the teacher, None if ``train.teacher`` names none.

    Raises:
        InputError: there is no such run, or its input or its labels are not the student's.
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
            "answers are no softmax that could be matched"
        )
    if config.data.progressive:
        raise InputError(
            "train.teacher: expected images of the size that the teacher knows, got "
            "data.progressive; leave one of them out"
        )
    return lambda: teacher.model(precision=config.train.precision)
