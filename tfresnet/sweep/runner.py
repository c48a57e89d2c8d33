"""Train the runs of a sweep, each in its own process, so that one failure stops no other."""

import contextlib
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.config import loading
from tfresnet.runs import experiments
from tfresnet.runs.result import RunResult
from tfresnet.runtime.errors import InputError
from tfresnet.sweep.plan import Trial
from tfresnet.system.files import read_json, write_text
from tfresnet.training.interrupt import Interrupted, stop_request

POLL_SECONDS = 0.2


@dataclass(frozen=True)
class Outcome:
    """The result of a trial's run, or in one line why there is none."""

    trial: Trial
    result: RunResult | None
    error: str = ""


def run_all(
    trials: Sequence[Trial], jobs: int, report: Callable[[Outcome, int], None]
) -> list[Outcome]:
    """Train all runs, ``jobs`` at a time, and return the outcome of each.

    A finished run is not trained again, an interrupted one is resumed from its checkpoint, and of a
    failed one the outcome holds the error. ``report`` is called with each outcome and the number of
    outcomes so far.

    Raises:
        Interrupted: Ctrl-C or SIGTERM, after the runs have saved a checkpoint.
    """
    outcomes: dict[str, Outcome] = {}

    def note(outcome: Outcome) -> None:
        outcomes[outcome.trial.name] = outcome
        report(outcome, len(outcomes))

    for trial in trials:
        if problem := _conflict(trial):
            note(Outcome(trial, None, problem))
        elif (trial.directory / "result.json").exists():
            note(_finished(trial))
    waiting = [t for t in trials if t.name not in outcomes]
    jobs = max(1, min(jobs, len(waiting)))
    with stop_request() as stop, _children() as running:
        while waiting or running:
            while waiting and len(running) < jobs:
                trial = waiting.pop(0)
                running[_start(trial, jobs)] = trial
            time.sleep(POLL_SECONDS)
            if stop.signal:
                _stop(running)
                raise Interrupted(stop.signal)
            for process in [p for p in running if p.poll() is not None]:
                note(_outcome(running.pop(process), process.returncode))
    return [outcomes[t.name] for t in trials]


@contextlib.contextmanager
def _children() -> Iterator[dict[subprocess.Popen, Trial]]:
    """Yield a dictionary for processes; stop those that are still in it at the end."""
    running: dict[subprocess.Popen, Trial] = {}
    try:
        yield running
    except KeyboardInterrupt:  # the second one: nobody wants to wait
        for process in running:
            process.kill()
        raise
    finally:
        _stop(running)


def _start(trial: Trial, jobs: int) -> subprocess.Popen:
    """Start one of ``jobs`` trials, with its output in NAME.log beside its folder."""
    resume = ["--resume"] if (trial.directory / "config.yaml").exists() else []
    write_text(_beside(trial, "yaml"), trial.config.to_yaml())
    with log(trial).open("wb") as file:
        return subprocess.Popen(
            [sys.executable, "-m", "tfresnet.cli", *trial.arguments(), *resume],
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**_resource_limits(jobs), **os.environ, "PYTHONUTF8": "1"},
            start_new_session=True,  # Ctrl-C is ours to pass on
        )


def _resource_limits(jobs: int) -> dict[str, str]:
    """Return environment variables with which TensorFlow shares the machine among ``jobs`` runs.

    Each run gets its share of the threads, and takes only the GPU memory that it needs.
    """
    if jobs == 1:
        return {}
    threads = str(max(1, (os.cpu_count() or 1) // jobs))
    return {"TF_NUM_INTRAOP_THREADS": threads, "TF_FORCE_GPU_ALLOW_GROWTH": "true"}


def _stop(running: dict[subprocess.Popen, Trial]) -> None:
    """Ask all processes to save and end, and wait for them; a second Ctrl-C ends the wait."""
    for process in running:
        if os.name != "nt":  # where Ctrl-C has reached them already, and terminate would kill
            process.terminate()
    for process in list(running):
        process.wait()
        del running[process]


def log(trial: Trial) -> Path:
    """Return the path of a trial's log: its output when it last ran."""
    return _beside(trial, "log")


def _beside(trial: Trial, ending: str) -> Path:
    return trial.directory.with_name(f"{trial.name}.{ending}")


def _outcome(trial: Trial, status: int) -> Outcome:
    if status == 0:
        return _finished(trial)
    lines = log(trial).read_bytes().decode("utf-8", "replace").splitlines()
    errors = [line for line in lines if line.startswith("Error: ")]
    ended = f"killed by signal {-status}" if status < 0 else f"ended with status {status}"
    why = errors[-1].removeprefix("Error: ") if errors else f"{ended}; see {log(trial)}"
    return Outcome(trial, None, why)


def _conflict(trial: Trial) -> str | None:
    """Return why a trial's folder can not be used, or None if it can."""
    wanted = _beside(trial, "yaml")
    if not trial.directory.exists():
        return None
    if not wanted.exists():
        return f"{trial.directory} was not made by this sweep; choose another --run-dir"
    try:
        changed = loading.differences(loading.read(wanted), trial.config)
    except InputError as error:
        return str(error)
    for key, (old, new) in changed.items():
        if key != "data.data_dir":
            return (
                f"{trial.directory} holds a run with {key}={old!r}, expected {new!r}; "
                "choose another --run-dir, or delete it"
            )
    return None


def _finished(trial: Trial) -> Outcome:
    """Read the result of a finished run."""
    path = trial.directory / "result.json"
    try:
        return Outcome(trial, experiments.parse(read_json(path), str(path)))
    except InputError as error:
        return Outcome(trial, None, str(error))
