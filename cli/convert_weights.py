"""``tfresnet convert-weights``."""

from pathlib import Path

import click

from tfresnet.cli.common import (
    json_option,
    print_json,
    quiet_tensorflow,
    reports_mistakes,
    set_option,
)


@click.command("convert-weights")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--arch", required=True, help="Architecture; see tfresnet models.")
@click.option("--out", required=True, type=click.Path(path_type=Path), help="The new run.")
@click.option(
    "--labels", type=click.Path(path_type=Path), help="File with a class name on each line."
)
@set_option
@json_option
@reports_mistakes
def command(
    file: Path,
    arch: str,
    out: Path,
    labels: Path | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a run directory of weights that were trained elsewhere.

    FILE is a PyTorch state dict of a ResNet or ResNeXt with torchvision's names, which timm
    shares (.safetensors; .pth, .pt and .bin where torch is installed), or a ResNet 50, 101 or
    152 of keras.applications (.h5).
    Every tensor must fit, or nothing is written and the misfits are listed. No code in a file
    is run.

    \b
    Examples:
      tfresnet convert-weights resnet50.safetensors --arch resnet50 --out runs/r50
      tfresnet convert-weights resnet18.pth --arch resnet18 --labels names.txt --out runs/r18
    """
    quiet_tensorflow()
    from tfresnet.convert_weights import convert

    run, not_finite = convert(file, arch, out, overrides, labels)
    if not_finite:
        click.echo(f"Warning: NaN or infinity in {', '.join(not_finite[:5])}", err=True)
    if as_json:
        print_json({"run": str(out), **run.result})
        return
    click.echo(
        f"{run.config.model.arch} with {len(run.spec.labels)} classes is in {out}. "
        f"To export it: tfresnet export {out} --dataset IMAGES, a folder of those classes"
    )
