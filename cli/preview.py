"""``tfresnet preview``."""

from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, stdout_to_stderr
from tfresnet.cli.configuration import configuration_options
from tfresnet.system.native_stderr import quiet_tensorflow


@click.command("preview")
@configuration_options
@click.option(
    "--out", type=PATH, default=Path("preview.png"), show_default=True,
    help="Where to write the picture.",
)  # fmt: skip
@json_option
@reports_mistakes
def command(preset: str | None, settings: list[str], out: Path, as_json: bool) -> None:
    """Draw the augmented images that a network is trained on, with their labels, masks or boxes.

    These are the first batches of `tfresnet train` with the same options, settings and seed.
    Mixed images have the share of each class; with masks it is that of the pixels.

    \b
    Examples:
      tfresnet preview
      tfresnet preview --arch resnet18 --dataset path/to/folder --set data.image_size=96
      tfresnet preview digits-detect
      tfresnet preview cifar10-resnet18 --set data.randaugment=2 --out augmented.png
    """
    from tfresnet.runs import preflight
    from tfresnet.runs.request import configuration
    from tfresnet.runtime.errors import InputError
    from tfresnet.system.files import write_bytes

    if out.suffix.lower() != ".png":
        raise InputError(f"--out: expected a name that ends in .png, got {out}")
    config = configuration(preset, settings)
    preflight.training(config)
    quiet_tensorflow()
    from tfresnet.models import zoo
    from tfresnet.training.preview import preview

    with stdout_to_stderr(as_json):
        picture = preview(config, zoo.architecture(config.model.arch).image_size)
    write_bytes(out, picture)
    if as_json:
        print_json({"picture": str(out)})
    else:
        click.echo(f"{config.name}: the first training batches are drawn in {out}")
