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
    """Draw what a network looks at, what it gets wrong, and what it finds alike.

    With images: looked-at.png, the places that speak for its answer (Grad-CAM). Without: of the
    held-out images, mistakes.png, those that it is most sure of and wrong about, mistakes.csv, all
    mistakes with their files, and map.png, its features in the plane (t-SNE).

    \b
    Examples:
      tfresnet explain runs/quickstart
      tfresnet explain runs/quickstart runs/quickstart/samples/*.png
    """
    from tfresnet.deploy.subject import data_section
    from tfresnet.runs import preflight, run_directory
    from tfresnet.runtime.errors import InputError

    opened = run_directory.open_run(run)
    preflight.network(opened.config.model)
    if lost := [image for image in images if not image.exists()]:
        raise InputError(f"expected an image, {lost[0]} does not exist")
    if not images and opened.output.multi_label:
        raise InputError(
            "expected a run with one label a picture, got a multi-label one, whose answers are not "
            f"just right or wrong; give pictures to look at: tfresnet explain {run} IMAGE..."
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
            drawn, answers = explain.pictures_given(model, *specs, images, folder)
            said: dict[str, Any] = {"pictures": [str(drawn)], "answers": answers}
        else:
            dataset = opened.dataset(**data)
            progress.tell(dataset.notes)
            held_out = dataset.held_out
            wrong = explain.mistakes(model, *specs, held_out, count, folder)
            written = [wrong.picture, explain.feature_map(model, *specs, held_out, folder)]
            said = {
                "pictures": [str(path) for path in written if path],
                "csv": str(folder / "mistakes.csv"),
                "n": wrong.n,
                "wrong": len(wrong.found),
                "mistakes": [asdict(one) for one in wrong.found[:count]],
            }
    if as_json:
        print_json(said)
    else:
        click.echo("\n".join(_lines(said)))


def _lines(said: dict[str, Any]) -> Iterator[str]:
    """Yield what is printed of what ``--json`` gives."""
    for one in said.get("answers", ()):
        yield f"{one['image']}: {one['label']} {one['probability']:.1%}"
    if "wrong" in said:
        more = "; the surest of them:" if said["wrong"] else ""
        yield f"{said['wrong']:,} mistakes in {said['n']:,} held-out images{more}"
    for one in said.get("mistakes", ()):
        name = one["file"] or f"image {one['index']}"
        yield f"  {one['predicted']} {one['probability']:.1%}, is {one['label']}: {name}"
    yield from said["pictures"]
    if "csv" in said:
        yield said["csv"]
