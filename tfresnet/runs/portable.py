"""Results and configurations without what only one machine knows: private folders in paths."""

import shlex
from pathlib import Path
from typing import Any

from tfresnet.runs import experiments
from tfresnet.runs.result import RunResult
from tfresnet.system.environment import RunEnvironment

# Keys of the configuration that are paths, or may be.
PATHS = {"train": ("teacher", "init_from"), "data": ("dataset", "data_dir", "labels")}


def result(found: RunResult, run: str) -> dict[str, Any]:
    """Return a result as JSON types, without the private folders in its paths.

    Files are named from the folder ``run`` on, a teacher and weights to start from with one folder,
    data and the paths in commands by their own names.
    """
    whole = found.to_dict()
    for artifact in whole["artifacts"]:
        artifact["path"] = f"runs/{run}/export/{artifact['path'].rpartition('/export/')[2]}"
    whole["config"] = config(whole["config"])
    whole["command"] = _command(whole["command"])
    if found.environment.command:
        whole["environment"] = environment(found.environment).to_dict()
    return whole


def config(values: dict[str, Any]) -> dict[str, Any]:
    """Return a configuration, as JSON types, without private folders."""
    train, data = dict(values["train"]), dict(values["data"])
    for key in PATHS["train"]:
        if path := train.get(key):
            train[key] = "/".join(Path(path).parts[-2:])
    for key in PATHS["data"]:
        if path := data.get(key):
            data[key] = experiments.without_folders(path)
    return values | {"train": train, "data": data}


def environment(whole: RunEnvironment) -> RunEnvironment:
    """Return an environment without the private folders in its commands."""
    changes: dict[str, Any] = {"command": _command(whole.command)}
    if whole.resumed:
        changes["resumed"] = [
            part.model_copy(update={"command": _command(part.command)}) for part in whole.resumed
        ]
    return whole.model_copy(update=changes)


def _command(command: str | None) -> str | None:
    if command is None:
        return None
    return shlex.join(map(experiments.without_folders, shlex.split(command)))
