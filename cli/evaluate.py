"""``tfresnet evaluate``."""

from pathlib import Path

import click

from tfresnet.cli.common import (
    json_option,
    print_json,
    quiet_tensorflow,
    reports_mistakes,
    stdout_to_stderr,
)


@click.command("evaluate")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--dataset", help="Instead of the one that the model was trained on.")
@click.option("--data-dir", help="Where TFDS keeps its data (default: $TFDS_DATA_DIR).")
@click.option("--split", help="Instead of the held-out one, for TFDS: test, train[45000:], ...")
@click.option("--flip", is_flag=True, help="Average each image's answer and its mirror image's.")
@json_option
@reports_mistakes
def command(
    model: Path,
    dataset: str | None,
    data_dir: str | None,
    split: str | None,
    flip: bool,
    as_json: bool,
) -> None:
    """Measure a run, a .tflite, an .onnx or a SavedModel on every held-out image.

    \b
    Examples:
      tfresnet evaluate runs/quickstart
      tfresnet evaluate runs/quickstart/export/model_int8.tflite --json
    """
    quiet_tensorflow()
    from tfresnet.deploy import evaluate_model

    given = {"dataset": dataset, "data_dir": data_dir, "eval_split": split}
    overrides = {key: value for key, value in given.items() if value is not None}
    with stdout_to_stderr(as_json):
        result = evaluate_model.evaluate(model, overrides, flip)
    if as_json:
        print_json(result)
        return
    click.echo(
        f"top-1 {result['top1']:.2%}   top-5 {result['top5']:.2%}   loss {result['loss']:.4f}   "
        f"calibration error {result['ece']:.2%}   on {result['n']:,} images"
    )
    for label, accuracy in result["per_class"].items():
        click.echo(f"  {label:<20} " + ("-" if accuracy is None else f"{accuracy:.2%}"))
