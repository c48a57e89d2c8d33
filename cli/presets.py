"""``tfresnet presets``."""

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes


@click.command("presets")
@click.argument("name", required=False)
@json_option
@reports_mistakes
def command(name: str | None, as_json: bool) -> None:
    """List the presets, or print one's YAML, to start a file of your own from.

    \b
    Examples:
      tfresnet presets
      tfresnet presets cifar10-resnet20 > mine.yaml
    """
    from tfresnet import config
    from tfresnet.errors import unknown

    texts = config.presets()
    if name and name not in texts:
        raise unknown("preset", name, texts)
    chosen = {name: texts[name]} if name else texts
    if as_json:
        loaded = {n: config.load(n) for n in chosen}
        print_json({"presets": [c.model_dump() for c in loaded.values()]})
    elif name:
        click.echo(texts[name], nl=False)
    else:
        width = max(map(len, texts))
        for n in texts:
            click.echo(f"{n:<{width}}  {config.load(n).description}")
