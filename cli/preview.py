"""``tfresnet preview``."""

from pathlib import Path

import click

from tfresnet.cli.common import (
    json_option,
    print_json,
    reports_mistakes,
    set_option,
    stdout_to_stderr,
)
from tfresnet.native_stderr import quiet_tensorflow


@click.command("preview")
@click.argument("preset", metavar="PRESET or FILE.yaml")
@set_option
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("preview.png"), show_default=True,
    help="Where to write the picture.",
)  # fmt: skip
@json_option
@reports_mistakes
def command(preset: str, overrides: tuple[str, ...], out: Path, as_json: bool) -> None:
    """Draw what the network sees in training: augmented images, with their labels below.

    These are the first batches of a run with the same settings and seed. Mixed images
    have the share of each class.

    \b
    Examples:
      tfresnet preview quickstart
      tfresnet preview cifar10-resnet18 --set data.randaugment=2 --out augmented.png
    """
    from tfresnet import config as configs
    from tfresnet.errors import UserError
    from tfresnet.files import write_bytes

    if out.suffix.lower() != ".png":
        raise UserError(f"--out: expected a name that ends in .png, got {out}")
    config = configs.load(preset, overrides)
    quiet_tensorflow()
    from tfresnet.data.preview import preview
    from tfresnet.models import zoo

    with stdout_to_stderr(as_json):
        picture = preview(config, zoo.architecture(config.model.arch).image_size)
    write_bytes(out, picture)
    if as_json:
        print_json({"picture": str(out)})
    else:
        click.echo(f"{config.name}: the first training batches are drawn in {out}")
