"""What a training step spends its time on: oneDNN's own log, summed up by kind of work.

    python benchmarks/profile_step.py resnet20 --precision float32

The shares are of all that oneDNN computes. Some of it runs side by side, so its sum may be longer
than the step; if it is much shorter, the time goes elsewhere.
"""

import collections
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click

STEPS = 10


def child(name: str, precision: str) -> None:
    """Train a few steps under oneDNN's log, which goes to stdout; print how long they took."""
    import training_throughput as throughput

    model, size, batch = throughput.CASES[name]
    spec = throughput.InputSpec(size, size)
    with tempfile.TemporaryDirectory() as folder:
        run = throughput.ours(model, spec, batch, precision, Path(folder))
        run(2)
        print("begin", flush=True)
        print("seconds", run(STEPS), flush=True)


def summed(lines: list[str]) -> tuple[float, dict[str, float]]:
    """Return the seconds of all steps, and those of every kind of primitive."""
    lines = lines[lines.index("begin") + 1 :]
    wall = next(float(line.split()[1]) for line in lines if line.startswith("seconds"))
    kinds: dict[str, float] = collections.defaultdict(float)
    for line in lines:
        parts = line.split(",")
        if parts[0] == "onednn_verbose" and "exec" in parts:
            at = parts.index("exec")
            # exec, engine, primitive, implementation, direction, ..., milliseconds
            kinds[f"{parts[at + 2]} {parts[at + 4]} ({parts[at + 3]})"] += float(parts[-1]) / 1000
    return wall, kinds


@click.command()
@click.argument("name", default="resnet20")
@click.option("--precision", default="float32", show_default=True)
@click.option("--child", "is_child", is_flag=True, hidden=True)
def main(name: str, precision: str, is_child: bool) -> None:
    """Print the time of a step, and the share of every kind of kernel in oneDNN's time."""
    if is_child:
        return child(name, precision)
    command = [sys.executable, __file__, name, "--precision", precision, "--child"]
    environment = os.environ | {"ONEDNN_VERBOSE": "profile_exec", "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    wall, kinds = summed(done.stdout.splitlines())
    total = sum(kinds.values())
    click.echo(f"{name} {precision}: {wall / STEPS * 1000:.0f} ms a step; oneDNN's kernels, "
               f"one after the other: {total / STEPS * 1000:.0f}")  # fmt: skip
    for kind, seconds in sorted(kinds.items(), key=lambda item: -item[1])[:10]:
        click.echo(f"{seconds / total:6.1%}  {kind}")
    return None


if __name__ == "__main__":
    main()
