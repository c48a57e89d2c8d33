"""``tfresnet models``; loads no TensorFlow."""

from typing import Any

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes
from tfresnet.cli.output import columns


@click.command("models")
@json_option
@reports_mistakes
def command(as_json: bool) -> None:
    """List the architectures, with parameters, multiply-adds and measured results.

    Multiply-adds are for one image of the size that the architecture was published for.
    Results are means of all seeds, from the records in results/.

    \b
    Example:
      tfresnet models --json
    """
    from tfresnet.models import costs
    from tfresnet.runs import experiments

    rows: list[dict[str, Any]] = [{"name": name, **cost} for name, cost in costs.table().items()]
    measured = experiments.shipped()
    of = {row["name"]: [m for m in measured if m.first.arch == row["name"]] for row in rows}
    if as_json:
        found = [row | {"results": [m.summary() for m in of[row["name"]]]} for row in rows]
        print_json({"models": found})
        return
    click.echo(f"{'name':<18}{'parameters':>12}{'multiply-adds':>16}{'image':>7}  measured")
    for r in rows:
        shown = [
            f"{m.headline()} {m.first.preset} ({m.first.epochs} epochs)" for m in of[r["name"]]
        ]
        row = f"{r['name']:<18}{r['parameters']:>12,}{r['macs']:>16,}{r['image_size']:>7}"
        click.echo(_with_results(row, shown))


def _with_results(row: str, results: list[str]) -> str:
    """Append results to a row, or put each on a line below if the row gets too long."""
    line = f"{row}  {', '.join(results)}".rstrip()
    return line if len(line) <= columns() else "\n    ".join([row, *results])
