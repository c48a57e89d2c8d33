"""Read and check the configuration of a run: from YAML, presets, and the command line.

A ``RunConfig`` is complete, and so is the ``config.yaml`` of a run; a preset or a user's file has
only what differs from the defaults.
"""

import json
import re
from collections.abc import Container, Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ValidationError

from tfresnet.config.sections import DataConfig, RunConfig, Section
from tfresnet.runtime.errors import InputError, unknown
from tfresnet.system.files import expanded, read_text

S = TypeVar("S", bound=BaseModel)
HUB = ("timm/", "keras/")  # what names of weights begin with


# Not ruamel.yaml: its error for a duplicate key says how to allow it, and `yes` would become text.
class _Loader(yaml.SafeLoader):
    """Safe YAML loader that refuses duplicate keys, and reads ``1e-4`` as a number (YAML 1.2)."""

    def compose_mapping_node(self, anchor: Any) -> yaml.MappingNode:
        """Return the node of a mapping; raise a ``YAMLError`` if a key is there twice."""
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
    """Return the YAML text of every preset, by name."""
    folder = resources.files("tfresnet") / "presets"
    files = {f.name.removesuffix(".yaml"): f for f in folder.iterdir() if f.name.endswith(".yaml")}
    return {name: files[name].read_text(encoding="utf-8") for name in sorted(files)}


def preset(name: str) -> dict[str, Any]:
    """Return the values of a preset, with its name, as nested dictionaries.

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
    return validate(values, preset_or_file, overrides)


def from_overrides(overrides: Iterable[str], name: str = "run") -> RunConfig:
    """Return the defaults with ``section.key=value`` overrides."""
    return validate({"name": name}, overrides=overrides)


def setting(key: str, value: Any) -> str:
    """Return ``section.key=value`` as overrides are written: text as it is, all else as YAML.

    Raises:
        InputError: a value that no key can have, such as a date.
    """
    try:
        return f"{key}={value if isinstance(value, str) else json.dumps(value)}"
    except TypeError:
        raise InputError(f"{key}: expected text, a number or a list, got {value!r}") from None


def with_data(config: DataConfig | Mapping[str, Any], overrides: Mapping[str, Any]) -> DataConfig:
    """Return a data section with some keys replaced, and checked."""
    values = config.model_dump() if isinstance(config, DataConfig) else dict(config)
    return validate({"data": values | dict(overrides)}).data


def validate(
    values: dict[str, Any], where: str = "configuration", overrides: Iterable[str] = ()
) -> RunConfig:
    """Return ``values`` as a ``RunConfig``, after ``section.key=value`` overrides were set in them.

    Raises:
        InputError: an unknown key or a bad value, in one line; it says ``where`` unless the value
            is that of an override.
    """
    overridden = [_set(values, override) for override in overrides]
    return checked(RunConfig, values, where, overridden)


def checked(
    kind: type[S], values: Mapping[str, Any], where: str, overridden: Container[str] = ()
) -> S:
    """Return ``values`` as a ``kind`` of model.

    Raises:
        InputError: an unknown key or a bad value, in one line; it says ``where``, such as in which
            file, unless the key is one of ``overridden``.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        raise InputError(_explain(error, where, kind, overridden)) from None


