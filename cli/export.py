"""``tfresnet export``."""

import os
import sys
from pathlib import Path

import click

from tfresnet.cli.common import (
    json_option,
    print_json,
    quiet_tensorflow,
    reports_mistakes,
    stdout_to_stderr,
)

KINDS = ("float32", "float16", "dynamic", "int8")


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@click.option("--tflite", is_flag=True, help="TFLite, in every --quantize kind.")
@click.option("--onnx", is_flag=True, help="ONNX, float32.")
@click.option("--saved-model", is_flag=True, help="SavedModel, float32.")
@click.option(
    "--quantize", "kinds", multiple=True, type=click.Choice(KINDS),
    help="Of the TFLite files; repeat for several (default: all).",
)  # fmt: skip
@click.option(
    "--qat-epochs", default=0, metavar="N", type=click.IntRange(0),
    help="Also an int8 TFLite file after N epochs of quantisation-aware training.",
)  # fmt: skip
@click.option("--features", is_flag=True, help="The embedding, without the head.")
@click.option(
    "--max-drop", default=1.0, show_default=True, metavar="POINTS",
    help="Largest loss of top-1 against the checkpoint.",
)  # fmt: skip
@click.option("--dataset", help="The run's folder of images, if it has moved.")
@click.option("--data-dir", help="Where TFDS keeps its data (default: $TFDS_DATA_DIR).")
@click.option("--calibration-images", default=500, show_default=True, type=click.IntRange(1))
@click.option(
    "--verify-images", type=click.IntRange(1), help="Held-out images to measure on (default: all)."
)
@json_option
@reports_mistakes
def command(
    run: Path,
    tflite: bool,
    onnx: bool,
    saved_model: bool,
    kinds: tuple[str, ...],
    qat_epochs: int,
    features: bool,
    max_drop: float,
    dataset: str | None,
    data_dir: str | None,
    calibration_images: int,
    verify_images: int | None,
    as_json: bool,
) -> None:
    """Write model files into RUN/export/ and measure each against the checkpoint.

    Every file takes uint8 pixels, gives probabilities, and holds its labels and
    preprocessing. Without a format: TFLite and ONNX. With --features the files give the
    embedding that the head classifies, go to RUN/export/features/, and are measured with the
    checkpoint's head behind them. The exit status is 1 if a file lost more than it may; it is
    kept and named.

    \b
    Examples:
      tfresnet export runs/quickstart
      tfresnet export runs/quickstart --tflite --quantize int8 --max-drop 0.5
      tfresnet export runs/quickstart --tflite --qat-epochs 5
    """
    from tfresnet import run as runs

    if kinds and not tflite and (onnx or saved_model):
        raise click.UsageError("--quantize: expected --tflite with it; the others are float32")
    if qat_epochs and features:
        raise click.UsageError("expected --qat-epochs or --features, got both")
    opened = runs.open_run(run)
    quiet_tensorflow()
    from rich.console import Console

    from tfresnet.deploy import export as stages
    from tfresnet.deploy.proof import report as reports

    chosen = {"tflite": tflite, "onnx": onnx, "saved_model": saved_model}
    options = stages.Options(
        formats=tuple(f for f, wanted in chosen.items() if wanted) or ("tflite", "onnx"),
        quantizations=kinds or KINDS,
        qat_epochs=qat_epochs,
        features=features,
        max_drop=max_drop,
        calibration_images=calibration_images,
        verify_images=verify_images,
        threads=os.cpu_count() or 1,
    )
    with Console(stderr=True).status("") as status, stdout_to_stderr(as_json):
        given = {"dataset": dataset, "data_dir": data_dir}
        data = {key: value for key, value in given.items() if value is not None}
        report = stages.export(opened, options, lambda stage: status.update(f"{stage} ..."), data)
    if as_json:
        print_json(report)
    else:
        Console().print(reports.table(report["artifacts"], report["checkpoint_top1"], report["n"]))
        bundle = f", for the device: {report['bundle']}/" if report["bundle"] else ""
        where = f"{run}/export/features/" if features else f"{run}/export/"
        click.echo(f"Files: {where}{bundle}")
    failed = [a for a in report["artifacts"] if a["failures"]]
    for artifact in failed:
        click.echo(f"Failed: {artifact['path']}: {'; '.join(artifact['failures'])}", err=True)
    sys.exit(1 if failed else 0)
