"""``tfresnet sweep``."""

import shlex
from pathlib import Path

import click

from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes


@click.command("sweep")
@click.argument("file", type=PATH, metavar="FILE.yaml")
@click.option(
    "--jobs",
    default=1,
    show_default=True,
    type=click.IntRange(1),
    help="Runs at a time, each on its share of the cores: times are not comparable.",
)
@click.option("--run-dir", type=PATH, help="Folder of the runs (default: runs/FILE).")
@click.option("--dry-run", is_flag=True, help="Print the commands; train nothing.")
@json_option
@reports_mistakes
def command(file: Path, jobs: int, run_dir: Path | None, dry_run: bool, as_json: bool) -> None:
    """Train many variants with several seeds, and compare them in one table.

    FILE.yaml names a base, and the differences to try: named ones (runs), combinations (grid), or
    both. Runs that are done are kept and those that were cut go on, so the same command continues
    a sweep; one that fails does not stop the others (exit status 1). The table is written beside
    the runs: sweep.md, sweep.csv, sweep.json and sweep.png.

    \b
    Such a file:
      base: cifar10-resnet20
      seeds: [0, 1]
      set: {train.epochs: 30}
      runs:
        baseline: {}
        + mixup: {data.mixup_alpha: 0.2}
      grid:
        train.lr: [0.05, 0.1]

    \b
    Example:
      tfresnet sweep ablation.yaml
    """
    from tfresnet.runtime.errors import InputError
    from tfresnet.sweep import plan, runner, table
    from tfresnet.system.files import lock
    from tfresnet.tasks.headings import judged_by
    from tfresnet.training.interrupt import Interrupted

    directory = run_dir or Path("runs") / file.stem
    sweep = plan.read(file)
    trials = plan.trials(sweep, file, directory)
    if dry_run:
        commands = [shlex.join(["tfresnet", *t.arguments()]) for t in trials]
        if as_json:
            print_json({"commands": commands})
        else:
            click.echo("\n".join(commands))
        return

    def report(outcome: runner.Outcome, number: int) -> None:
        test = outcome.result.test if outcome.result else None
        said = "{} {:.2%}".format(*judged_by(test)) if test else outcome.error
        click.echo(f"[{number}/{len(trials)}] {outcome.trial.name}: {said}", err=True)

    if (directory / "config.yaml").exists():
        raise InputError(f"expected a folder for runs, got {directory}, a run; choose --run-dir")
    with lock(directory, "choose another --run-dir"):
        click.echo(f"{len(trials)} runs; what each prints goes to {directory}/NAME.log", err=True)
        try:
            outcomes = runner.run_all(trials, jobs, report)
        except Interrupted as stop:
            click.echo(f"\nStopped and saved. To go on: {_again(file, jobs, run_dir)}", err=True)
            raise SystemExit(128 + stop.number) from None
        whole = table.write(file.stem, sweep.description, outcomes, directory)
    if as_json:
        print_json(whole)
    else:
        click.echo(whole["markdown"])
        click.echo(f"\nThe table and a picture are in {directory}.")
    if any(outcome.error for outcome in outcomes):
        raise SystemExit(1)


def _again(file: Path, jobs: int, run_dir: Path | None) -> str:
    arguments = ["tfresnet", "sweep", str(file)]
    if jobs != 1:
        arguments += ["--jobs", str(jobs)]
    return shlex.join(arguments + (["--run-dir", str(run_dir)] if run_dir else []))
