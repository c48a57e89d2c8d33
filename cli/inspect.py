"""``tfresnet inspect``."""

from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    PATH,
    data_options,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.config.formats import TFLITE
from tfresnet.runtime.errors import InputError
from tfresnet.system.native_stderr import quiet_tensorflow


@click.command("inspect")
@click.argument("model", type=PATH)
@click.option(
    "--against",
    type=PATH,
    help="The float32 .tflite of the same network (default: the one beside it).",
)
@click.option(
    "--images",
    default=50,
    show_default=True,
    type=click.IntRange(1),
    help="Training images to run.",
)
@data_options
@json_option
@reports_mistakes
def command(
    model: Path,
    against: Path | None,
    images: int,
    data: dict[str, str],
    as_json: bool,
) -> None:
    """Show the operations of a .tflite file, where it runs, and what quantization changed.

    Where it runs is read from its operations and numbers: which of them GPUs and NPUs take, and
    what to export for those that don't. SQNR is the signal to quantization noise at a layer's
    output, in dB: 6 dB more are one bit more. What keeps a file from being integer throughout is
    named.

    \b
    Example:
      tfresnet inspect runs/quickstart/export/model_int8.tflite
    """
    from tfresnet.data import lookup
    from tfresnet.deploy import measured_data
    from tfresnet.runtime.metadata import read_metadata

    for file in filter(None, (model, against)):
        if file.suffix != TFLITE.suffix:
            raise InputError(f"expected a .tflite file, got {file}")
        metadata = read_metadata(file)
        lookup.kind(measured_data.of_file(file, metadata, data))
    quiet_tensorflow()
    from tfresnet.deploy import inspect

    with stdout_to_stderr(as_json):
        result = inspect.inspect_file(model, against, images, data).to_dict()
    if as_json:
        print_json(result)
    else:
        _show(result)


def _show(result: dict[str, Any]) -> None:
    from tfresnet.deploy.formats import delegates

    counts = ", ".join(f"{n} {name}" for name, n in result["operations"].items())
    click.echo(f"Operations: {counts}")
    if result["fully_integer"]:
        click.echo("Integer throughout")
    for obstacle in result["obstacles"]:
        click.echo(f"Float: {obstacle}")
    click.echo("Where it runs (the rest stays on the CPU):")
    for line in delegates.lines(result["delegates"]):
        click.echo(f"  {line}")
    if not result["layers"]:
        click.echo("No float32 file to compare with; export one, or name it with --against")
        return
    click.echo(f"{'SQNR dB':>8}  {'max error':>9}  {'range':>8}  layer")
    for layer in result["layers"]:
        name = layer["tensor"].rpartition(";")[2]
        click.echo(
            f"{layer['sqnr_db']:8.1f}  {layer['max_abs']:9.3g}  {layer['range']:8.3g}  "
            f"{layer['operation']} {name}"
        )
