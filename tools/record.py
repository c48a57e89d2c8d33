"""``python -m tools.record``: write the record of a finished run or sweep to results/."""

import json
from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes


@click.command("record")
@click.argument("run", type=PATH, metavar="RUN or SWEEP")
@click.option(
    "--out", default="results", show_default=True, type=PATH,
    help="Folder for the record.",
)  # fmt: skip
@click.option("--name", help="Of the record (default: PRESET-seedN, or the sweep's folder).")
@json_option
@reports_mistakes
def command(run: Path, out: Path, name: str | None, as_json: bool) -> None:
    """Write what a finished run measured to results/PRESET-seedN.json.

    It holds the command, the configuration, the seed, the commit, the machine, the curve,
    and the artifacts of the last export. Of a sweep's folder, the table and the picture
    go to results/sweeps/NAME.json and .png. `python -m tools.results` makes a page of them.

    \b
    Examples:
      python -m tools.record runs/cifar10-resnet8
      python -m tools.record runs/short --name cifar10-resnet20-50-epochs-seed0
      python -m tools.record runs/ablation
    """
    from tfresnet.system.files import write_bytes, write_text
    from tools import records

    sweep = run / "sweep.json"
    if sweep.exists():
        path, content = records.record_of_sweep(sweep, out, name)
    else:
        path, content = records.record_of_run(run, out, name)
    write_text(path, json.dumps(content, indent=1) + "\n")
    if sweep.with_suffix(".png").exists():
        write_bytes(path.with_suffix(".png"), sweep.with_suffix(".png").read_bytes())
    if as_json:
        print_json({"record": str(path)})
    else:
        click.echo(path)


if __name__ == "__main__":
    command(prog_name="python -m tools.record")
