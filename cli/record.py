"""``tfresnet record``."""

import json
from pathlib import Path
from typing import Any

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
    go to results/sweeps/NAME.json and .png. `tfresnet results` makes a page of them.

    \b
    Examples:
      tfresnet record runs/cifar10-resnet8
      tfresnet record runs/short --name cifar10-resnet20-50-epochs-seed0
      tfresnet record runs/ablation
    """
    from tfresnet.system.files import write_bytes, write_text

    sweep = run / "sweep.json"
    path, content = _of_sweep(sweep, out, name) if sweep.exists() else _of_run(run, out, name)
    write_text(path, json.dumps(content, indent=1) + "\n")
    if sweep.with_suffix(".png").exists():
        write_bytes(path.with_suffix(".png"), sweep.with_suffix(".png").read_bytes())
    if as_json:
        print_json({"record": str(path)})
    else:
        click.echo(path)


def _of_sweep(file: Path, out: Path, name: str | None) -> tuple[Path, dict[str, Any]]:
    from tfresnet import records
    from tfresnet.runtime.errors import InputError
    from tfresnet.system.files import read_json

    def runs(sweep: dict[str, Any]) -> set[tuple[Any, ...]]:
        return {(run.get("base"), *run.get("settings", ())) for run in sweep["runs"]}

    whole = records.check_sweep(read_json(file), str(file))
    path = out / "sweeps" / f"{name or file.resolve().parent.name}.json"
    # A sweep may have grown since it was recorded; it does not shrink.
    if path.exists() and not runs(records.check_sweep(read_json(path), str(path))) <= runs(whole):
        raise InputError(f"{path} is the record of another sweep; choose another --name")
    return path, whole


def _of_run(run: Path, out: Path, name: str | None) -> tuple[Path, dict[str, Any]]:
    from tfresnet import records
    from tfresnet.runs import run_directory
    from tfresnet.runtime.errors import InputError
    from tfresnet.system.files import read_json

    opened = run_directory.open_run(run)
    seed = opened.config.train.seed
    path = out / f"{name or f'{opened.config.name}-seed{seed}'}.json"
    result = records.check(opened.finished_result().to_dict(), str(run))
    whole = records.portable(result, run.resolve().name) | {"curve": opened.records()}
    if path.exists():
        there = records.check(read_json(path), str(path))
        if records.identity(there) != records.identity(whole):
            raise InputError(
                f"{path} is the record of another configuration; choose another --name"
            )
        # A later export of the same run is welcome, another run is not.
        if there.get("curve") != whole["curve"]:
            raise InputError(
                f"{path} is the record of another run of this configuration; choose another --out, "
                "or delete it"
            )
    return path, whole
