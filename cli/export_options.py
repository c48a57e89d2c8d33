"""The options of ``tfresnet export``, made from the keys of ``ExportConfig``."""

from collections.abc import Callable
from typing import Any

import click

from tfresnet.cli.common import data_options
from tfresnet.cli.section_options import SectionOption, section_option
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FORMATS, INT8, OFFERED, TFLITE, USUAL, FormatRow, names
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import DETECTIONS

# Keys whose flags are not made from the key alone: --tflite and so on, --quantize, and none.
OTHERS = ("formats", "quantizations", "threads")
FLAGS = {
    "formats": "formats",
    "quantizations": "--quantize",
    **{key: f"--{key.replace('_', '-')}" for key in ExportConfig.model_fields if key not in OTHERS},
    "calibration_method": "--calibration",
}
Decorator = Callable[[Callable], Callable]


def export_options(function: Callable) -> Callable:
    """Give a command all options of ``tfresnet export``; those not given are None, or empty."""
    options = [*_formats(), *_keys(), *_budget(), data_options]
    for option in reversed(options):
        function = option(function)
    return function


def export_config(
    choices: dict[str, Any], auto: bool, threads: int, searched: FormatRow = TFLITE
) -> ExportConfig:
    """Return the configuration that the options name.

    Args:
        choices: the options of :func:`export_options` by their names.
        auto: whether the quantization is searched for, as ``--auto`` does.
        searched: the format of the files of ``--auto``.
        threads: see ``ExportConfig``.

    Raises:
        InputError: an option that can't be had, or not beside another one.
    """
    given = {key: value for key, value in choices.items() if key in FLAGS and _is_given(value)}
    chosen = tuple(name for name in FORMATS if choices[name])
    if chosen:
        given["formats"] = chosen
    if choices.get("nms") and given.setdefault("output", DETECTIONS) != DETECTIONS:
        raise InputError(f"--nms: expected no other output beside it, got {given['output']}")
    if auto:
        if chosen not in ((), (searched.name,)) or "quantizations" in given:
            raise InputError(
                f"--auto: expected it to choose the kind of a {searched.title} file itself"
            )
        if beside := [
            FLAGS[key]
            for key in ("slim", "max_macs", "prune", "cluster", "features")
            if key in given
        ]:
            raise InputError(f"--auto: expected no {beside[0]} beside it")
        given |= {"formats": (searched.name,), "quantizations": (INT8.name,)}
    return ExportConfig(**loading.parsed(ExportConfig, given), threads=threads)


def _is_given(value: Any) -> bool:
    return value is not None and value is not False and value != ()


def _formats() -> list[Decorator]:
    flags = [
        click.option(f"--{name.replace('_', '-')}", name, is_flag=True, help=row.help)
        for name, row in FORMATS.items()
    ]
    kinds = click.option(
        "--quantize",
        "quantizations",
        cls=SectionOption,
        key="quantizations",
        choices=tuple(OFFERED),
        multiple=True,
        metavar=f"[{'|'.join(OFFERED)}]",
        help=f"Repeat for several (default: {names(USUAL)}). ONNX and OpenVINO have float32, "
        "float16, int8.",
    )
    nms = click.option(
        "--nms",
        is_flag=True,
        help="Of a detector: the suppression of overlapping boxes inside the file, as --output "
        "detections.",
    )
    return [*flags, kinds, nms]


def _keys() -> list[Decorator]:
    return [
        section_option(ExportConfig, key, flag=flag, show_default=True)
        for key, flag in FLAGS.items()
        if key not in OTHERS
    ]


def _budget() -> list[Decorator]:
    return [
        click.option(
            "--auto",
            is_flag=True,
            help="Try int8, then what helps with the budget that was missed: int4 if it is "
            "too large; layers in float while they fit, and then --qat-epochs (default: 5), "
            "if it lost too much; float32 if int8 is too slow here, then both without a quarter "
            "and half of the channels inside blocks.",
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
        click.option(
            "--board",
            "board_names",
            multiple=True,
            metavar="NAME",
            help="With --auto: a file that fits it (tfresnet fit --boards lists them), of a "
            "microcontroller as --tflm writes it. Repeat for more.",
        ),
    ]
