"""``python -m tools.ship``: put the weights of a finished run into the package."""

import json
from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes, stdout_to_stderr
from tfresnet.runtime.errors import InputError

MOST_BYTES = 3_000_000  # of all shipped networks together


@click.command("ship")
@click.argument("run", type=PATH)
@click.option("--name", help="Of the shipped network (default: the run's preset).")
@json_option
@reports_mistakes
def command(run: Path, name: str | None, as_json: bool) -> None:
    """Pack a run into tfresnet/trained/NAME, with float16 kernels, and measure it anew.

    What was there under the name is replaced. Its numbers are those of the weights that are
    shipped, on all held-out images.

    \b
    Example:
      python -m tools.ship runs/digits-segment
    """
    import shutil
    import tempfile

    from tfresnet.deploy import evaluate_model
    from tfresnet.runs import packing, shipped
    from tfresnet.runs.run_directory import open_run
    from tfresnet.system.files import write_text
    from tfresnet.tasks.headings import HEADINGS

    opened = open_run(run)
    commit = str(opened.finished_result().commit)
    if commit.endswith("-dirty"):
        raise InputError(f"{run}: expected a training of committed code, got {commit}")
    name = name or opened.config.name
    with tempfile.TemporaryDirectory() as folder:
        packed = packing.pack(opened, Path(folder) / name, half=True)
        with stdout_to_stderr(True):
            test = evaluate_model.evaluate(packed.directory, {})
            result = packed.finished_result()
            primary = HEADINGS[packed.output.task].primary
            flips = result.to_dict().get(f"flip_{primary}") is not None
            flipped = evaluate_model.evaluate(packed.directory, {}, flip=True) if flips else {}
        measured = {
            "test": test,
            f"test_{primary}": test[primary],
            f"ema_{primary}": test[primary] if result.to_dict().get(f"ema_{primary}") else None,
            f"flip_{primary}": flipped.get(primary),
        }
        packed.write_result(result.model_validate(result.to_dict() | measured))
        others = [n for n in shipped.names() if n != name]
        size = sum(_bytes(shipped.FOLDER / other) for other in others) + _bytes(packed.directory)
        if size > MOST_BYTES:
            raise InputError(
                f"expected at most {MOST_BYTES:,} bytes of shipped networks, got {size:,} with "
                f"{', '.join(sorted([*others, name]))}"
            )
        shutil.rmtree(shipped.FOLDER / name, ignore_errors=True)
        shutil.copytree(packed.directory, shipped.FOLDER / name)
    shipped.names.cache_clear()
    write_text(shipped.FOLDER / "README.md", _readme())
    found = {
        "path": str(shipped.FOLDER / name),
        "bytes": _bytes(shipped.FOLDER / name),
        "trained": opened.finished_result().test.get(primary),
        "shipped": test[primary],
    }
    if as_json:
        print_json(found)
    else:
        click.echo(json.dumps(found, indent=1))


def _readme() -> str:
    """Return a page that says what the shipped networks are."""
    from tfresnet.config import loading
    from tfresnet.runs import shipped
    from tfresnet.runs.run_directory import open_run
    from tfresnet.sweep import markdown
    from tfresnet.tasks.headings import HEADINGS

    rows = []
    for name in shipped.names():
        run = open_run(shipped.FOLDER / name)
        result, headings = run.finished_result(), HEADINGS[run.output.task]
        rows.append(
            {
                "name": f"`{name}`",
                "preset": f"`{result.preset}`",
                "trained on": loading.dataset_name(run.config.data.dataset),
                "epochs": str(result.epochs),
                "parameters": f"{result.parameters:,}",
                "measured": f"{headings.heading} {result.test[headings.primary]:.2%}",
                "bytes": f"{(run.directory / shipped.WEIGHTS).stat().st_size:,}",
            }
        )
    return f"""# Trained networks that ship with tfresnet

Their names are taken wherever a run is: `tfresnet evaluate {shipped.DEFAULT}`. Each folder has the
weights (kernels in float16, all else in float32), the configuration, the input's specification, the
curve of the training, and its result: command, commit, machine, and the numbers of these weights on
all held-out pictures. License: Apache-2.0, as the code. Written by `python -m tools.ship`.

{markdown.table(rows)}
"""


def _bytes(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


if __name__ == "__main__":
    command(prog_name="python -m tools.ship")
