"""The records in results/: a JSON file for each run, and one for each sweep in results/sweeps/."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tfresnet.runs import experiments, portable
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import open_run
from tfresnet.runtime.errors import InputError
from tfresnet.sweep.table import Row
from tfresnet.system.environment import RunEnvironment
from tfresnet.system.files import read_json


@dataclass(frozen=True)
class SweepRecord:
    """The table of a sweep, as ``tfresnet sweep`` wrote it to ``sweep.json``."""

    name: str
    description: str
    rows: list[Row]
    runs: set[tuple[str, ...]]  # of each its base and its settings
    commits: list[str]
    environment: RunEnvironment | None  # None if all runs failed
    content: dict[str, Any]  # the whole file


@dataclass(frozen=True)
class Records:
    """All records of a folder, by the names of their files."""

    runs: dict[str, RunResult]
    sweeps: dict[str, SweepRecord]


def read_all(folder: Path) -> Records:
    """Read the records of runs in a folder, and those of sweeps in its ``sweeps``.

    Raises:
        InputError: there are none, one is damaged, or two are of the same run.
    """
    runs = {p.name: read_run(p) for p in sorted(folder.glob("*.json"))}
    sweeps = {p.name: read_sweep(p) for p in sorted(folder.glob("sweeps/*.json"))}
    if not runs and not sweeps:
        raise InputError(f"expected records in {folder}, found none; see python -m tools.record")
    seen: dict[str, str] = {}
    for name, result in runs.items():
        first = seen.setdefault(identity(result), name)
        if first != name:
            raise InputError(f"{folder}: {first} and {name} are of the same run; delete one")
    return Records(runs, sweeps)


def read_run(path: Path) -> RunResult:
    """Read the record of a run; errors as in :func:`tfresnet.runs.experiments.parse`."""
    return experiments.parse(read_json(path), str(path))


def read_sweep(path: Path) -> SweepRecord:
    """Read the table of a sweep, or raise a one-line ``InputError``."""
    content = read_json(path)
    if lost := sorted({"sweep", "description", "rows", "runs"} - set(content)):
        raise InputError(f"{path}: expected the table of a sweep, got none of {', '.join(lost)}")
    machine = content.get("environment")
    return SweepRecord(
        content["sweep"],
        content["description"],
        [Row.from_json(row) for row in content["rows"]],
        {(run.get("base"), *run.get("settings", ())) for run in content["runs"]},
        sorted({run["commit"] for run in content["runs"] if run.get("commit")}),
        RunEnvironment.model_validate(machine) if machine else None,
        content,
    )


def record_of_run(directory: Path, out: Path, name: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of a finished run's record.

    Args:
        directory: the run.
        out: the folder of records.
        name: of the record; by default ``PRESET-seedN``.

    Raises:
        InputError: the run is not finished, or there is the record of another run at that path.
    """
    run = open_run(directory)
    path = out / f"{name or f'{run.config.name}-seed{run.config.train.seed}'}.json"
    result = experiments.parse(run.finished_result().to_dict(), str(directory))
    content = portable.result(result, directory.resolve().name) | {"curve": run.records()}
    if path.exists():
        _check_same_run(path, content)
    return path, content


def record_of_sweep(file: Path, out: Path, name: str | None) -> tuple[Path, dict[str, Any]]:
    """Return the path and the content of a sweep's record.

    Args:
        file: the ``sweep.json`` of the sweep.
        out: the folder of records.
        name: of the record; by default that of the sweep's folder.

    Raises:
        InputError: there is the record of another sweep at that path.
    """
    sweep = read_sweep(file)
    path = out / "sweeps" / f"{name or file.resolve().parent.name}.json"
    # A sweep may have grown since it was recorded; it does not shrink.
    if path.exists() and not read_sweep(path).runs <= sweep.runs:
        raise InputError(f"{path} is the record of another sweep; choose another --name")
    return path, sweep.content


def _check_same_run(path: Path, content: dict[str, Any]) -> None:
    """Refuse to replace a record, unless by that of a later export of the same run."""
    recorded = read_run(path)
    if identity(recorded) != identity(RunResult.model_validate(content)):
        raise InputError(f"{path} is the record of another configuration; choose another --name")
    if recorded.to_dict().get("curve") != content["curve"]:
        raise InputError(
            f"{path} is the record of another run of this configuration; choose another --out, "
            "or delete it"
        )


def identity(result: RunResult) -> str:
    """Return a text that is the same for two results of the same run, and differs for others.

    It is made of the settings, the seed, and the names of the runs that it builds on.
    """
    train = result.config["train"]
    names = [Path(train.get(key) or "").name for key in sorted(portable.PATHS["train"])]
    return json.dumps([experiments.settings(result), result.seed, names], sort_keys=True)
