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
@click.argument("model", type=PATH, required=False)
@click.option("--board", "names", multiple=True, metavar="NAME", help="Repeat for more.")
@click.option("--boards", "lists", is_flag=True, help="List the boards; --json has their sources.")
@click.option("--flash", metavar="SIZE", help="Of another board, such as 1M; with --ram.")
@click.option("--ram", metavar="SIZE", help="That a model may take there, such as 256K.")
@json_option
@reports_mistakes
@click.pass_context
def command(
    ctx: click.Context,
    model: Path | None,
    names: tuple[str, ...],
    lists: bool,
    flash: str | None,
    ram: str | None,
    as_json: bool,
) -> None:
    """Tell whether a model fits microcontrollers and other boards, and how fast it is there.

    MODEL is a .tflite file, a run or a shipped network. Of a run the file that export --tflm wrote
    is taken; if there is none, the network is converted, for its size alone. Without --board all
    boards are tried. The exit status is 1 if the model does not fit one of those that were named.

    \b
    Examples:
      tfresnet fit digits --board rpi-pico --board arduino-nano-33-ble
      tfresnet fit runs/quickstart/export/tflm/model_int8.tflite --flash 512K --ram 128K
      tfresnet fit --boards
    """
    from tfresnet.deploy.device import boards, fit

    if lists:
        _list(list(boards.table().values()), as_json)
        return
    if model is None:
        raise click.UsageError("expected a MODEL, or --boards")
    if (flash is None) != (ram is None):
        raise click.UsageError("--flash, --ram: expected both or none")
    chosen = [boards.named(name) for name in dict.fromkeys(names)]
    if flash is not None and ram is not None:
        chosen.append(boards.custom(flash, ram))
    with stdout_to_stderr(as_json):
        found = fit.fit(_content(model), chosen or list(boards.table().values()))
    if as_json:
        print_json({"model": str(model), "boards": [board.to_dict() for board in found]})
    else:
        _show(found)
    ctx.exit(0 if all(board.fits for board in found) or not chosen else 1)


def _content(model: Path) -> bytes:
    """Return a TFLite file without what is behind it, of a file, a run or a shipped network."""
    from tfresnet.deploy import micro_file
    from tfresnet.deploy.formats import graph
    from tfresnet.runs import shipped
    from tfresnet.runs.run_directory import open_run
    from tfresnet.runtime.probe import open_unknown
    from tfresnet.runtime.terminal import printable

    if shipped.is_name(model) or model.is_dir():
        file = micro_file.exported(model)
        if file is None:
            open_run(model)  # raises an InputError if it is none
            click.echo(f"Converting {printable(model)} for TFLite Micro, for its size", err=True)
            return micro_file.converted(model)
        click.echo(f"Taking {printable(file)}", err=True)
        model = file
    if model.suffix.lower() != ".tflite":
        raise InputError(f"expected a .tflite file, a run or a shipped network, got {model}")
    open_unknown(model)  # raises an InputError if it does not exist or is damaged
    return graph.without_metadata(model.read_bytes())


def _show(found: list[Any]) -> None:
    from tabulate import tabulate

    rows = [
        [
            b.name, "yes" if b.fits else "no",
            f"{b.flash_bytes / 1024:,.0f}", f"{b.flash_limit / 1024:,.0f}",
            f"{b.ram_bytes / 1024:,.0f}", f"{b.ram_limit / 1024:,.0f}",
            "-" if b.ms is None else f"{b.ms:.2f}",
        ]
        for b in found
    ]  # fmt: skip
    heads = ["board", "fits", "flash", "of KiB", "RAM", "of KiB", "ms"]
    align = ["left", "left", *["right"] * 5]
    click.echo(tabulate(rows, heads, "plain", disable_numparse=True, colalign=align))
    for board in found:
        for text in board.problems:
            click.echo(f"{board.name}: {text}")
        for text in board.advice:
            click.echo(f"{board.name}: it would fit with {text}")
        if board.ms is not None:
            click.echo(f"{board.name}: {board.ms:.2f} ms by {board.sources['ms']}")
    for key in ("flash", "ram"):
        for text in dict.fromkeys(board.sources[key] for board in found):
            click.echo(f"{key}: {text}")


def _list(known: list[Any], as_json: bool) -> None:
    from dataclasses import asdict

    from tabulate import tabulate

    from tfresnet.deploy.device import fit

    if as_json:
        print_json({"boards": [asdict(board) for board in known]})
        return
    sizes = [[fit.size_text(kib * 1024) for kib in (b.flash, b.ram, b.reserved)] for b in known]
    rows = [[b.name, b.title, *found] for b, found in zip(known, sizes, strict=True)]
    heads = ["name", "board", "flash", "RAM", "reserved"]
    align = ["left", "left", "right", "right", "right"]
    click.echo(tabulate(rows, heads, "plain", disable_numparse=True, colalign=align))
