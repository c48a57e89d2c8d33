"""``tfresnet evaluate``."""

from pathlib import Path

import click

from tfresnet.cli.common import (
    PATH,
    data_options,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.system.native_stderr import quiet_tensorflow
from tfresnet.tasks.headings import HEADINGS


@click.command("evaluate")
@click.argument("model", type=PATH)
@data_options
@click.option(
    "--split",
    help="Another split of a TFDS dataset (test, train[45000:], ...), or part of a folder of masks "
    "or boxes (val, ...).",
)
@click.option("--flip", is_flag=True, help="Average the predictions for an image and its flip.")
@click.option(
    "--corruptions",
    metavar="NAMES",
    help="Also on corrupted images: all, or some, comma-separated.",
)
@click.option(
    "--severities", metavar="N,N", help="Of the corruptions, 5 is worst (default: 1,2,3,4,5)."
)
@click.option(
    "--plots",
    type=PATH,
    help="Folder for reliability.png and, of up to 30 classes, confusion.png.",
)
@json_option
@reports_mistakes
def command(
    model: Path,
    data: dict[str, str],
    split: str | None,
    flip: bool,
    corruptions: str | None,
    severities: str | None,
    plots: Path | None,
    as_json: bool,
) -> None:
    """Measure a run, a model file or a SavedModel on every held-out image.

    The corruptions are gaussian_noise, shot_noise, impulse_noise, speckle_noise, gaussian_blur,
    brightness, saturate, contrast, pixelate and jpeg_compression. ECE is the expected calibration
    error, the interval Wilson's score interval. In multi-label classification mAP is the mean of
    the labels' average precisions.

    \b
    Examples:
      tfresnet evaluate runs/quickstart
      tfresnet evaluate cifar10-resnet20 --data-dir path/to/tensorflow_datasets
      tfresnet evaluate runs/quickstart/export/model_int8.tflite --json
      tfresnet evaluate runs/cifar10-resnet20 --corruptions all --plots pictures
    """
    if severities and not corruptions:
        raise click.UsageError("--severities: expected --corruptions too, got none")
    chosen = _severities(severities)
    names = _corruptions(corruptions, chosen)
    if split is not None:
        data["eval_split"] = split
    from tfresnet.deploy import subject

    found = subject.find(model, data)
    quiet_tensorflow()
    from tfresnet.deploy import evaluate_model

    with stdout_to_stderr(as_json):
        result = evaluate_model.evaluate(model, data, flip, names, chosen, plots)
    if as_json:
        print_json(result)
        return
    headings = HEADINGS[found.output.task]
    for line in headings.lines(result):
        click.echo(line)
    click.echo(f"{headings.per_class}:")
    counts = result.get("per_class_counts", {})
    for label, value in result["per_class"].items():
        shown = "-" if value is None else f"{value:.2%}"
        count = f"  on {counts[label]:,}" if counts else ""
        click.echo(f"  {label:<20} {shown:>8}{count}")
    for name, row in result.get("corruptions", {}).items():
        click.echo(f"  {name:<20} " + "  ".join(f"{s}: {value:.2%}" for s, value in row.items()))
    if "corruptions" in result:
        mean = result[f"corrupted_{headings.primary}"]
        click.echo(f"{headings.heading} {mean:.2%} in the mean of these")
    for path in result.get("plots", []):
        click.echo(path)


def _corruptions(text: str | None, severities: list[int]) -> list[str]:
    if not text:
        return []
    from tfresnet.data.corruptions import CORRUPTIONS, check

    names = list(CORRUPTIONS) if text == "all" else _list(text)
    for name in names:
        check(name, severities)
    return names


def _list(text: str | None) -> list[str]:
    return [part.strip() for part in text.split(",")] if text else []


def _severities(text: str | None) -> list[int]:
    try:
        return [int(part) for part in _list(text or "1,2,3,4,5")]
    except ValueError:
        raise click.UsageError(f"--severities: expected 1 to 5, as in 1,3,5, got {text}") from None
