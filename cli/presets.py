"""``tfresnet presets``."""

from typing import Any

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes
from tfresnet.cli.output import hanging


@click.command("presets")
@click.argument("name", required=False)
@json_option
@reports_mistakes
def command(name: str | None, as_json: bool) -> None:
    """List the presets, or print the YAML of one, as a start for a file of your own.

    Top-1 and minutes are from the records in results/ with the preset's number of epochs; a
    dash: not measured.

    \b
    Examples:
      tfresnet presets
      tfresnet presets cifar10-resnet20 > mine.yaml
    """
    from tfresnet.config import loading
    from tfresnet.runs import experiments
    from tfresnet.runtime.errors import unknown

    texts = loading.presets()
    if name and name not in texts:
        raise unknown("preset", name, texts)
    if name and not as_json:
        click.echo(texts[name], nl=False)
        return
    measured = [experiment.summary() for experiment in experiments.shipped()]
    rows: list[dict[str, Any]] = [
        loading.load(n).model_dump() | {"results": [m for m in measured if m["preset"] == n]}
        for n in ([name] if name else texts)
    ]
    if as_json:
        print_json({"presets": rows})
        return
    width = max(map(len, texts))
    click.echo(f"{'preset':<{width}}  epochs   top-1  minutes  description")
    for row in rows:
        epochs = row["train"]["epochs"]
        own = next((m for m in row["results"] if m["epochs"] == epochs), None)
        top1, minutes = (f"{own['test_top1']:.2%}", f"{own['minutes']:.0f}") if own else ("-", "-")
        line = f"{row['name']:<{width}}  {epochs:>6}  {top1:>6}  {minutes:>7}  "
        click.echo(hanging(line, row["description"]))
