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

    Result and minutes are from the records in results/ with the preset's number of epochs; a
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
    measured = experiments.shipped()
    presets = [loading.load(n) for n in ([name] if name else texts)]
    if as_json:
        rows: list[dict[str, Any]] = [
            preset.model_dump()
            | {"results": [m.summary() for m in measured if m.first.preset == preset.name]}
            for preset in presets
        ]
        print_json({"presets": rows})
        return
    width = max(map(len, texts))
    click.echo(f"{'preset':<{width}}  epochs  result        minutes  description")
    for preset in presets:
        own = experiments.of_preset(preset, measured)
        result, minutes = (own.headline(), f"{own.minutes:.0f}") if own else ("-", "-")
        line = f"{preset.name:<{width}}  {preset.train.epochs:>6}  {result:<12}  {minutes:>7}  "
        click.echo(hanging(line, preset.description))
