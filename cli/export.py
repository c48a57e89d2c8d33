"""``tfresnet export``."""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    json_option,
    print_json,
    quiet_tensorflow,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.deploy.plan import FORMATS, INTERFACES, KINDS, USUAL

COUNT = click.IntRange(1)


def _clusters(context: click.Context, option: click.Parameter, count: int) -> int:
    if count == 1 or count < 0:
        raise click.BadParameter(f"expected 0 (off) or at least 2 clusters, got {count}")
    return count


WHAT = [  # and in which form
    click.option("--tflite", is_flag=True, help="TFLite files."),
    click.option("--onnx", is_flag=True, help="ONNX files."),
    click.option("--saved-model", is_flag=True, help="SavedModel, float32, for TF Serving."),
    click.option("--tflm", is_flag=True, help="int8 as a C array, for TFLite Micro."),
    click.option(
        "--quantize", "quantizations", multiple=True, type=click.Choice(KINDS),
        help=f"Repeat for several (default: {', '.join(USUAL)}). ONNX has float32, float16, int8.",
    ),
    click.option(
        "--interface", type=click.Choice(INTERFACES), default="uint8", show_default=True,
        help="uint8: pixels in, float probabilities out; integer: int8 (or int16) in and out; "
        "float: (pixel - 128) / 128 in.",
    ),
    click.option(
        "--batch", type=click.IntRange(0), metavar="N",
        help="Images at a time; 0 for any number (default: 1 for TFLite, else any).",
    ),
    click.option("--layout", type=click.Choice(["nhwc", "nchw"]), default="nhwc",
                 show_default=True, help="Of ONNX inputs."),
    click.option("--opset", type=click.IntRange(13, 18), default=18, show_default=True,
                 help="Of ONNX."),
    click.option("--features", is_flag=True, help="The embedding, without the head."),
]  # fmt: skip
HOW_WELL = [
    click.option("--max-drop", default=1.0, show_default=True, metavar="POINTS",
                 help="Largest loss of top-1 against the checkpoint."),
    click.option("--auto", is_flag=True,
                 help="Try int8, then int8 with layers in float, then --qat-epochs (default: 5), "
                 "until --max-drop is met."),
    click.option("--max-bytes", type=COUNT, metavar="N", help="Of the file, with --auto."),
    click.option("--max-latency", type=float, metavar="MS",
                 help="Of one image on one thread here, with --auto."),
    click.option("--calibration-images", default=500, show_default=True, type=COUNT,
                 help="Training images that set integer ranges."),
    click.option("--calibration-seed", default=0, show_default=True, help="Chooses them."),
    click.option("--verify-images", type=COUNT,
                 help="Held-out images to measure on (default: all)."),
    click.option("--dataset", help="The run's folder of images, if it has moved."),
    click.option("--data-dir", help="Where TFDS keeps its data (default: $TFDS_DATA_DIR)."),
]  # fmt: skip
TRAINED = [
    click.option("--qat-epochs", default=0, metavar="N", type=click.IntRange(0),
                 help="Also int8 files after N epochs of quantisation-aware training."),
    click.option("--prune", default=0.0, metavar="S", type=click.FloatRange(0, 1, max_open=True),
                 help="Also files with this share of the weights at 0, fine-tuned."),
    click.option("--sparsity", type=click.Choice(["unstructured", "2:4"]), default="unstructured",
                 show_default=True, help="Pattern of --prune; 2:4: 2 of every 4 weights."),
    click.option("--cluster", default=0, metavar="N", callback=_clusters,
                 help="Also files with N different weights in each layer, fine-tuned."),
    click.option("--compress-epochs", default=5, show_default=True, type=COUNT,
                 help="Of fine-tuning for --prune and for --cluster."),
]  # fmt: skip


def _all(options: list[Callable]) -> Callable:
    def decorate(function: Callable) -> Callable:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


