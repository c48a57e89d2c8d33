"""``tfresnet models``."""

import click

from tfresnet.cli.common import json_option, print_json, quiet_tensorflow, reports_mistakes


@click.command("models")
@json_option
@reports_mistakes
def command(as_json: bool) -> None:
    """List the architectures, with parameters and multiply-adds at their native size.

    \b
    Example:
      tfresnet models --json
    """
    quiet_tensorflow()
    from tfresnet.deploy import describe
    from tfresnet.models.zoo import ARCHITECTURES

    rows = []
    for name, row in ARCHITECTURES.items():
        facts = describe.architecture(name)
        rows.append(
            {
                "name": name,
                "parameters": facts["parameters"],
                "macs": facts["macs"],
                "image_size": row.image_size,
            }
        )
    if as_json:
        print_json({"models": rows})
        return
    click.echo(f"{'name':<12}{'parameters':>14}{'multiply-adds':>18}{'image':>8}")
    for r in rows:
        click.echo(f"{r['name']:<12}{r['parameters']:>14,}{r['macs']:>18,}{r['image_size']:>8}")
