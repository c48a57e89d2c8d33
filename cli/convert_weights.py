"""``tfresnet convert-weights``."""

from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, set_option
from tfresnet.system.native_stderr import quiet_tensorflow


@click.command("convert-weights")
@click.argument("file", type=PATH)
@click.option("--arch", required=True, help="Architecture; see tfresnet models.")
@click.option("--out", required=True, type=PATH, help="Folder of the new run.")
@click.option("--labels", type=PATH, help="File with a class name on each line.")
@click.option(
    "--new-head", type=click.IntRange(2), metavar="CLASSES",
    help="Replace the head by an untrained one (for train --init-from).",
)  # fmt: skip
@click.option(
    "--mean", nargs=3, type=float, metavar="R G B",
    help="Mean of the pixels in training, 0 to 255 (default: the library's).",
)  # fmt: skip
@click.option("--std", nargs=3, type=float, metavar="R G B", help="Standard deviation, likewise.")
@set_option
@json_option
@reports_mistakes
def command(
    file: Path,
    arch: str,
    out: Path,
    labels: Path | None,
    new_head: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a run directory from the weights of another library.

    FILE is a PyTorch state dict of a ResNet, ResNeXt or DenseNet with torchvision's names, or
    of a ResNet with timm's (.safetensors; .pth, .pt and .bin where torch is installed), or
    one of keras.applications' (.h5, .weights.h5): ResNet 50, 101, 152 and their V2, DenseNet,
    EfficientNet.
    If a tensor does not fit, nothing is written and the misfits are listed. No code in a file
    is run.

    \b
    Examples:
      tfresnet convert-weights resnet50.safetensors --arch resnet50 --out runs/r50
      tfresnet convert-weights resnet18.pth --arch resnet18 --labels names.txt --out runs/r18
    """
    from tfresnet.runs import preflight

    preflight.conversion(file, arch, out, labels, overrides)
    quiet_tensorflow()
    from tfresnet.runs.convert_weights import convert

    run, not_finite = convert(file, arch, out, overrides, labels, new_head, mean, std)
    if not_finite:
        click.echo(f"Warning: NaN or infinity in {', '.join(not_finite[:5])}", err=True)
    if as_json:
        print_json({"run": str(out), **run.finished_result().to_dict()})
        return
    if new_head:
        click.echo(
            f"{run.config.model.arch} with an untrained head is in {out}. To train it: "
            f"tfresnet train --init-from {out} --dataset IMAGES"
        )
        return
    click.echo(
        f"{run.config.model.arch} with {len(run.output.labels)} classes is in {out}. "
        f"To export it: tfresnet export {out} --dataset IMAGES, a folder of those classes"
    )
