"""The options of ``tfresnet export``, and which of them do not go together."""

from collections.abc import Callable
from typing import Any

import click

from tfresnet.cli.common import data_options
from tfresnet.deploy.plan import FORMATS, INTERFACES, KINDS, USUAL

COUNT = click.IntRange(1)
Decorator = Callable[[Callable], Callable]


def _clusters(context: click.Context, option: click.Parameter, count: int) -> int:
    if count == 1 or count < 0:
        raise click.BadParameter(f"expected 0 (off) or at least 2 clusters, got {count}")
    return count


WHAT: list[Decorator] = [  # and in which form
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
HOW_WELL: list[Decorator] = [
    click.option("--max-drop", default=1.0, show_default=True, metavar="POINTS",
                 help="Largest loss of top-1 (multi-label: mAP) against the checkpoint."),
    click.option("--auto", is_flag=True,
                 help="Try int8, then what helps with the budget that was missed: int4 if it is "
                 "too large; layers in float while they fit, and then --qat-epochs (default: 5), "
                 "if it lost too much; float32 if int8 is too slow here."),
    click.option("--max-bytes", type=COUNT, metavar="N", help="Of the file, with --auto."),
    click.option("--max-latency", type=float, metavar="MS",
                 help="Of one image on one thread here, with --auto."),
    click.option("--calibration-images", default=500, show_default=True, type=COUNT,
                 help="Training images that set integer ranges."),
    click.option("--calibration-seed", default=0, show_default=True, help="Chooses them."),
    click.option("--verify-images", type=COUNT,
                 help="Held-out images to measure on (default: all)."),
    data_options,
]  # fmt: skip
TRAINED: list[Decorator] = [
    click.option("--qat-epochs", default=0, metavar="N", type=click.IntRange(0),
                 help="Also int8 files after N epochs of quantisation-aware training."),
    click.option("--prune", default=0.0, metavar="S", type=click.FloatRange(0, 1, max_open=True),
                 help="Also files with this share of the weights at 0, fine-tuned (TFLite)."),
    click.option("--sparsity", type=click.Choice(["unstructured", "2:4"]), default="unstructured",
                 show_default=True, help="Pattern of --prune; 2:4: 2 of every 4 weights."),
    click.option("--cluster", default=0, metavar="N", callback=_clusters,
                 help="Also files with N different values in each kernel, fine-tuned (TFLite)."),
    click.option("--compress-epochs", default=5, show_default=True, type=COUNT,
                 help="Of fine-tuning for --prune and for --cluster."),
]  # fmt: skip


def export_options(function: Callable) -> Callable:
    """Give a command all options of ``tfresnet export``."""
    for option in reversed(WHAT + HOW_WELL + TRAINED):
        function = option(function)
    return function


def check(
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
