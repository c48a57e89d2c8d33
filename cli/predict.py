"""``tfresnet predict``: no TensorFlow in this one."""

from pathlib import Path
from typing import TYPE_CHECKING

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes

if TYPE_CHECKING:
    import numpy as np

LEAST = 5e-5  # that is printed: what is less would be 0.00%


@click.command("predict")
@click.argument("model", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, metavar="IMAGE...", type=click.Path())
@click.option("--top", default=5, show_default=True, type=click.IntRange(1), help="Answers each.")
@click.option("--threads", default=1, show_default=True, type=click.IntRange(1))
@json_option
@reports_mistakes
def command(model: Path, images: tuple[str, ...], top: int, threads: int, as_json: bool) -> None:
    """Classify pictures with a .tflite or .onnx file, as a device would.

    A file of export --features gives embeddings instead.

    \b
    Example:
      tfresnet predict runs/quickstart/export/model_int8.tflite runs/quickstart/samples/*.png
    """
    from tfresnet.deploy.device.runtime import Embedder, open_file, pictures_of, printable

    if model.is_dir():
        from tfresnet.errors import UserError

        raise UserError(f"expected a .tflite or .onnx file, {model} is a folder; export the run")
    classifier = open_file(model, threads)
    images = tuple(image for path in images for image in pictures_of(path))
    if isinstance(classifier, Embedder):
        _print_embeddings({image: classifier.embed(image) for image in images}, as_json)
        return
    predictions = [(answer.picture, answer.top) for answer in classifier.stream(images, top)]
    if as_json:
        print_json(
            {
                "predictions": [
                    {"image": image, "top": [{"label": la, "probability": p} for la, p in answers]}
                    for image, answers in predictions
                ]
            }
        )
        return
    for image, answers in predictions:
        click.echo(printable(image))
        shown = [answer for answer in answers if answer[1] >= LEAST] or answers[:1]
        for label, probability in shown:
            click.echo(f"  {probability:7.2%}  {label}")


def _print_embeddings(embeddings: dict[str, "np.ndarray"], as_json: bool) -> None:
    from tfresnet.deploy.device.runtime import printable

    if as_json:
        found = [{"image": i, "embedding": e.tolist()} for i, e in embeddings.items()]
        print_json({"predictions": found})
        return
    for image, embedding in embeddings.items():
        shown = " ".join(f"{x:.4g}" for x in embedding[:6])
        click.echo(f"{printable(image)}\n  {len(embedding)} numbers: {shown} ... (all: --json)")
