"""``tfresnet explain``."""

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import (
    PATH,
    data_options,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
    writable_run,
)
from tfresnet.system.native_stderr import quiet_tensorflow


@click.command("explain")
@click.argument("run", type=PATH)
@click.argument("images", nargs=-1, metavar="[IMAGE]...", type=PATH)
@click.option(
    "--count", default=16, show_default=True, type=click.IntRange(1), help="Mistakes to show."
)
@click.option("--out", type=PATH, help="Folder (default: RUN/explain).")
@data_options
@json_option
@reports_mistakes
def command(
    run: Path,
    images: tuple[Path, ...],
    count: int,
    out: Path | None,
    data: dict[str, str],
    as_json: bool,
) -> None:
    """Draw where a network sees a class, which images it gets wrong, and which it finds similar.

    With images: looked-at.png, each image with the class activation map (Grad-CAM) of its
    predicted class. Without: of the held-out images, mistakes.png, the mistakes with the highest
    probability; mistakes.csv, all mistakes with their files; and map.png, a map of the features
    (t-SNE).

    \b
    Examples:
      tfresnet explain runs/quickstart
      tfresnet explain runs/quickstart runs/quickstart/samples/*.png
    """
    from tfresnet.deploy.subject import data_section
    from tfresnet.runs import preflight, run_directory
    from tfresnet.runtime.errors import InputError
    from tfresnet.runtime.spec import CLASSIFICATION, MULTI_LABEL

    run = writable_run(run)
    opened = run_directory.open_run(run)
    preflight.network(opened.config.model)
    if lost := [image for image in images if not image.exists()]:
        raise InputError(f"expected an image, {lost[0]} does not exist")
    if opened.output.task not in (CLASSIFICATION, MULTI_LABEL):
        raise InputError(
            f"expected a classifier, got a run of {opened.output.task}, which shows where it sees "
            "something by itself: tfresnet predict RUN IMAGE... --out FOLDER"
        )
    if not images and opened.output.multi_label:
        raise InputError(
            "expected a run with one label a picture, got a multi-label one, whose predictions are "
            f"not just right or wrong; name pictures: tfresnet explain {run} IMAGE..."
        )
    if not images:
        data_section(opened.config.data, data)
    folder = out or run / "explain"
    quiet_tensorflow()
    from tfresnet import explain
    from tfresnet.training import progress

    model, specs = opened.model(), (opened.spec, opened.output)
    with stdout_to_stderr(as_json):
        if images:
            drawn, predictions = explain.predicted_pictures(model, *specs, images, folder)
            summary: dict[str, Any] = {
                "pictures": [str(drawn)],
                "answers": [asdict(one) for one in predictions],
            }
        else:
            dataset = opened.dataset(**data)
            progress.tell(dataset.notes)
            held_out = dataset.held_out
            wrong = explain.mistakes(model, *specs, held_out, count, folder)
            written = [wrong.picture, explain.feature_map(model, *specs, held_out, folder)]
            summary = {
                "pictures": [str(path) for path in written if path],
                "csv": str(folder / "mistakes.csv"),
                "n": wrong.n,
                "wrong": len(wrong.found),
                "mistakes": [asdict(one) for one in wrong.found[:count]],
            }
    if as_json:
        print_json(summary)
    else:
        click.echo("\n".join(_lines(summary)))


def _lines(summary: dict[str, Any]) -> Iterator[str]:
    """Yield the printed lines of what ``--json`` gives."""
    for one in summary.get("answers", ()):
        yield f"{one['image']}: {one['label']} {one['probability']:.1%}"
    if "wrong" in summary:
        more = "; the surest of them:" if summary["wrong"] else ""
        yield f"{summary['wrong']:,} mistakes in {summary['n']:,} held-out images{more}"
    for one in summary.get("mistakes", ()):
        name = one["file"] or f"image {one['index']}"
        yield f"  {one['predicted']} {one['probability']:.1%}, is {one['label']}: {name}"
    yield from summary["pictures"]
    if "csv" in summary:
        yield summary["csv"]
