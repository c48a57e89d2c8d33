"""``tfresnet predict``: no TensorFlow in this one."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfresnet.cli.common import (
    PATH,
    ExpandedPath,
    json_option,
    model_file,
    print_json,
    reports_mistakes,
)

if TYPE_CHECKING:
    from tfresnet.runtime.errors import InputError

LEAST = 5e-5  # that is printed: what is less would be 0.00%


@click.command("predict")
@click.argument("model", type=PATH)
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=ExpandedPath())
@click.option("--top", type=click.IntRange(1), help="Answers each (default: 5; multi-label: all).")
@click.option(
    "--threshold",
    type=click.FloatRange(0, 1),
    help="Probability of a label that counts, of a multi-label file (default: 0.5).",
)
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@json_option
@reports_mistakes
def command(
    model: Path,
    images: tuple[str, ...],
    top: int | None,
    threshold: float | None,
    threads: int,
    as_json: bool,
) -> None:
    """Classify pictures with a .tflite or .onnx file, as a device would.

    MODEL may be a run, of which the best exported file is taken: int8 TFLite, if it passed. IMAGE
    may be a folder. A picture that can't be read is named, the others are classified, and the exit
    status is 1. A file of export --features gives embeddings instead, a multi-label one also the
    labels whose probability is at least the threshold.

    \b
    Examples:
      tfresnet predict runs/quickstart/export/model_int8.tflite runs/quickstart/samples/*.png
      tfresnet predict runs/quickstart photo.jpg folder
    """
    from tfresnet.runtime.decode import THRESHOLD
    from tfresnet.runtime.picture_files import pictures_in
    from tfresnet.runtime.predictor import Embedder, open_file

    skipped: list[dict[str, str]] = []

    def skip(image: Any, error: "InputError") -> None:
        click.echo(f"Error: {error}", err=True)
        skipped.append({"image": str(image), "reason": str(error).removeprefix(f"{image}: ")})

    opened = open_file(model_file(model), threads)
    if threshold is not None and not opened.multi_label:
        raise click.UsageError(f"--threshold: expected a multi-label file, got {model}")
    chosen = THRESHOLD if threshold is None else threshold
    pictures = pictures_in(images, skip)
    predictions: list[dict[str, Any]] = []
    if isinstance(opened, Embedder):
        for image, embedding in opened.stream(pictures, skip):
            predictions.append({"image": image, "embedding": embedding.tolist()})
    else:
        for answer in opened.stream(pictures, top, skip, chosen):
            prediction = {"image": answer.picture, "top": _named(answer.top)}
            if answer.labels is not None:
                prediction["labels"] = _named(answer.labels)
            predictions.append(prediction)
    if skipped and not predictions:
        sys.exit(2)
    if as_json:
        print_json({"predictions": predictions, "skipped": skipped})
    else:
        _show(predictions)
    sys.exit(1 if skipped else 0)


def _named(answers: list[tuple[str, float]]) -> list[dict[str, Any]]:
    return [{"label": label, "probability": probability} for label, probability in answers]


def _show(predictions: list[dict[str, Any]]) -> None:
    from tfresnet.runtime.terminal import printable

    for prediction in predictions:
        labels = ""
        if "labels" in prediction:
            names = ", ".join(answer["label"] for answer in prediction["labels"])
            labels = f": {names or 'none of the labels'}"
        click.echo(f"{printable(prediction['image'])}{labels}")
        if "embedding" in prediction:
            numbers = prediction["embedding"]
            shown = " ".join(f"{x:.4g}" for x in numbers[:6])
            click.echo(f"  {len(numbers)} numbers: {shown} ... (all: --json)")
            continue
        top = prediction["top"]
        for answer in [a for a in top if a["probability"] >= LEAST] or top[:1]:
            click.echo(f"  {answer['probability']:7.2%}  {answer['label']}")
