"""The stages of ``tfresnet run``: what each does, and the gates that its result can fail.

Loads no TensorFlow before a stage has something to do.
"""

import filecmp
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.pipeline_plan import Plan
from tfresnet.deploy.pipeline_state import STATE, State
from tfresnet.deploy.records import Report
from tfresnet.runs import preflight
from tfresnet.runs.run_directory import open_run
from tfresnet.runtime.errors import InputError
from tfresnet.system.native_stderr import quiet_tensorflow
from tfresnet.tasks.headings import judged_by

# What is being done, how many files are finished, and of how many, if that is known.
Progress = Callable[[str, int, int | None], None]


@dataclass(frozen=True)
class Stage:
    """One stage.

    Attributes:
        name: as in the file.
        settings: that its results depend on, as JSON types.
        is_complete: tells whether what it made, and a state has the result of, is still there.
        do: does it; returns its result.
        failures: return the gates that a result fails.
    """

    name: str
    settings: Any
    is_complete: Callable[[dict[str, Any]], bool]
    do: Callable[[Progress], dict[str, Any]]
    failures: Callable[[dict[str, Any]], list[str]]


def of_plan(plan: Plan, state: State) -> list[Stage]:
    """Return the stages of a plan in order."""
    stages = [_training(plan, state)]
    if plan.export:
        stages.append(_exporting(plan, plan.export))
    if plan.boards:
        stages.append(_fitting(plan))
    if plan.bundle:
        stages.append(_bundling(plan.directory, plan.bundle, state))
    return stages


def _training(plan: Plan, state: State) -> Stage:
    directory, whole = plan.directory, loading.absolute(plan.config)

    def do(_: Progress) -> dict[str, Any]:
        if state.run not in ("", state.digests["train"]):
            _put_aside(directory)
        resume = (directory / "config.yaml").exists()
        preflight.directory(plan.config, directory, resume)
        state.begin_run()
        quiet_tensorflow()
        from tfresnet.runs import train_run

        train_run.train(plan.config, directory, resume)
        return summary()

    def summary() -> dict[str, Any]:
        result = open_run(directory).finished_result()
        metric, value = judged_by(result.test)
        return {"run": str(directory), "metric": metric, "value": value, "n": result.test.get("n")}

    def failures(result: dict[str, Any]) -> list[str]:
        if plan.at_least is None or result["value"] >= plan.at_least:
            return []
        return [f"{result['metric']} {result['value']:.2%}, less than {plan.at_least:.2%}"]

    # Without defaults, so that a new key of a newer tfresnet changes nothing.
    settings = whole.model_dump(exclude={"name", "description"}, exclude_defaults=True)
    return Stage("train", settings, lambda known: _is_same(summary, known), do, failures)


def _is_same(summary: Callable[[], dict[str, Any]], known: dict[str, Any]) -> bool:
    """Tell whether a run is there, finished, with the result that is known."""
    try:
        return summary() == known
    except InputError:
        return False


def _put_aside(directory: Path) -> None:
    """Rename a run whose settings were others, to the first free ``NAME.oldN``."""
    if not (directory / "config.yaml").exists():
        return
    number = 1
    while (old := directory.with_name(f"{directory.name}.old{number}")).exists():
        number += 1
    directory.rename(old)
    directory.mkdir()
    shutil.move(old / STATE, directory / STATE)


def _exporting(plan: Plan, config: ExportConfig) -> Stage:
    budget = plan.budget

    def do(progress: Progress) -> dict[str, Any]:
        quiet_tensorflow()
        from tfresnet.deploy import export
        from tfresnet.deploy.budget import Budget

        run = open_run(plan.directory)
        if not budget.auto:
            return export.export(run, config, progress).to_dict()
        limits = Budget(config.max_drop, budget.max_bytes, budget.max_latency, **plan.limits)
        return export.export_within(run, config, limits, progress).to_dict()

    def is_complete(known: dict[str, Any]) -> bool:
        artifacts = Report.model_validate(known).artifacts
        return all(Path(a.path).exists() for a in artifacts)

    def failures(result: dict[str, Any]) -> list[str]:
        report = Report.model_validate(result)
        if report.ladder is not None:
            return [] if report.chosen else ["no file is within the budget"]
        return [f"{a.path}: {'; '.join(a.failures)}" for a in report.failed]

    settings = [config.model_dump(exclude={"threads"}, exclude_defaults=True), budget.model_dump()]
    settings += [plan.limits] if plan.limits else []
    return Stage("export", settings, is_complete, do, failures)


def _fitting(plan: Plan) -> Stage:
    def do(_: Progress) -> dict[str, Any]:
        from tfresnet.deploy import micro_file
        from tfresnet.deploy.device import boards, fit
        from tfresnet.deploy.formats import graph

        file = micro_file.exported(plan.directory)
        content = (
            graph.without_metadata(file.read_bytes())
            if file
            else micro_file.converted(plan.directory)
        )
        found = fit.fit(content, [boards.named(name) for name in plan.boards])
        return {"model": str(file or plan.directory), "boards": [b.to_dict() for b in found]}

    def failures(result: dict[str, Any]) -> list[str]:
        return [
            f"{b['name']}: {'; '.join(b['problems'])}" for b in result["boards"] if not b["fits"]
        ]

    return Stage("fit", list(plan.boards), lambda known: True, do, failures)


def _bundling(directory: Path, folder: Path, state: State) -> Stage:
    source, place = directory / "export" / "bundle", str(folder.absolute())

    def do(_: Progress) -> dict[str, Any]:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"bundle: expected a folder, got {folder}, a file")
        if folder.is_dir() and any(folder.iterdir()) and place not in state.bundles:
            raise InputError(f"bundle: expected a new or an empty folder, got {folder}")
        if not source.is_dir():
            return {"path": None}
        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(source, folder)
        state.bundles = sorted({*state.bundles, place})
        return {"path": str(folder)}

    def failures(result: dict[str, Any]) -> list[str]:
        return (
            [] if result["path"] else [f"no file passed that the target runs: {source} is missing"]
        )

    return Stage(
        "bundle", str(folder), lambda known: bool(known["path"]) and _equal(source, folder), do,
        failures,
    )  # fmt: skip


def _equal(one: Path, other: Path) -> bool:
    """Tell whether two folders have the same files."""
    if not (one.is_dir() and other.is_dir()):
        return False
    found = filecmp.dircmp(one, other)
    different = found.left_only or found.right_only or found.diff_files or found.funny_files
    return not different and all(_equal(one / name, other / name) for name in found.common_dirs)
