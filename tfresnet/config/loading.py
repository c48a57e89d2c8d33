"""The configuration of a run: its sections read from YAML, from presets and from the command line.

``RunConfig`` is complete (every value is in the run's ``config.yaml``); a preset or
a user's file says only what differs from the defaults here.
"""

import json
import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

from tfresnet.config.sections import DataConfig, RunConfig, Section
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.system.files import expanded, read_text

S = TypeVar("S", bound=BaseModel)


class _Loader(yaml.SafeLoader):
    """Safe YAML 1.2, which PyYAML's is not: ``1e-4`` is a number, and no key is there twice."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return a mapping as it is written, or raise a ``YAMLError`` for a key's second value."""
        node = super().compose_mapping_node(anchor)
        keys = [key for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        seen = set()
        for key in keys:
            if (key.tag, key.value) in seen:
                raise yaml.MarkedYAMLError(
                    problem=f"the key {key.value} twice", problem_mark=key.start_mark
                )
            seen.add((key.tag, key.value))
        return node


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+$"), list("-+0123456789.")
)


def presets() -> dict[str, str]:
    """Return the YAML text of every preset that ships with tfresnet, by name."""
    folder = resources.files("tfresnet") / "presets"
    files = {f.name.removesuffix(".yaml"): f for f in folder.iterdir() if f.name.endswith(".yaml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}


def preset(name: str) -> dict[str, Any]:
    """Return what a preset's YAML says, with its name, as nested dictionaries.

    Raises:
        InputError: there is no such preset.
    """
    known = presets()
    if name not in known:
        raise unknown("preset", name, known)
    return {"name": name, **_parse(known[name], where=name)}


def load(preset_or_file: str, overrides: Iterable[str] = ()) -> RunConfig:
    """Return the configuration of a preset or YAML file with ``section.key=value`` overrides.

    Raises:
        InputError: no such preset or file, unreadable YAML, an unknown key, or a bad value.
    """
    name, text = _find(preset_or_file)
    values = _parse(text, where=preset_or_file)
    values.setdefault("name", name)
    return validate(overridden(values, overrides), where=preset_or_file)


def from_overrides(overrides: Iterable[str], name: str = "run") -> RunConfig:
    """Return the defaults with ``section.key=value`` overrides."""
    return validate(overridden({"name": name}, overrides))


def overridden(values: dict[str, Any], overrides: Iterable[str]) -> dict[str, Any]:
    """Return ``values`` after ``section.key=value`` overrides were set in them."""
    for override in overrides:
        _set(values, override)
    return values


def setting(key: str, value: Any) -> str:
    """Return ``section.key=value`` as ``--set`` takes it: text as it is, all else as YAML.

    Raises:
        InputError: a value that no key can have, such as a date.
    """
    try:
        return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
    except TypeError:
        raise InputError(f"{key}: expected text, a number or a list, got {value!r}") from None


def with_data(config: DataConfig | Mapping[str, Any], overrides: Mapping[str, Any]) -> DataConfig:
    """Return a data section with some keys replaced, checked like any other."""
    values = config.model_dump() if isinstance(config, DataConfig) else dict(config)
    return validate({"data": values | dict(overrides)}).data


def validate(values: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """Return ``values`` as a checked ``RunConfig``, or raise a one-line ``InputError``."""
    return checked(RunConfig, values, where)


def checked(kind: type[S], values: Mapping[str, Any], where: str) -> S:
    """Return ``values`` as a ``kind`` of model, or raise a one-line ``InputError``."""
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error, where, kind)) from None


def read(path: Path) -> RunConfig:
    """Return the configuration that a run directory's ``config.yaml`` holds."""
    return read_as(RunConfig, path)


def read_as(kind: type[S], path: Path) -> S:
    """Return the section of a ``kind`` in a YAML file, or raise a one-line ``InputError``."""
    values = _parse(read_text(path), str(path), "keys " + ", ".join(kind.model_fields))
    return checked(kind, values, str(path))


def absolute(config: RunConfig) -> RunConfig:
    """Return the configuration with paths that can be opened from any folder."""
    path = expanded(config.data.dataset)
    data, training = config.data, config.train
    if data.dataset != "digits" and path.is_dir():
        data = data.model_copy(update={"dataset": str(path.resolve())})
    for key in ("data_dir", "labels"):
        if given := getattr(data, key):
            data = data.model_copy(update={key: str(expanded(given).resolve())})
    for key in ("init_from", "teacher"):
        if given := getattr(training, key):
            whole = str(expanded(given).resolve())
            training = training.model_copy(update={key: whole})
    return config.model_copy(update={"data": data, "train": training})


def dataset_name(dataset: str) -> str:
    """Return the name of ``data.dataset``: of a folder its last part, which others may read."""
    path = expanded(dataset)
    return path.resolve().name if path.is_absolute() or path.is_dir() else dataset


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return ``{section.key: (old, new)}`` for the keys on which the two disagree."""
    result = {}
    for section in ("model", "data", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            pair = getattr(before, key), getattr(after, key)
            if pair[0] != pair[1]:
                result[f"{section}.{key}"] = pair
    return result


def safe_name(path: Path) -> str:
    """Return a file's name without its ending as a run may be called."""
    return re.sub(r"[^\w.-]+", "-", path.stem)[:100]


def _find(preset_or_file: str) -> tuple[str, str]:
    known = presets()
    if preset_or_file in known:
        return preset_or_file, known[preset_or_file]
    path = expanded(preset_or_file)
    if path.suffix not in (".yaml", ".yml"):
        if path.name != preset_or_file:
            missing = "" if path.exists() else ", which does not exist"
            raise InputError(
                "expected a preset, a file that ends in .yaml or a folder of images, got "
                f"{preset_or_file}{missing}"
            )
        raise unknown("preset", preset_or_file, known)
    return safe_name(path), read_text(path)


def _parse(text: str, where: str, keys: str = "sections model, data, train") -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        line = " ".join(str(error).split())
        raise InputError(f"{where}: expected YAML, got something else: {line}") from None
    if not isinstance(values, dict):
        raise InputError(f"{where}: expected {keys}, got {text.strip()!r:.60}")
    return values


def _set(values: dict[str, Any], override: str) -> None:
    """Apply one ``section.key=value``; the value is read as YAML."""
    path, equals, text = override.partition("=")
    section, dot, key = path.partition(".")
    if not (equals and dot and section and key):
        raise InputError(f"--set: expected section.key=value (train.lr=0.1), got {override!r}")
    value = text if _is_text(section, key) and text != "null" else _scalar(text)
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise InputError(
            f"--set: expected section.key=value, got {override!r}: {section} is no section"
        )
    inner[key] = value


def _is_text(section: str, key: str) -> bool:
    """Tell whether a key holds free text, such as a path, which must be taken as it is."""
    model = RunConfig.model_fields.get(section)
    fields = getattr(model.annotation, "model_fields", {}) if model else {}
    return key in fields and fields[key].annotation in (str, str | None)


def _scalar(text: str) -> Any:
    """Return the value that YAML reads in ``text``; text where it reads none."""
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return text


def _explain(error: ValidationError, where: str, kind: type[BaseModel]) -> str:
    """Turn pydantic's first error into: key, expected, got, closest match."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', path, _siblings(first['loc'], kind))}"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{where}: {path}: expected {expected}, got {first['input']!r}"


def _siblings(loc: tuple[int | str, ...], kind: type[BaseModel]) -> list[str]:
    """Return the full names of the keys that are allowed where ``loc`` is not."""
    if len(loc) == 1:
        return list(kind.model_fields)
    section = kind.model_fields[str(loc[0])].annotation
    assert isinstance(section, type) and issubclass(section, Section)
    return [f"{loc[0]}.{key}" for key in section.model_fields]