def parsed(kind: type[Section], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a section's keys that a command line gave, unchecked.

    Args:
        kind: the section.
        given: texts, each read as that of ``section.key=value``; booleans; tuples of texts. None
            and empty tuples were not given.
    """
    return {
        key: _read(value, kind.model_fields[key].annotation) if isinstance(value, str) else value
        for key, value in given.items()
        if value not in (None, ())
    }


def read(path: Path) -> RunConfig:
    """Read the ``config.yaml`` of a run directory."""
    return read_as(RunConfig, path)


def read_as(kind: type[S], path: Path) -> S:
    """Read a YAML file as a ``kind`` of section, or raise a one-line ``InputError``."""
    values = _parse(read_text(path), str(path), "keys " + ", ".join(kind.model_fields))
    return checked(kind, values, str(path))


def absolute(config: RunConfig) -> RunConfig:
    """Return the configuration with its paths made absolute; names of weights stay."""
    path = expanded(config.data.dataset)
    data, training = config.data, config.train
    if data.dataset != "digits" and path.is_dir():
        data = data.model_copy(update={"dataset": str(path.resolve())})
    for key in ("data_dir", "labels"):
        if given := getattr(data, key):
            data = data.model_copy(update={key: str(expanded(given).resolve())})
    for key in ("init_from", "teacher"):
        if given := getattr(training, key):
            place = expanded(given)
            # What is no path is the name of weights, which is the same from everywhere.
            named = is_hub_name(given) or (place.name == given and not place.exists())
            whole = given if named else str(place.resolve())
            training = training.model_copy(update={key: whole})
    return config.model_copy(update={"data": data, "train": training})


def is_hub_name(start: str) -> bool:
    """Return whether ``train.init_from`` is a name of weights on the hub, no path that exists."""
    return start.startswith(HUB) and not expanded(start).exists()


def dataset_name(dataset: str) -> str:
    """Return the name of ``data.dataset``; of a folder only its last part, to be shown."""
    path = expanded(dataset)
    return path.resolve().name if path.is_absolute() or path.is_dir() else dataset


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return ``{section.key: (old, new)}`` for the keys whose values differ."""
    result = {}
    for section in ("model", "data", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            pair = getattr(before, key), getattr(after, key)
            if pair[0] != pair[1]:
                result[f"{section}.{key}"] = pair
    return result


def safe_name(path: Path) -> str:
    """Return a file's name, without its suffix, as a valid name of a run."""
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


def _set(values: dict[str, Any], override: str) -> str:
    """Set one ``section.key=value`` in ``values``, and return ``section.key``."""
    path, equals, text = override.partition("=")
    section, dot, key = path.partition(".")
    if not (equals and dot and section and key):
        raise InputError(f"settings: expected section.key=value (train.lr=0.1), got {override!r}")
    model = RunConfig.model_fields.get(section)
    fields = getattr(model.annotation, "model_fields", {}) if model else {}
    value = _read(text, fields[key].annotation if key in fields else None)
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise InputError(
            f"settings: expected section.key=value, got {override!r}: {section} is no section"
        )
    inner[key] = value
    return path


def _read(text: str, kind: Any) -> Any:
    """Return the value of a field of a ``kind`` that a text stands for.

    Free text, such as a path, and one of several words, such as ``2:4``, is taken as it is; all
    else is read as YAML.
    """
    words = get_origin(kind) is Literal and all(isinstance(word, str) for word in get_args(kind))
    if words or kind is str or (kind == str | None and text != "null"):
        return text
    try:
        return yaml.load(text, Loader=_Loader)
    except (yaml.YAMLError, RecursionError, ValueError):
        return text


def _explain(
    error: ValidationError, where: str, kind: type[BaseModel], overridden: Container[str]
) -> str:
    """Return pydantic's first error as one line: key, expected, got, closest match."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    place = "" if ".".join(path.split(".")[:2]) in overridden else f"{where}: "
    if first["type"] == "extra_forbidden":
        return f"{place}{unknown('key', path, _siblings(first['loc'], kind))}"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{place}{path}: expected {expected}, got {first['input']!r}"


def _siblings(loc: tuple[int | str, ...], kind: type[BaseModel]) -> list[str]:
    """Return the full names of the keys that are allowed in the place of ``loc``."""
    if len(loc) == 1:
        return list(kind.model_fields)
    section = kind.model_fields[str(loc[0])].annotation
    assert isinstance(section, type) and issubclass(section, Section)
    return [f"{loc[0]}.{key}" for key in section.model_fields]
