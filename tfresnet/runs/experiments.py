"""Results of finished runs, grouped into experiments; those that ship with tfresnet. No TensorFlow.

An experiment is all runs that differ only by their seed.
"""

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Any

from tfresnet.config import loading
from tfresnet.config.sections import RunConfig
from tfresnet.runs.result import RunResult
from tfresnet.runtime.errors import InputError
from tfresnet.tasks import intervals

# The keys of result.json that a table of results is made of.
NEEDED = {
    "preset", "seed", "parameters", "epochs", "test", "wall_seconds", "images_per_second",
    "command", "commit", "artifacts", "config", "environment",
}  # fmt: skip
STARTS = ("train.teacher", "train.init_from")  # paths: only whether they are set counts
IGNORED = {"train.seed", "data.data_dir", "data.cache"}  # no difference between experiments


@dataclass(frozen=True)
class Experiment:
    """The results of runs that differ only by their seed; at least one."""

    results: tuple[RunResult, ...]

    @property
    def first(self) -> RunResult:
        """One of the results, for what is the same in all."""
        return self.results[0]

    @property
    def top1(self) -> list[float]:
        """The held-out top-1 accuracy of each run, a fraction of 1."""
        return [result.test["top1"] for result in self.results]

    @property
    def top1_interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of top-1, fractions of 1.

        Of several seeds it is that of their mean, of one seed that of the images it was measured
        on.
        """
        return intervals.mean(self.top1) or intervals.share(self.top1[0], self.first.test["n"])

    @property
    def minutes(self) -> float:
        """The mean wall-clock time of a run, in minutes."""
        return statistics.fmean(result.wall_seconds for result in self.results) / 60

    def summary(self) -> dict[str, Any]:
        """Return ``preset arch epochs seeds test_top1 top1_interval minutes`` as JSON types.

        ``test_top1`` (a fraction of 1) and ``minutes`` are means over the seeds.
        """
        return {
            "preset": self.first.preset,
            "arch": self.first.arch,
            "epochs": self.first.epochs,
            "seeds": len(self.results),
            "test_top1": statistics.fmean(self.top1),
            "top1_interval": list(self.top1_interval),
            "minutes": self.minutes,
        }


def shipped() -> list[Experiment]:
    """Return the experiments whose results ship with tfresnet: those of its own presets."""
    files = (f for f in resources.files("tfresnet.results").iterdir() if f.name.endswith(".json"))
    ordered = sorted(files, key=lambda file: file.name)
    return group(RunResult.model_validate(json.loads(file.read_text())) for file in ordered)


def group(results: Iterable[RunResult]) -> list[Experiment]:
    """Group results into experiments, in the order in which each first occurs."""
    groups: dict[str, list[RunResult]] = {}
    for result in results:
        groups.setdefault(json.dumps(settings(result), sort_keys=True), []).append(result)
    return [Experiment(tuple(results)) for results in groups.values()]


def parse(values: Mapping[str, Any], where: str) -> RunResult:
    """Return the JSON object of a ``result.json`` as a result that a table can show.

    Args:
        values: the object.
        where: the file's name, for the message.

    Raises:
        InputError: it is of converted weights or of a multi-label run, or lacks keys.
    """
    if "test" not in values and "arch" in values:
        raise InputError(f"{where}: expected a run that was trained, got converted weights")
    if lost := sorted(NEEDED - set(values)):
        raise InputError(f"{where}: expected the result of a run, got none of {', '.join(lost)}")
    if "top1" not in values["test"]:
        raise InputError(
            f"{where}: expected a run with one label a picture, got a multi-label one; its numbers "
            "are in result.json"
        )
    return loading.checked(RunResult, values, where)


def settings(result: RunResult) -> dict[str, Any]:
    """Return what tells experiments apart: ``preset``, and its settings as ``section.key``.

    A setting that is younger than the result has its default.
    """
    found: dict[str, Any] = {"preset": result.preset}
    defaults = RunConfig().model_dump(mode="json")
    for section in ("model", "data", "train"):
        values = defaults[section] | result.config[section]
        found |= {f"{section}.{key}": value for key, value in values.items()}
    ignored = IGNORED if epoch_was_chosen(result) else IGNORED | {"train.eval_every"}
    for key in ("data.dataset", "data.labels"):  # their names count, not their folders
        found[key] = without_folders(found[key]) if found[key] else None
    return {
        key: bool(value) if key in STARTS else value
        for key, value in found.items()
        if key not in ignored
    }


def epoch_was_chosen(result: RunResult) -> bool:
    """Return whether the epoch was chosen by its accuracy on the held-out images."""
    train = result.config["train"]
    return train.get("keep") == "best" or train.get("patience", 0) > 0


def without_folders(text: str) -> str:
    """Return the last name of a path that begins with ``/`` or ``~``, also in ``key=path``."""
    key, equals, path = text.rpartition("=")
    return f"{key}{equals}{Path(path).name}" if path.startswith(("/", "~")) else text
