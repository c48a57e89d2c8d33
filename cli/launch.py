"""``tfresnet launch``."""

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from tfresnet.cli import train
from tfresnet.cli.common import PATH, json_option, print_json, reports_mistakes
from tfresnet.cli.configuration import settings_of

if TYPE_CHECKING:
    from tfresnet.launch.launcher import Failure, Outcome
    from tfresnet.runs.request import TrainingRequest


@click.command("launch")
@click.option("-n", "--workers", type=click.IntRange(min=1), required=True, help="Processes.")
@click.option(
    "--restarts", type=click.IntRange(min=0), default=3, show_default=True,
    help="How often all start again when a worker was killed, crashed or does not answer.",
)  # fmt: skip
@click.option("--log-dir", type=PATH, help="For a log of each worker (default: RUN/logs).")
@click.argument("training", nargs=-1, required=True, metavar="-- train [OPTIONS OF TRAIN]")
@json_option
@reports_mistakes
def command(
    workers: int, restarts: int, log_dir: Path | None, training: tuple[str, ...], as_json: bool
) -> None:
    """Train with several processes on this machine, as one training.

    Each takes its part of every batch, and its share of the GPUs. The first one's
    progress is shown; worker1.log and so on have the others'. Ctrl-C stops all at the
    same step, saved. If a worker is lost, all start again from the newest step that all
    have saved.

    \b
    Examples:
      tfresnet launch -n 2 -- train
      tfresnet launch -n 8 --restarts 10 -- train imagenet-resnet50 --name large
      tfresnet launch -n 4 -- train --resume --run-dir runs/large
    """
    from tfresnet.launch.launcher import Launcher
    from tfresnet.system.files import lock

    request, arguments = _request(training)
    logs = log_dir or request.directory / "logs"
    program = [sys.executable, "-m", "tfresnet.cli", *arguments, *(["--json"] * as_json)]
    with lock(logs, "start another run with --name NAME"), tempfile.TemporaryFile() as captured:
        launcher = Launcher(
            program,
            workers,
            request.directory,
            logs,
            restarts,
            _tell,
            captured if as_json else None,
        )
        outcome = launcher.run()
        captured.seek(0)
        if as_json:
            _print_outcome(outcome, workers, logs, captured.read())
    if outcome.failure:
        _show(outcome.failure)
    raise SystemExit(outcome.status)


def _request(training: tuple[str, ...]) -> tuple["TrainingRequest", list[str]]:
    """Return the training and the arguments that each worker gets, after checking them.

    Raises:
        InputError: settings that a worker would refuse before it loads TensorFlow.
    """
    from tfresnet.runs import preflight
    from tfresnet.runs.request import training_request

    name, *arguments = training
    if name != "train":
        raise click.UsageError(f"expected -- train and its options, got {name}")
    context = train.command.make_context("tfresnet train", arguments.copy())
    given = dict(context.params)
    if given["dry_run"]:
        raise click.UsageError("expected a training, got --dry-run: ask without launch")
    if given["strategy"] not in (None, "multiworker"):
        raise click.UsageError(f"expected --strategy multiworker, got {given['strategy']}")
    if given["strategy"] is None:
        arguments += ["--strategy", "multiworker"]
        given["strategy"] = "multiworker"
    directory = train.directory_of(given.pop("name"), given.pop("run_dir"))
    resume = given.pop("resume")
    request = training_request(given.pop("preset"), settings_of(given), directory, resume)
    alone = request.config.train.model_copy(update={"strategy": "auto"})  # without the others
    preflight.training(request.config.model_copy(update={"train": alone}), resume)
    preflight.directory(request.config, request.directory, resume)
    return request, ["train", *arguments]


def _tell(line: str) -> None:
    click.echo(line, err=True)


def _show(failure: "Failure") -> None:
    """Print which worker failed, and the last lines of its log."""
    if failure.worker:  # the first one's are on the terminal
        _tell("\n".join(f"  {line}" for line in failure.lines))
    _tell(f"Error: worker {failure.worker} {failure.reason}; its output is in {failure.log}")


def _print_outcome(outcome: "Outcome", count: int, logs: Path, result: bytes) -> None:
    def facts(failure: "Failure") -> dict[str, Any]:
        return {"worker": failure.worker, "reason": failure.reason, "log": str(failure.log)}

    lines = result.decode().splitlines()
    print_json(
        {
            "workers": count,
            "restarts": [facts(failure) for failure in outcome.restarts],
            "failure": facts(outcome.failure) if outcome.failure else None,
            "logs": [str(logs / f"worker{n}.log") for n in range(count)],
            **(json.loads(lines[-1]) if lines and not outcome.status else {}),
        }
    )
