"""``tfresnet predict``; it loads no TensorFlow."""

import sys
from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    PATH,
    ExpandedPath,
    json_option,
    model_file,
    print_json,
    reports_mistakes,
)
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.terminal import printable

LEAST = 5e-5  # probability that is printed: less would be 0.00 %


@click.command("predict")
@click.argument("model", type=PATH)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=ExpandedPath())
@click.option(
    "--top", type=click.IntRange(1), help="Labels a picture (default: 5; multi-label: all)."
)
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability of a label that counts, of a multi-label file (default: 0.5), or score of "
    "an object (default: 0.3).",
)
@click.option(
    "--out",
    type=PATH,
    help="Folder for the pictures with the masks, boxes or points that were found drawn over them.",
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@json_option
@reports_mistakes
def command(
    model: Path,
    images: tuple[str, ...],
    top: int | None,
    threshold: float | None,
    out: Path | None,
    threads: int,
    as_json: bool,
) -> None:
    """Say what is in pictures with a .tflite, .onnx or .xml file, as a device would.

    MODEL may be a run, of which the best exported file is taken: int8 TFLite, if it passed; or the
    name of a shipped network, of which a float32 file is made once. IMAGE may be a folder. A
    picture that can't be read is named, the others are predicted, and the exit status is 1. A file
    of export --features gives embeddings instead, a multi-label one also the labels whose
    probability is at least the threshold, one of segmentation the share of the picture that each
    label covers, one of detection boxes, or their centers, in pixels; --out draws what was found.

    \b
    Examples:
      tfresnet predict runs/quickstart/export/model_int8.tflite runs/quickstart/samples/*.png
      tfresnet predict runs/quickstart photo.jpg folder
      tfresnet predict cifar10-resnet20 photo.jpg
    """
    from tfresnet.runtime.drawing import Drawings
    from tfresnet.runtime.picture_files import pictures_in
    from tfresnet.runtime.predictor import open_file

    skipped: list[dict[str, str]] = []

    def skip(image: Any, error: InputError) -> None:
        click.echo(f"Error: {error}", err=True)
        skipped.append({"image": str(image), "reason": str(error).removeprefix(f"{image}: ")})

    opened = open_file(model_file(model), threads)
    if threshold is not None and opened.threshold is None:
        raise click.UsageError(
            f"--threshold: expected a multi-label file or one that finds objects, got {model}"
        )
    if out and not opened.draws:
        raise click.UsageError(f"--out: expected a model that finds places, got {model}")
    found = opened.predictions(pictures_in(images, skip), skip, top, threshold)
    drawings = Drawings(out, opened.output) if out else None
    predictions = [
        {"image": one.picture, **one.to_dict(), **(drawings.write(one) if drawings else {})}
        for one in found
    ]
    if skipped and not predictions:
        sys.exit(2)
    if as_json:
        print_json({"predictions": predictions, "skipped": skipped})
    else:
        _show(predictions)
    sys.exit(1 if skipped else 0)


def _show(predictions: list[dict[str, Any]]) -> None:
    """Print predictions for a person: the keys of one say what it is."""
    for prediction in predictions:
        title, lines = printable(prediction["image"]), []
        if "embedding" in prediction:
            lines = [_numbers(prediction["embedding"])]
        if "labels" in prediction:
            names = ", ".join(one["label"] for one in prediction["labels"])
            title = f"{title}: {names or 'none of the labels'}"
        if top := prediction.get("top"):
            shown = [one for one in top if one["probability"] >= LEAST] or top[:1]
            lines = [f"{one['probability']:7.2%}  {one['label']}" for one in shown]
        if "boxes" in prediction:
            lines = [_box(one) for one in prediction["boxes"]] or ["nothing"]
        if "points" in prediction:
            lines = [_point(one) for one in prediction["points"]] or ["nothing"]
        if "shares" in prediction:
            lines = [f"{share:7.2%}  {label}" for label, share in prediction["shares"].items()]
        lines += [prediction[kind] for kind in ("picture", "mask") if prediction.get(kind)]
        click.echo("\n  ".join([title, *lines]))


def _box(one: dict[str, Any]) -> str:
    place = ", ".join(f"{x:.0f}" for x in one["box"])
    return f"{one['score']:7.2%}  {one['label']}  at {place}"


def _point(one: dict[str, Any]) -> str:
    return f"{one['score']:7.2%}  {one['label']}  at {one['x']:.0f}, {one['y']:.0f}"


def _numbers(embedding: list[float]) -> str:
    shown = " ".join(f"{x:.4g}" for x in embedding[:6])
    return f"{len(embedding)} numbers: {shown} ... (all: --json)"
