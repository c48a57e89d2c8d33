"""Lose workers of `tfresnet launch`: the final weights must be those of the undisturbed run.

    python benchmarks/lost_workers.py --kills 10

Trains a small network on the digits with several processes of this machine: undisturbed; with
`kill -9` of one at random moments; with one that hangs (SIGSTOP); with one whose disk is full
(RLIMIT_FSIZE); and started twice in the same folder.
"""

import contextlib
import hashlib
import json
import random
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import click
import psutil

SETTINGS = ("data.image_size=16", "train.warmup_epochs=1", "train.ema_decay=0.99")
SMALL = 200_000  # bytes that a file may have on the full disk; a checkpoint has more


@dataclass
class Trials:
    """What all trials share.

    Attributes:
        folder: for the runs.
        workers: processes of each.
        chance: chooses moments and workers.
        epochs: of each run.
        seconds: that the undisturbed run took.
        weights: the digests of its workers' checkpoints.
        lost: the names of the trials that ended with other weights.
    """

    folder: Path
    workers: int
    chance: random.Random
    epochs: int = 6
    seconds: float = 0.0
    weights: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def start(self, name: str, resume: bool = False) -> subprocess.Popen:
        """Start a run as it is first started, or again with --resume."""
        command = [sys.executable, "-m", "tfresnet.cli", "launch", "-n", str(self.workers)]
        command += ["--restarts", "30", "--", "train", "quickstart"]
        command += ["--run-dir", str(self.folder / name), *(["--resume"] * resume)]
        settings = (*SETTINGS, f"train.epochs={self.epochs}")
        command += [f"--set={setting}" for setting in settings]
        return subprocess.Popen(
            command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
        )

    def finish(self, name: str, process: subprocess.Popen) -> str:
        """Wait for a run that must end well; compare its weights; return what it printed."""
        _, errors = process.communicate()
        if process.returncode:
            sys.exit(f"{name}: training failed with {process.returncode}: {errors}")
        equal = digests(self.folder / name, self.workers) == self.weights
        if not equal:
            self.lost.append(name)
        click.echo(f"{name}: the weights are {'equal' if equal else 'OTHERS'}")
        return errors


def digests(directory: Path, count: int) -> list[str]:
    """Return a digest of the newest checkpoint's weights for each worker."""
    import tensorflow as tf

    found = []
    for number in range(count):
        run = directory / f"worker{number}" if number else directory
        latest = tf.train.latest_checkpoint(str(run / "checkpoints"))
        whole = hashlib.sha256()
        for key, _ in sorted(tf.train.list_variables(latest)):
            # Not the seconds that were needed, nor the number of checkpoints.
            if key.startswith(("model/", "average/", "optimizer/", "step/")):
                value = tf.train.load_variable(latest, key)
                whole.update(
                    key.encode() + (value if isinstance(value, bytes) else value.tobytes())
                )
        found.append(whole.hexdigest())
    return found


def workers_of(process: subprocess.Popen) -> dict[int, psutil.Process]:
    """Return the processes that a launcher has started, by their numbers."""
    found = {}
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(process.pid).children():
            with contextlib.suppress(psutil.Error, KeyError):
                found[json.loads(child.environ()["TF_CONFIG"])["task"]["index"]] = child
    return found


def victims(
    trials: Trials, process: subprocess.Popen
) -> Iterator[tuple[float, int, psutil.Process]]:
    """Yield a random worker at random moments, until the run ends; and the seconds since."""
    while process.poll() is None:
        moment = trials.chance.uniform(0.1, 0.9) * trials.seconds
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(moment)
        running = workers_of(process)
        if process.poll() is None and running:
            number = trials.chance.choice(sorted(running))
            yield moment, number, running[number]


def wait_for_epoch(trials: Trials, name: str, process: subprocess.Popen) -> None:
    """Wait until the first epoch is saved."""
    log = trials.folder / name / "metrics.jsonl"
    while process.poll() is None and not (log.exists() and log.stat().st_size):
        time.sleep(0.2)


def undisturbed(trials: Trials) -> None:
    """Train once without disturbance, for the time and the weights."""
    before = time.perf_counter()
    process = trials.start("undisturbed")
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(errors)
    trials.seconds = time.perf_counter() - before
    trials.weights = digests(trials.folder / "undisturbed", trials.workers)
    click.echo(f"undisturbed: {trials.seconds:.0f} s, {trials.weights[0][:16]}")


def killed(trials: Trials, kills: int) -> None:
    """Kill workers at random moments, in as many runs as it takes."""
    done = run = 0
    while done < kills:
        run += 1
        name = f"killed{run}"
        process = trials.start(name)
        for moment, number, worker in victims(trials, process):
            with contextlib.suppress(psutil.NoSuchProcess):
                worker.send_signal(signal.SIGKILL)
                done += 1
                click.echo(f"{name}: worker {number} killed {moment:.0f} s after the last start")
            if done == kills:
                break
        errors = trials.finish(name, process)
        click.echo(f"{name}: {len(re.findall('was killed by SIGKILL; all', errors))} restarts")


def hung(trials: Trials) -> None:
    """Stop one worker in the middle; it must be named and started again."""
    process = trials.start("hung")
    wait_for_epoch(trials, "hung", process)
    number, worker = trials.chance.choice(sorted(workers_of(process).items()))
    before = time.perf_counter()
    worker.send_signal(signal.SIGSTOP)
    assert process.stderr
    for line in process.stderr:
        if "does not answer" in line:
            seconds = time.perf_counter() - before
            click.echo(f"hung: worker {number} stopped, {seconds:.0f} s later: {line.strip()}")
            break
    trials.finish("hung", process)


def full(trials: Trials) -> None:
    """Let one worker have no room for a checkpoint; then make room."""
    process = trials.start("full")
    wait_for_epoch(trials, "full", process)
    number, worker = trials.chance.choice(sorted(workers_of(process).items()))
    worker.rlimit(psutil.RLIMIT_FSIZE, (SMALL, SMALL))
    _, errors = process.communicate()
    click.echo(f"full: worker {number}, exit status {process.returncode}:")
    click.echo("\n".join(f"  {line[:300]}" for line in errors.strip().splitlines()[-2:]))
    trials.finish("full", trials.start("full", resume=True))


def twice(trials: Trials) -> None:
    """Start the same training while it runs; that must be refused and change nothing."""
    process = trials.start("twice")
    wait_for_epoch(trials, "twice", process)
    for resume in (False, True):
        second = trials.start("twice", resume)
        _, errors = second.communicate()
        click.echo(f"twice: exit status {second.returncode}: {errors.strip()}")
        if second.returncode != 2:
            trials.lost.append("twice")
    trials.finish("twice", process)


@click.command()
@click.option("--workers", default=4, show_default=True)
@click.option("--kills", default=10, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Chooses moments and workers.")
@click.option("--only", multiple=True, help="Some of: killed, hung, full, twice.")
def main(workers: int, kills: int, seed: int, only: tuple[str, ...]) -> None:
    """Print what happens, and exit with 1 unless all weights are equal."""
    with tempfile.TemporaryDirectory() as folder:
        trials = Trials(Path(folder), workers, random.Random(seed))
        undisturbed(trials)
        trial: dict[str, Callable[[], None]] = {
            "killed": lambda: killed(trials, kills),
            "hung": lambda: hung(trials),
            "full": lambda: full(trials),
            "twice": lambda: twice(trials),
        }
        for name in only or trial:
            trial[name]()
    click.echo(f"lost: {', '.join(trials.lost) or 'nothing'}")
    sys.exit(bool(trials.lost))


if __name__ == "__main__":
    main()
