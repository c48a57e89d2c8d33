"""kill -9 at random moments, then --resume: the final weights must be the uninterrupted run's.

    python benchmarks/crash_test.py --trials 20

Every trial trains the same small network on the digits in a process of its own, kills it at a
random moment between its start and its end, once or twice, and resumes it to its end.
"""

import json
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

SETTINGS = ("data.image_size=16", "train.epochs=8", "train.warmup_epochs=1", "train.ema_decay=0.99")


def start(directory: Path, resume: bool) -> subprocess.Popen:
    """Start training in ``directory``."""
    command = ["tfresnet", "train", "quickstart", "--run-dir", str(directory)]
    command += [f"--set={setting}" for setting in SETTINGS] + ["--resume"] * resume
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def finish(process: subprocess.Popen) -> None:
    """Wait for the end of a run that must end well."""
    _, errors = process.communicate()
    if process.returncode:
        sys.exit(f"training failed with {process.returncode}: {errors}")


def digest(directory: Path) -> str:
    """Return the digest of a finished run's weights."""
    output = subprocess.run(
        ["tfresnet", "info", str(directory), "--json"], check=True, capture_output=True, text=True
    )
    return json.loads(output.stdout)["weights_sha256"]


def crashed(directory: Path, seconds: float, chance: random.Random) -> list[float]:
    """Train with one or two kills at random moments; return when they came."""
    moments = []
    for _ in range(chance.choice([1, 2])):
        process = start(directory, resume=(directory / "config.yaml").exists())
        moments.append(round(chance.uniform(0.2, 1.0) * seconds, 1))
        time.sleep(moments[-1])
        process.kill()
        process.communicate()
    finish(start(directory, resume=(directory / "config.yaml").exists()))
    return moments


@click.command()
@click.option("--trials", default=20, show_default=True)
@click.option("--seed", default=0, show_default=True, help="Chooses the moments.")
def main(trials: int, seed: int) -> None:
    """Print every trial, and exit with 1 unless all weights are equal."""
    chance, equal = random.Random(seed), 0
    with tempfile.TemporaryDirectory() as folder:
        before = time.perf_counter()
        finish(start(Path(folder) / "whole", resume=False))
        seconds = time.perf_counter() - before
        expected = digest(Path(folder) / "whole")
        click.echo(f"uninterrupted: {seconds:.1f} s, {expected[:16]}")
        for trial in range(1, trials + 1):
            directory = Path(folder) / str(trial)
            moments = crashed(directory, seconds, chance)
            found = digest(directory)
            equal += found == expected
            shown = ", ".join(f"{m} s" for m in moments)
            click.echo(f"{trial}: killed after {shown}: {found[:16]}")
    click.echo(f"{equal} of {trials} equal")
    sys.exit(equal != trials)


if __name__ == "__main__":
    main()
