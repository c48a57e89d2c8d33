"""The options of ``tfresnet export``, made from the keys of ``ExportConfig``."""

import types
from collections.abc import Callable
from typing import Any, Literal, get_args, get_origin

import click
from pydantic.fields import FieldInfo

from tfresnet.cli.common import data_options
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FORMATS, INT8, OFFERED, TFLITE, USUAL, names
from tfresnet.runtime.errors import InputError

# Keys whose flags are not made from the key alone: --tflite and so on, --quantize, and none.
OTHERS = ("formats", "quantizations", "threads")
METAVARS = {
    "batch": "N",
    "max_drop": "POINTS",
    "qat_epochs": "N",
    "prune": "S",
    "cluster": "N",
}
FLAGS = {
    "formats": "formats",
    "quantizations": "--quantize",
    **{key: f"--{key.replace('_', '-')}" for key in ExportConfig.model_fields if key not in OTHERS},
}
Decorator = Callable[[Callable], Callable]


def export_options(function: Callable) -> Callable:
    """Give a command all options of ``tfresnet export``; those not given are None, or empty."""
    options = [*_formats(), *_keys(), *_budget(), data_options]
    for option in reversed(options):
        function = option(function)
    return function


def export_config(choices: dict[str, Any], auto: bool, threads: int) -> ExportConfig:
    """Return the configuration that the options name.

    Args:
        choices: the options of :func:`export_options` by their names.
        auto: whether the quantization is searched for, as ``--auto`` does.
        threads: see ``ExportConfig``.

    Raises:
        InputError: an option that can't be had, or not beside another one.
    """
    given = {key: value for key, value in choices.items() if key in FLAGS and _is_given(value)}
    chosen = tuple(name for name in FORMATS if choices[name])
    if chosen:
        given["formats"] = chosen
    if auto:
        if chosen not in ((), (TFLITE.name,)) or "quantizations" in given:
            raise InputError("--auto: expected it to choose the kind of a TFLite file itself")
        if beside := [FLAGS[key] for key in ("prune", "cluster", "features") if key in given]:
            raise InputError(f"--auto: expected no {beside[0]} beside it")
        given |= {"formats": (TFLITE.name,), "quantizations": (INT8.name,)}
    try:
        return ExportConfig(**given, threads=threads)
    except InputError as error:
        raise InputError(with_flag(str(error))) from None


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def with_flag(message: str) -> str:
    """Return a message about a key of ``ExportConfig`` as one about its flag."""
    key, colon, rest = message.partition(":")
    return f"{FLAGS[key]}{colon}{rest}" if colon and key in FLAGS else message


def _formats() -> list[Decorator]:
    flags = [
        click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=row.help)
        for name, row in FORMATS.items()
    ]
    kinds = click.option(
        "--quantize",
        "quantizations",
        multiple=True,
        type=click.Choice(list(OFFERED)),
        help=f"Repeat for several (default: {names(USUAL)}). ONNX has float32, float16, int8.",
    )
    return [*flags, kinds]


def _keys() -> list[Decorator]:
    fields = ExportConfig.model_fields
    return [_option(key, field) for key, field in fields.items() if key not in OTHERS]


def _option(key: str, field: FieldInfo) -> Decorator:
    """Return the option of a key: its name, type, range, default and help."""
    if field.annotation is bool:
        return click.option(FLAGS[key], is_flag=True, help=field.description)
    default = "" if field.default is None else f"  [default: {_shown(field.default)}]"
    return click.option(
        FLAGS[key],
        key,
        type=_type(field),
        metavar=METAVARS.get(key),
        help=f"{field.description}{default}",
    )


def _shown(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)


def _type(field: FieldInfo) -> click.ParamType:
    kind = field.annotation
    if isinstance(kind, types.UnionType):
        (kind,) = (part for part in get_args(kind) if part is not type(None))
    if get_origin(kind) is Literal:
        return click.Choice(get_args(kind))
    low, high, below = (
        next((getattr(m, key) for m in field.metadata if hasattr(m, key)), None)
        for key in ("ge", "le", "lt")
    )
    if kind is int:
        return click.IntRange(low, high)
    return click.FloatRange(low, below, max_open=True) if low is not None else click.FLOAT


def _budget() -> list[Decorator]:
    return [
        click.option(
            "--auto",
            is_flag=True,
            help="Try int8, then what helps with the budget that was missed: int4 if it is "
            "too large; layers in float while they fit, and then --qat-epochs (default: 5), "
            "if it lost too much; float32 if int8 is too slow here.",
        ),
        click.option(
            "--max-bytes", type=click.IntRange(1), metavar="N", help="Of the file, with --auto."
        ),
        click.option(
            "--max-latency",
            type=float,
            metavar="MS",
            help="Of one image on one thread here, with --auto.",
        ),
    ]