@click.command("export")
@click.argument("run", type=click.Path(path_type=Path))
@_all(WHAT + HOW_WELL + TRAINED)
@json_option
@reports_mistakes
def command(
    run: Path,
    tflite: bool,
    onnx: bool,
    saved_model: bool,
    tflm: bool,
    quantizations: tuple[str, ...],
    dataset: str | None,
    data_dir: str | None,
    auto: bool,
    max_bytes: int | None,
    max_latency: float | None,
    as_json: bool,
    **choices: Any,
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
      tfresnet export runs/quickstart --auto --max-drop 0.3 --max-bytes 100000
      tfresnet export runs/quickstart --onnx --quantize int8 --layout nchw --batch 1
    """
    from tfresnet import run as runs
    from tfresnet.deploy import plan

    chosen = {"tflite": tflite, "onnx": onnx, "saved_model": saved_model, "tflm": tflm}
    formats = tuple(f for f, wanted in chosen.items() if wanted) or ("tflite", "onnx")
    if auto:
        if formats not in (("tflite",), ("tflite", "onnx")) or onnx or quantizations:
            raise click.UsageError("--auto: expected it to choose the kind of a TFLite file itself")
        formats, quantizations = ("tflite",), ("int8",)
    _check(auto, formats, quantizations, max_bytes or max_latency, choices)
    options = plan.Options(
        formats=formats,
        quantizations=quantizations or USUAL,
        threads=os.cpu_count() or 1,
        **choices,
    )
    opened = runs.open_run(run)
    given = {"dataset": dataset, "data_dir": data_dir}
    data = {key: value for key, value in given.items() if value is not None}
    limits = {"max_bytes": max_bytes, "max_latency": max_latency} if auto else None
    report = _export(opened, options, data, limits, as_json)
    if as_json:
        print_json(report)
    else:
        _show(report, run, options.features)
    _warn(report)
    sys.exit(_status(report))


def _check(
    auto: bool,
    formats: tuple[str, ...],
    quantizations: tuple[str, ...],
    limited: float | None,
    choices: dict[str, Any],
) -> None:
    """Refuse what does not go together, before anything is loaded."""
    trained = [f"--{key}" for key in ("prune", "cluster") if choices[key]]
    if auto and (trained or choices["features"]):
        raise click.UsageError(f"--auto: expected no {(trained or ['--features'])[0]} beside it")
    if limited and not auto:
        raise click.UsageError("--max-bytes, --max-latency: expected --auto with them")
    if choices["features"] and (trained or choices["qat_epochs"]):
        raise click.UsageError(
            "expected --features or one of --qat-epochs, --prune, --cluster, got both"
        )
    known = {kind for form in formats for kind in FORMATS[form]}
    if unknown := [kind for kind in quantizations if kind not in known]:
        raise click.UsageError(
            f"--quantize {unknown[0]}: expected --tflite with it, got {', '.join(formats)}"
        )


def _export(
    run: Any, options: Any, data: dict[str, Any], limits: dict[str, Any] | None, as_json: bool
) -> dict[str, Any]:
    quiet_tensorflow()
    from rich.console import Console

    from tfresnet.deploy import export as stages
    from tfresnet.deploy.compress.auto import Budget

    with Console(stderr=True).status("") as status, stdout_to_stderr(as_json):

        def say(stage: str) -> None:
            status.update(f"{stage} ...")

        if limits is None:
            return stages.export(run, options, say, data)
        budget = Budget(options.max_drop, **limits)
        return stages.export_within(run, options, budget, say, data)


def _show(report: dict[str, Any], run: Path, features: bool) -> None:
    from rich.console import Console

    from tfresnet.deploy.proof import report as reports

    directory = run / "export" / ("features" if features else "")
    Console().print(
        reports.table(report["artifacts"], report["checkpoint_top1"], report["n"], directory)
    )
    for rung in report.get("ladder", []):
        click.echo(f"  {rung['rung']}: {'; '.join(rung['misses']) or 'within the budget'}")
    bundle = f", for the device: {report['bundle']}/" if report["bundle"] else ""
    where = f"{directory}/"
    click.echo(f"Files: {where}{bundle}\nWhat was lost, and where: {where}report.html")


def _warn(report: dict[str, Any]) -> None:
    for path in report["stale"]:
        click.echo(f"Older than the checkpoint: {path}; export it again or delete it", err=True)


def _status(report: dict[str, Any]) -> int:
    """Say what failed; return the exit status."""
    if "ladder" in report:
        if not report["chosen"]:
            click.echo("Failed: no file is within the budget; see what each one missed", err=True)
        return 0 if report["chosen"] else 1
    failed = [a for a in report["artifacts"] if a["failures"]]
    for artifact in failed:
        click.echo(f"Failed: {artifact['path']}: {'; '.join(artifact['failures'])}", err=True)
    return 1 if failed else 0
