"""The file of ``tfresnet run``: training, export, boards and bundle, with their gates."""

from pathlib import Path
from typing import Any

from pydantic import Field

from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import INT8, TFLITE, FormatRow
from tfresnet.config.sections import Section
from tfresnet.runtime.errors import InputError, unknown


class TrainStage(Section):
    """The run to train, as ``tfresnet train`` would."""

    preset: str = Field(
        "quickstart", description="A preset, a YAML file beside this one, or a folder of pictures."
    )
    set: dict[str, Any] = Field({}, description="Settings of the run: section.key: value.")
    at_least: float | None = Field(
        None,
        ge=0,
        le=1,
        description="Gate: the smallest held-out value of the task's number (top-1, mAP, mIoU or "
        "mAP50), a fraction of 1.",
    )


class BudgetKeys(Section):
    """Keys of ``export`` beside those of an export's configuration, as the options of its --auto.

    They are gates.
    """

    auto: bool = Field(False, description="Search for the cheapest file within the budget.")
    max_bytes: int | None = Field(None, ge=1, description="Of the file, with auto.")
    max_latency: float | None = Field(
        None, gt=0, description="Of one image on one thread here, in ms, with auto."
    )


class FitStage(Section):
    """The boards that the model must fit, as ``tfresnet fit --board`` tells: a gate."""

    boards: list[str] = Field(min_length=1, description="Names that `tfresnet fit --boards` lists.")


class Pipeline(Section):
    """The content of the file; stages that are not in it are left out."""

    description: str = ""
    name: str | None = Field(
        None, pattern=r"^\w[\w.-]*$", description="The run is in runs/NAME. Default: the file's."
    )
    train: TrainStage = TrainStage()
    export: dict[str, Any] | None = Field(
        None, description="Keys of an export's configuration, and auto, max_bytes, max_latency."
    )
    fit: FitStage | None = None
    bundle: str | None = Field(None, description="Folder to copy the bundle to.")


def read(file: Path) -> Pipeline:
    """Read and check the file, or raise a one-line ``InputError``."""
    pipeline = loading.read_as(Pipeline, file)
    for key in pipeline.train.set:
        if "." not in key:
            raise InputError(
                f"{file}: train.set: expected section.key: value (train.lr: 0.1), got {key!r} as a "
                "key"
            )
    for stage in ("fit", "bundle"):
        if getattr(pipeline, stage) is not None and pipeline.export is None:
            raise InputError(f"{file}: {stage}: expected export beside it, got none")
    return pipeline


def export_of(
    pipeline: Pipeline, file: Path, threads: int, searched: FormatRow = TFLITE
) -> tuple[ExportConfig, BudgetKeys]:
    """Return what to export, and within which budget.

    Args:
        pipeline: the content of the file.
        file: where that is from, for messages.
        threads: see ``ExportConfig``.
        searched: the format of the files of ``auto``.

    Raises:
        InputError: an unknown key, a bad value, or values that do not go together.
    """
    given = dict(pipeline.export or {})
    known = [*ExportConfig.model_fields, *BudgetKeys.model_fields]
    for key in given:
        if key not in known:
            raise InputError(f"{file}: export: {unknown('key', key, known)}")
    keys = {key: given.pop(key) for key in BudgetKeys.model_fields if key in given}
    budget = loading.checked(BudgetKeys, keys, f"{file}: export")
    if (budget.max_bytes or budget.max_latency) and not budget.auto:
        raise InputError(f"{file}: export: expected auto: true with max_bytes or max_latency")
    if budget.auto:
        beside = [k for k in ("quantizations", "prune", "cluster", "features") if given.get(k)]
        if beside or list(given.get("formats", [searched.name])) != [searched.name]:
            raise InputError(
                f"{file}: export: auto: expected it to choose the kind of a {searched.title} file "
                f"itself, got {(beside or ['formats'])[0]} beside it"
            )
        given |= {"formats": [searched.name], "quantizations": [INT8.name]}  # as it begins
    try:
        return ExportConfig(**{"threads": threads} | given), budget
    except InputError as error:
        raise InputError(f"{file}: export: {error}") from None
