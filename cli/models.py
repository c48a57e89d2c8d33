"""``tfresnet models``; loads no TensorFlow."""

import textwrap
from dataclasses import asdict
from typing import Any

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes
from tfresnet.cli.output import columns

INDENTED: dict[str, Any] = {
    "initial_indent": "    ", "subsequent_indent": "    ",
    "break_long_words": False, "break_on_hyphens": False,
}  # fmt: skip


@click.command("models")
@json_option
@reports_mistakes
def command(as_json: bool) -> None:
    """List the architectures, with parameters, multiply-adds and measured results.

    Multiply-adds are for one image of the size that the architecture was published for.
    Results are means of all seeds, from the records in results/. Below an architecture are
    the names of weights that train --init-from fetches from the hub or from Keras, the first
    one for --pretrained; * are on this machine. Below all are the trained networks that ship
    with tfresnet, whose names are taken wherever a run is.

    \b
    Example:
      tfresnet models --json
    """
    from tfresnet.models import costs
    from tfresnet.runs import experiments, hub, shipped_networks

    rows: list[dict[str, Any]] = [{"name": name, **cost} for name, cost in costs.table().items()]
    measured = experiments.shipped()
    of = {row["name"]: [m for m in measured if m.first.arch == row["name"]] for row in rows}
    weights = {row["name"]: hub.listed(row["name"]) for row in rows}
    trained = shipped_networks.networks()
    if as_json:
        found = [
            row
            | {"results": [m.summary() for m in of[row["name"]]]}
            | {"weights": [asdict(each) for each in weights[row["name"]]]}
            for row in rows
        ]
        print_json({"models": found, "trained": [asdict(one) for one in trained]})
        return
    click.echo(f"{'name':<18}{'parameters':>12}{'multiply-adds':>16}{'image':>7}  measured")
    for r in rows:
        shown = [
            f"{m.headline()} {m.first.preset} ({m.first.epochs} epochs)" for m in of[r["name"]]
        ]
        row = f"{r['name']:<18}{r['parameters']:>12,}{r['macs']:>16,}{r['image_size']:>7}"
        click.echo(_with_results(row, shown))
        if names := [f"{w.name}{'*' if w.cached else ''}" for w in weights[r["name"]]]:
            click.echo(textwrap.fill(", ".join(names), columns(), **INDENTED))
    click.echo("\nTrained, in the package:")
    for one in trained:
        number = f"{one.heading} {one.value:.2%}"
        click.echo(f"{one.name:<28}{one.arch:<12}{number:<15} {one.bytes:>9,} bytes")


def _with_results(row: str, results: list[str]) -> str:
    """Append results to a row, or put each on a line below if the row gets too long."""
    line = f"{row}  {', '.join(results)}".rstrip()
    return line if len(line) <= columns() else "\n    ".join([row, *results])
