"""``tfresnet record``."""

import json
from pathlib import Path

import click

from tfresnet.cli.common import json_option, print_json, reports_mistakes


@click.command("record")
@click.argument("run", type=click.Path(path_type=Path), metavar="RUN or SWEEP")
@click.option(
    "--out", default="results", show_default=True, type=click.Path(path_type=Path),
    help="Folder for the record.",
)  # fmt: skip
@json_option
@reports_mistakes
def command(run: Path, out: Path, as_json: bool) -> None:
    """Write what a finished run measured to results/PRESET-seedN.json.

    It holds the command, the configuration, the seed, the commit, the machine, the curve,
    and the artifacts of the last export. Of a sweep's folder, the table goes to
    results/sweeps/NAME.json. `tfresnet results` makes a page of them.

    \b
    Examples:
      tfresnet record runs/cifar10-resnet8
      tfresnet record runs/ablation
    """
    from tfresnet.files import read_text, write_text

    if (run / "sweep.json").exists():
        path, content = out / "sweeps" / f"{run.name}.json", read_text(run / "sweep.json")
    else:
        path, content = _of_run(run, out)
    write_text(path, content)
    if as_json:
        print_json({"record": str(path)})
    else:
        click.echo(path)


def _of_run(run: Path, out: Path) -> tuple[Path, str]:
    from tfresnet import run as runs
    from tfresnet.errors import UserError
    from tfresnet.files import read_json

    opened = runs.open_run(run)
    if not opened.result:
        raise UserError(f"{run} is not trained to its end; go on with --resume")
    path = out / f"{opened.config.name}-seed{opened.config.train.seed}.json"
    if path.exists() and read_json(path).get("config") != opened.result["config"]:
        raise UserError(f"{path} is the record of another configuration; choose another --out")
    # A record is read elsewhere: its files are named from the run's folder on.
    artifacts = [
        a | {"path": f"runs/{run.resolve().name}/export/{a['path'].rpartition('/export/')[2]}"}
        for a in opened.result["artifacts"]
    ]
    result = opened.result | {"artifacts": artifacts, "curve": opened.records()}
    return path, json.dumps(result, indent=1) + "\n"
