"""``tfresnet convert-weights``."""

from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, set_option
from tfresnet.system.native_stderr import quiet_tensorflow


@click.command("convert-weights")
@click.argument("file", type=PATH)
@click.option("--arch", help="Architecture; see tfresnet models (default: the one that fits).")
@click.option("--out", required=True, type=PATH, help="Folder of the new run.")
@click.option("--labels", type=PATH, help="File with a class name on each line.")
@click.option(
    "--new-head", type=click.IntRange(2), metavar="CLASSES",
    help="Replace the head by an untrained one (for train --init-from).",
)  # fmt: skip
@click.option(
    "--mean", nargs=3, type=float, metavar="R G B",
    help="Mean of the pixels in training, 0 to 255 or 0 to 1 (default: the library's).",
)  # fmt: skip
@click.option("--std", nargs=3, type=float, metavar="R G B", help="Standard deviation, likewise.")
@click.option(
    "--entry", metavar="KEY",
    help="Which dict of weights in a file that has several, such as state_dict_ema.",
)  # fmt: skip
@set_option
@json_option
@reports_mistakes
def command(
    file: Path,
    arch: str | None,
    out: Path,
    labels: Path | None,
    new_head: int | None,
    mean: tuple[float, float, float] | None,
    std: tuple[float, float, float] | None,
    entry: str | None,
    overrides: tuple[str, ...],
    as_json: bool,
) -> None:
    """Make a run directory from the weights of another library.

    FILE is a PyTorch state dict of a ResNet, ResNeXt or DenseNet with torchvision's names, of a
    ResNet with timm's or those of public repositories for CIFAR, alone or in a checkpoint
    (.safetensors .pth .pt .th .pth.tar .bin .ckpt .pkl; PyTorch is not needed), or one of
    keras.applications' (.h5, .weights.h5): ResNet 50, 101, 152 and their V2, DenseNet,
    EfficientNet.
    The architecture is found by the names and shapes of the weights. If a tensor does not fit,
    nothing is written and the misfits are listed. No code in a file is run.

    \b
    Examples:
      tfresnet convert-weights resnet20-12fca82f.th --out runs/r20
      tfresnet convert-weights resnet50.safetensors --labels names.txt --out runs/r50
      tfresnet convert-weights ckpt.pth --mean 0.4914 0.4822 0.4465 --std 0.2023 0.1994 0.2010 \
        --out runs/r18
    """
    from tfresnet.runs import preflight

    preflight.conversion(file, arch, out, labels, overrides)
    quiet_tensorflow()
    from tfresnet.runs.convert_weights import convert

    run, not_finite = convert(file, arch, out, overrides, labels, new_head, mean, std, entry)
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
