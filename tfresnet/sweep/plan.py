"""Read a sweep's file, and expand it into the runs to train."""

import itertools
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from tfresnet.config import loading
from tfresnet.config.sections import RunConfig, Section
from tfresnet.runs import preflight
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import is_there

Settings = Annotated[dict[str, Any], BeforeValidator(lambda given: {} if given is None else given)]


class Sweep(Section):
    """The content of a sweep's YAML file; settings are ``section.key: value``."""

    description: str = ""
    base: str = Field("quickstart", description="A preset, or a YAML file beside this one.")
    seeds: list[int] = Field([0], min_length=1, description="Every variant runs with each.")
    set: dict[str, Any] = Field({}, description="Settings of all runs.")
    runs: dict[str, Settings] = Field({}, description="Name of a variant: its settings.")
    grid: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(
        {}, description="Setting: its values; all combinations are run."
    )


@dataclass(frozen=True)
class Trial:
    """One run of a sweep."""

    variant: str
    seed: int
    base: str
    settings: tuple[str, ...]  # section.key=value
    config: RunConfig
    directory: Path

    @property
    def name(self) -> str:
        """The name of the run's folder."""
        return self.directory.name

    def arguments(self) -> list[str]:
        """Return the arguments of ``tfresnet`` that train the run."""
        settings = [part for setting in self.settings for part in ("--set", setting)]
        return ["train", self.base, *settings, "--run-dir", str(self.directory)]


def read(file: Path) -> Sweep:
    """Read and check a sweep's file, or raise a one-line ``InputError``."""
    return check(loading.read_as(Sweep, file), file)


def check(sweep: Sweep, file: Path) -> Sweep:
    """Return the sweep, or raise an ``InputError`` if its settings contradict each other."""
    for settings in (sweep.set, sweep.grid, *sweep.runs.values()):
        if "train.seed" in settings:
            raise InputError(f"{file}: expected seeds: [...], got train.seed among the settings")
        if nested := [key for key in settings if "." not in key]:
            raise InputError(
                f"{file}: expected section.key: value (train.lr: 0.1), got {nested[0]!r} as a key"
            )
    for name, settings in sweep.runs.items():
        if both := sorted(set(settings) & set(sweep.grid)):
            raise InputError(f"{file}: expected {both[0]} in the grid or in {name!r}, got both")
    return sweep


def trials(sweep: Sweep, file: Path, directory: Path) -> list[Trial]:
    """Return the runs of a sweep, variant by variant, each with its folder in ``directory``.

    Raises:
        InputError: an unknown key or a bad value in any of the runs, or two variants whose names
            make the same folder.
    """
    base = sweep.base
    if is_there(file.parent / base) and (file.parent / base).is_file():
        base = str(file.parent / base)
    found: dict[str, Trial] = {}
    for variant, changes in _variants(sweep).items():
        for seed in sweep.seeds:
            settings = sweep.set | changes | {"train.seed": seed}
            name = f"{_folder(variant, file)}-seed{seed}"
            if name.casefold() in found:  # some file systems do not tell case
                raise InputError(
                    f"{file}: expected names and seeds that differ, two runs would be {name}"
                )
            written = tuple(loading.setting(key, value) for key, value in settings.items())
            config = _checked(base, written, f"{file}: {variant}")
            found[name.casefold()] = Trial(variant, seed, base, written, config, directory / name)
    return list(found.values())


def _variants(sweep: Sweep) -> dict[str, dict[str, Any]]:
    """Return the settings of each variant: every named run with every combination of the grid."""
    named = sweep.runs or {"": {}}
    result = {}
    for values in itertools.product(*sweep.grid.values()):
        point = dict(zip(sweep.grid, values, strict=True))
        label = ", ".join(f"{key.rpartition('.')[2]}={value}" for key, value in point.items())
        for name, changes in named.items():
            result[", ".join(filter(None, (name, label))) or Path(sweep.base).stem] = (
                changes | point
            )
    return result


def _checked(base: str, settings: tuple[str, ...], where: str) -> RunConfig:
    try:
        config = loading.load(base, settings)
        preflight.network(config.model)
        return config
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _folder(variant: str, file: Path) -> str:
    name = re.sub(r"[^\w.=+]+", "-", variant).strip("-.")
    if not name:
        raise InputError(f"{file}: expected a name for a run, got {variant!r}")
    return name
