"""``tfresnet fit``; it loads no TensorFlow, unless a run has no file for TFLite Micro yet."""

from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    PATH,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.runtime.errors import InputError


@click.command("fit")
@click.argument("model", type=PATH)
@click.option("--board", "names", multiple=True, metavar="NAME", help="Repeat for more.")
@json_option
@reports_mistakes
@click.pass_context
def command(ctx: click.Context, model: Path, names: tuple[str, ...], as_json: bool) -> None:
    """Tell whether a model fits microcontrollers and other boards, and how fast it is there.

    MODEL is a .tflite file, a run or a shipped network. Of a run the file that export --tflm wrote
    is taken; if there is none, one is converted for its size. The exit status is 1 if it does not
    fit one of the boards.

    \b
    Examples:
      tfresnet fit digits --board rpi-pico
    """
    from tfresnet.deploy.device import boards, fit

    chosen = [boards.named(name) for name in names]
    with stdout_to_stderr(as_json):
        content = _content(model)
        found = fit.fit(content, chosen)
    if as_json:
        print_json({"model": str(model), "boards": [board.to_dict() for board in found]})
    else:
        _show(found)
    ctx.exit(0 if all(board.fits for board in found) else 1)


def _content(model: Path) -> bytes:
    """Return a TFLite file without what is behind it, of a file, a run or a shipped network."""
    from tfresnet.deploy import micro_file
    from tfresnet.deploy.formats import graph
    from tfresnet.runs import shipped
    from tfresnet.runtime.terminal import printable

    if shipped.is_name(model) or model.is_dir():
        file = micro_file.exported(model)
        if file is None:
            click.echo(f"Converting {printable(model)} for TFLite Micro, for its size", err=True)
            return micro_file.converted(model)
        click.echo(f"Taking {printable(file)}", err=True)
        model = file
    if model.suffix.lower() != ".tflite":
        raise InputError(f"expected a .tflite file, a run or a shipped network, got {model}")
    return graph.without_metadata(model.read_bytes())


def _show(found: list[Any]) -> None:
    from tabulate import tabulate

    rows = [
        [
            b.name, "yes" if b.fits else "no",
            f"{b.flash_bytes / 1024:,.0f} of {b.flash_limit / 1024:,.0f}",
            f"{b.ram_bytes / 1024:,.0f} of {b.ram_limit / 1024:,.0f}",
            "-" if b.ms is None else f"{b.ms:.2f}",
        ]
        for b in found
    ]  # fmt: skip
    heads = ["board", "fits", "flash KiB", "RAM KiB", "ms"]
    align = ["left", "left", "right", "right", "right"]
    click.echo(tabulate(rows, heads, "plain", disable_numparse=True, colalign=align))
    for board in found:
        for text in (*board.problems, *board.advice):
            click.echo(f"{board.name}: {text}")
    for key in ("flash", "ram"):
        click.echo(f"{key}: {found[0].sources[key]}")
