"""``tfresnet run``."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfresnet.cli.common import (
    PATH,
    json_option,
    print_json,
    reports_mistakes,
    stdout_to_stderr,
)
from tfresnet.cli.export_report import bar, show

if TYPE_CHECKING:
    from tfresnet.deploy.pipeline import StageResult
    from tfresnet.deploy.pipeline_plan import Plan


@click.command("run")
@click.argument("file", type=PATH, metavar="FILE.yaml")
@json_option
@reports_mistakes
def command(file: Path, as_json: bool) -> None:
    """Train, export, check boards and bundle, as FILE.yaml says, with its gates.

    What is done and unchanged is skipped, what was cut goes on; a stage whose section changed is
    done again, with those that follow it. The first gate that fails ends it, with exit status 1.
    The run is in runs/FILE.

    \b
    Such a file:
      train: {preset: quickstart, set: {train.epochs: 10}, at_least: 0.97}
      export: {formats: [tflite], quantizations: [float32, int8], max_drop: 0.5}
      fit: {boards: [rpi-pico]}
      bundle: out/device

    \b
    Example:
      tfresnet run digits.yaml
    """
    from tfresnet.deploy import pipeline_plan

    plan = pipeline_plan.read(file)
    try:
        with stdout_to_stderr(as_json):
            found = _run(plan, as_json)
    except KeyboardInterrupt:
        click.echo(f"\nStopped. To go on: {shlex.join(['tfresnet', 'run', str(file)])}", err=True)
        raise SystemExit(130) from None
    passed = not found[-1].failures
    if as_json:
        stages = {stage.name: stage.to_dict() for stage in found}
        print_json({"run": str(plan.directory), "passed": passed, "stages": stages})
    for stage in found:
        for failure in stage.failures:
            click.echo(f"Failed: {stage.name}: {failure}", err=True)
    raise SystemExit(0 if passed else 1)


def _run(plan: "Plan", as_json: bool) -> list["StageResult"]:
    from tfresnet.deploy import pipeline

    def tell(stage: "StageResult") -> None:
        click.echo(f"{stage.name}: {_line(stage)}", err=True)
        if stage.name == "export" and not stage.skipped and not as_json:
            _show_export(plan, stage)

    # The bar is for exports; a training has its own.
    with bar() as shown:
        task = shown.add_task("", total=None, visible=False)

        def say(text: str, done: int, total: int | None) -> None:
            shown.update(task, description=text, completed=done, total=total, visible=True)

        return pipeline.run(plan, say, tell)


def _line(stage: "StageResult") -> str:
    """Return what a stage came to, in a line."""
    result: dict[str, Any] = stage.result
    what = {
        "train": lambda: f"{result['metric']} {result['value']:.2%}, in {result['run']}",
        "export": lambda: f"{len(result['artifacts'])} files",
        "fit": lambda: ", ".join(
            f"{b['name']} {'fits' if b['fits'] else 'does not'}" for b in result["boards"]
        ),
        "bundle": lambda: f"in {result['path']}",
    }[stage.name]()
    return f"{what} (unchanged)" if stage.skipped else what


def _show_export(plan: "Plan", stage: "StageResult") -> None:
    from tfresnet.deploy.records import Report

    assert plan.export
    show(Report.model_validate(stage.result), plan.directory, plan.export.features)
