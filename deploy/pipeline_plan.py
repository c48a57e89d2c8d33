"""What the file of ``tfresnet run`` asks for, checked before anything is trained. No TensorFlow."""

import os
from dataclasses import dataclass, field
from pathlib import Path

from tfresnet.config import loading, pipeline
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import TFLITE, TFLM
from tfresnet.config.pipeline import BudgetKeys
from tfresnet.config.sections import RunConfig
from tfresnet.deploy.device import boards
from tfresnet.runs import preflight
from tfresnet.runs.request import training_request
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import expanded


@dataclass(frozen=True)
class Plan:
    """What a file asks for, checked as far as it can be before anything is trained.

    Attributes:
        config: of the run.
        directory: of the run.
        at_least: smallest held-out value of the task's number; None for any.
        export: what to export; None for nothing.
        budget: of ``export``.
        boards: that the model must fit.
        bundle: folder to copy the bundle to; None for none.
    """

    config: RunConfig
    directory: Path
    at_least: float | None = None
    export: ExportConfig | None = None
    budget: BudgetKeys = field(default_factory=BudgetKeys)
    boards: tuple[str, ...] = ()
    bundle: Path | None = None

    @property
    def limits(self) -> dict[str, int]:
        """The limits of ``boards``, if the file to export is searched for: it keeps them."""
        return boards.limits(self.boards) if self.budget.auto else {}


def read(file: Path) -> Plan:
    """Read a pipeline's file, and check all of it.

    Raises:
        InputError: an unknown key, a bad value, an unknown preset or board, in one line.
    """
    found = pipeline.read(file)
    directory = Path("runs") / (found.name or loading.safe_name(file))
    source = found.train.preset
    if (file.parent / source).is_file():
        source = str(file.parent / source)
    settings = [loading.setting(key, value) for key, value in found.train.set.items()]
    try:
        request = training_request(source, settings, directory, resume=False)
        preflight.training(request.config)
    except InputError as error:
        raise InputError(f"{file}: train: {error}") from None
    if request.multiworker:
        raise InputError(f"{file}: train: expected one process, got the strategy multiworker")
    plan = Plan(request.config, directory, found.train.at_least)
    if found.export is None:
        return plan
    names = _boards(found.fit.boards if found.fit else [], file)
    searched = TFLM if boards.limits(names) else TFLITE
    config, budget = pipeline.export_of(found, file, os.cpu_count() or 1, searched)
    if config.slims:
        try:
            preflight.slimming(request.config.model.arch)
        except InputError as error:
            raise InputError(f"{file}: export: {error}") from None
    if found.bundle is not None and config.features:
        raise InputError(f"{file}: bundle: expected no features beside it, got both")
    return Plan(
        plan.config,
        directory,
        plan.at_least,
        config,
        budget,
        names,
        None if found.bundle is None else expanded(found.bundle),
    )


def _boards(names: list[str], file: Path) -> tuple[str, ...]:
    try:
        return tuple(boards.named(name).name for name in names)
    except InputError as error:
        raise InputError(f"{file}: fit: {error}") from None
