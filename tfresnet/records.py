"""What is known without computing: the cost of every architecture, and the measured results.

Both are files that ship with tfresnet; neither needs TensorFlow to be read.
"""

import json
import shlex
import statistics
from collections.abc import Iterable, Sequence
from importlib import resources
from pathlib import Path
from typing import Any

from tfresnet.config.sections import RunConfig
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_json
from tfresnet.tasks import intervals

NEEDED = {
    "preset", "seed", "parameters", "epochs", "test", "wall_seconds", "images_per_second",
    "command", "commit", "artifacts", "config", "environment",
}  # fmt: skip
PLACES = {"train.teacher", "train.init_from"}  # that there is one counts, and not where


def costs() -> dict[str, dict[str, Any]]:
    """Return ``parameters macs image_size family`` of every architecture, at its native size.

    ``python -m tfresnet.models.zoo`` writes the file; a test holds it to what is built.
    """
    return json.loads((resources.files("tfresnet") / "models" / "costs.json").read_text())


def results() -> list[dict[str, Any]]:
    """Return the results that ``tfresnet record`` wrote, as they were when this was packaged."""
    files = (f for f in resources.files("tfresnet.results").iterdir() if f.name.endswith(".json"))
    return [json.loads(f.read_text()) for f in sorted(files, key=lambda f: f.name)]


def measured() -> list[dict[str, Any]]:
    """Return ``preset arch epochs seeds test_top1 top1_interval minutes`` of every experiment.

    Accuracy (a fraction of 1, see :func:`top1_interval`) and minutes are means over its seeds.
    """
    return [
        {
            **{key: group[0][key] for key in ("preset", "arch", "epochs")},
            "seeds": len(group),
            "test_top1": statistics.fmean(result["test"]["top1"] for result in group),
            "top1_interval": list(top1_interval(group)),
            "minutes": minutes(group),
        }
        for group in experiments(results())
    ]


def check(result: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a run's result if it has what a table needs, else raise a one-line ``InputError``."""
    if "test" not in result and "arch" in result:
        raise InputError(f"{where}: expected a run that was trained, got converted weights")
    if lost := sorted(NEEDED - set(result)):
        raise InputError(f"{where}: expected the result of a run, got none of {', '.join(lost)}")
    if "top1" not in result["test"]:
        raise InputError(
            f"{where}: expected a run with one label a picture, got a multi-label one; its numbers "
            "are in result.json"
        )
    return result


def check_sweep(sweep: dict[str, Any], where: str) -> dict[str, Any]:
    """Return a sweep's table, or raise a one-line ``InputError``."""
    if lost := sorted({"sweep", "description", "rows", "runs"} - set(sweep)):
        raise InputError(f"{where}: expected the table of a sweep, got none of {', '.join(lost)}")
    return sweep


def read_all(folder: Path) -> tuple[dict[str, dict], dict[str, dict]]:
    """Return the records of runs in a folder, and of sweeps in its ``sweeps``, by file name.

    Raises:
        InputError: there are none, one is damaged, or two are of the same run.
    """
    runs = {p.name: check(read_json(p), str(p)) for p in sorted(folder.glob("*.json"))}
    sweeps = {
        p.name: check_sweep(read_json(p), str(p)) for p in sorted(folder.glob("sweeps/*.json"))
    }
    if not runs and not sweeps:
        raise InputError(f"expected records in {folder}, found none; see tfresnet record")
    seen: dict[str, str] = {}
    for name, result in runs.items():
        first = seen.setdefault(identity(result), name)
        if first != name:
            raise InputError(f"{folder}: {first} and {name} are of the same run; delete one")
    return runs, sweeps


def portable(result: dict[str, Any], run: str) -> dict[str, Any]:
    """Return a run's result as it is read elsewhere: with the ends of its paths alone.

    Files are named from the folder ``run`` on, a teacher and weights to start from with one folder,
    data and what stands in the command by their own names.
    """
    artifacts = [
        a | {"path": f"runs/{run}/export/{a['path'].rpartition('/export/')[2]}"}
        for a in result["artifacts"]
    ]
    train = dict(result["config"]["train"])
    for key in (place.partition(".")[2] for place in PLACES):
        if path := train.get(key):
            train[key] = "/".join(Path(path).parts[-2:])
    data = dict(result["config"]["data"])
    for key in ("dataset", "data_dir", "labels"):
        if path := data.get(key):
            data[key] = _ends(path)
    config = result["config"] | {"train": train, "data": data}
    environment = result["environment"]
    if parts := environment.get("resumed"):
        environment = environment | {"resumed": [_with_short_paths(part) for part in parts]}
    return _with_short_paths(result) | {
        "artifacts": artifacts,
        "config": config,
        "environment": _with_short_paths(environment),
    }


def _with_short_paths(record: dict[str, Any]) -> dict[str, Any]:
    """Return what holds a command with its whole paths shortened to their last names."""
    words = [_ends(word) for word in shlex.split(record["command"])]
    return record | {"command": shlex.join(words)}


def _ends(text: str) -> str:
    """Return a path, or ``key=path``, without the folders it begins with at ``/`` or ``~``."""
    key, equals, path = text.rpartition("=")
    return f"{key}{equals}{Path(path).name}" if path.startswith(("/", "~")) else text


def experiments(results: Iterable[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Return the results in groups: in one are those that differ by their seed alone."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        groups.setdefault(json.dumps(settings(result), sort_keys=True), []).append(result)
    return list(groups.values())


def identity(result: dict[str, Any]) -> str:
    """Return what tells a run from all others: its settings, its seed, the runs it builds on."""
    train = result["config"]["train"]
    names = [Path(train.get(key.partition(".")[2]) or "").name for key in sorted(PLACES)]
    return json.dumps([settings(result), result["seed"], names], sort_keys=True)


def settings(result: dict[str, Any]) -> dict[str, Any]:
    """Return all by which two experiments differ: the preset, and its settings as section.key.

    A setting that is younger than the record has its default.
    """
    found = {"preset": result["preset"]}
    defaults = RunConfig().model_dump(mode="json")
    for section in ("model", "data", "train"):
        values = defaults[section] | result["config"][section]
        found |= {f"{section}.{key}": value for key, value in values.items()}
    aside = {"train.seed", "data.data_dir", "data.cache"}
    if not epoch_was_chosen(result):
        aside.add("train.eval_every")
    for key in ("data.dataset", "data.labels"):  # what they are called counts, and not where
        found[key] = _ends(found[key]) if found[key] else None
    return {
        key: bool(value) if key in PLACES else value
        for key, value in found.items()
        if key not in aside
    }


def top1_interval(group: Sequence[dict[str, Any]]) -> tuple[float, float]:
    """Return the 95 % interval of an experiment's top-1, fractions of 1.

    Of several seeds it is that of their mean, of one seed that of the images it was measured on.
    """
    top1 = [result["test"]["top1"] for result in group]
    return intervals.mean(top1) or intervals.share(top1[0], group[0]["test"]["n"])


def epoch_was_chosen(result: dict[str, Any]) -> bool:
    """Return whether the epoch was chosen by its result on the held-out images."""
    train = result["config"]["train"]
    return train.get("keep") == "best" or train.get("patience", 0) > 0


def minutes(group: Sequence[dict[str, Any]]) -> float:
    """Return the mean time of an experiment's runs."""
    return statistics.fmean(result["wall_seconds"] for result in group) / 60
