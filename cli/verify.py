"""``tfresnet verify``: no TensorFlow."""

import sys
from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes


@click.command("verify")
@click.argument("path", type=PATH)
@click.option("--key", type=PATH, metavar="PUB", help="Public key in a PEM file.")
@click.option(
    "--certificate", "certificates", type=PATH, multiple=True,
    help="PEM file of who is trusted to issue certificates; repeat for more.",
)  # fmt: skip
@click.option("--identity", metavar="WHO", help="Of Sigstore; needs --issuer and the network.")
@click.option("--issuer", metavar="URL", help="Who confirms that identity.")
@json_option
@reports_mistakes
def command(
    path: Path,
    key: Path | None,
    certificates: tuple[Path, ...],
    identity: str | None,
    issuer: str | None,
    as_json: bool,
) -> None:
    """Check that an export, a bundle or a model file is as it was written, and by whom.

    Without a key, only the checksum inside each model file is looked at: it tells damage, not
    malice. The exit status is 1 if something was changed.

    \b
    Examples:
      tfresnet verify runs/quickstart --key publisher.pub
      tfresnet verify runs/quickstart/export/bundle --certificate company.pem
      tfresnet verify runs/quickstart/export/model_int8.tflite
    """
    from tfresnet.deploy import verification
    from tfresnet.deploy.signing import Trust
    from tfresnet.runtime.terminal import printable

    found = verification.of_path(path, Trust(key, certificates, identity, issuer))
    if as_json:
        print_json(found.to_dict())
    elif found.problem:
        click.echo(f"Changed: {found.problem}", err=True)
    else:
        click.echo(f"{printable(path)}: {found.text()}")
        for name, value in found.says.items():
            click.echo(f"{name:<14} {value}")
    sys.exit(1 if found.problem else 0)
