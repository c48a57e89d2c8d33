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
from tfresnet.runtime.spec import CLASSIFICATION
from tfresnet.tasks import intervals
from tfresnet.tasks.headings import HEADINGS, Headings, of_record

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
    def headings(self) -> Headings:
        """What the numbers of its task are called."""
        found = of_record(self.first.test)
        assert found
        return found

    @property
    def values(self) -> list[float]:
        """The number that each run is judged by, measured on held-out images: fractions of 1."""
        return [result.test[self.headings.primary] for result in self.results]

    @property
    def interval(self) -> tuple[float, float]:
        """The 95 % confidence interval of that number, fractions of 1.

        Of several seeds it is that of their mean, of one seed that of the images it was measured
        on: Wilson's of a share of them, else a bootstrap's.
        """
        if several := intervals.mean(self.values):
            return several
        test, primary = self.first.test, self.headings.primary
        if primary == HEADINGS[CLASSIFICATION].primary:
            return intervals.share(test[primary], test["n"])
        low, high = test[f"{primary}_interval"]
        return low, high

    @property
    def minutes(self) -> float:
        """The mean wall-clock time of a run, in minutes."""
        return statistics.fmean(result.wall_seconds for result in self.results) / 60

    @property
    def petaflop(self) -> float | None:
        """The mean arithmetic of a run's training, see ``training.work``; None if not known."""
        known = [r.petaflop for r in self.results if r.petaflop is not None]
        return statistics.fmean(known) if known else None

    def headline(self) -> str:
        """Return the mean of that number with its name: ``top-1 92.61%``."""
        return f"{self.headings.heading} {statistics.fmean(self.values):.2%}"

    def summary(self) -> dict[str, Any]:
        """Return ``preset arch epochs seeds test_top1 top1_interval petaflop minutes`` as JSON.

        ``test_top1`` (a fraction of 1) and ``minutes`` are means over the seeds. Other tasks have
        their own number in its place, such as ``test_miou`` and ``miou_interval``.
        """
        primary = self.headings.primary
        return {
            "preset": self.first.preset,
            "arch": self.first.arch,
            "epochs": self.first.epochs,
            "seeds": len(self.results),
            f"test_{primary}": statistics.fmean(self.values),
            f"{primary}_interval": list(self.interval),
            "petaflop": self.petaflop,
            "minutes": self.minutes,
        }


def of_preset(config: RunConfig, experiments: Iterable[Experiment]) -> Experiment | None:
    """Return what was measured of a preset with its number of epochs; None if nothing was.

    Of several experiments the one that differs in the fewest settings is preferred.
    """
    found = [
        each
        for each in experiments
        if (each.first.preset, each.first.epochs) == (config.name, config.train.epochs)
    ]
    wanted = _settings(config.name, config.model_dump(mode="json"))

    def differences(experiment: Experiment) -> int:
        theirs = settings(experiment.first)
        return sum(theirs[key] != value for key, value in wanted.items())

    return min(found, key=differences, default=None)


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
        InputError: it is of converted weights, or lacks keys.
    """
    if "test" not in values and "arch" in values:
        raise InputError(f"{where}: expected a run that was trained, got converted weights")
    if lost := sorted(NEEDED - set(values)):
        raise InputError(f"{where}: expected the result of a run, got none of {', '.join(lost)}")
    if not of_record(values["test"]):
        known = ", ".join(dict.fromkeys(headings.primary for headings in HEADINGS.values()))
        raise InputError(f"{where}: expected one of {known} in the held-out numbers, got none")
    return loading.checked(RunResult, values, where)


def settings(result: RunResult) -> dict[str, Any]:
    """Return what tells experiments apart: ``preset``, and its settings as ``section.key``.

    A setting that is younger than the result has its default.
    """
    return _settings(result.preset, result.config)


def _settings(preset: str, config: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"preset": preset}
    defaults = RunConfig().model_dump(mode="json")
    for section in ("model", "data", "train"):
        values = defaults[section] | config[section]
        found |= {f"{section}.{key}": value for key, value in values.items()}
    ignored = IGNORED if _chosen(config) else IGNORED | {"train.eval_every"}
    for key in ("data.dataset", "data.labels"):  # their names count, not their folders
        found[key] = without_folders(found[key]) if found[key] else None
    return {
        key: bool(value) if key in STARTS else value
        for key, value in found.items()
        if key not in ignored
    }


def epoch_was_chosen(result: RunResult) -> bool:
    """Return whether the epoch was chosen by its accuracy on the held-out images."""
    return _chosen(result.config)


def _chosen(config: Mapping[str, Any]) -> bool:
    train = config["train"]
    looked = train.get("keep") == "best" or train.get("patience", 0) > 0
    return looked and not config["data"].get("validation_fraction")


def without_folders(text: str) -> str:
    """Return the last name of a path that begins with ``/`` or ``~``, also in ``key=path``."""
    key, equals, path = text.rpartition("=")
    return f"{key}{equals}{Path(path).name}" if path.startswith(("/", "~")) else text
