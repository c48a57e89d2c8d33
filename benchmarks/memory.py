"""The most memory that training holds: on CIFAR-10, and on folders of 1,000 and of 100,000 JPEGs.

    python benchmarks/memory.py

Targets: CIFAR-10 below 1.5 GB; the larger folder within 100 MB of the smaller. Its files are hard
links to those of the smaller one, so that it takes no room; a dry run checks all of them, trains a
few steps and tells its peak.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
from PIL import Image

MB = 2**20 if sys.platform == "darwin" else 1000  # of ru_maxrss


def peak_mb(*arguments: str) -> float:
    """Return the peak resident memory of ``tfresnet ARGUMENTS``, in MB."""
    process = subprocess.Popen(["tfresnet", *arguments], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        sys.exit(f"tfresnet {' '.join(arguments)} failed")
    return usage.ru_maxrss / MB


def write_folder(folder: Path, count: int) -> None:
    """Write ``count`` JPEGs of 96 x 96 in two classes."""
    rng = np.random.default_rng(0)
    for number in range(count):
        path = folder / "ab"[number % 2] / f"{number}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 256, (96, 96, 3), np.uint8)).save(path)


def multiply(source: Path, target: Path, times: int) -> None:
    """Link every file of ``source`` into ``target``, ``times`` times."""
    for path in sorted(source.rglob("*.jpg")):
        folder = target / path.parent.name
        folder.mkdir(parents=True, exist_ok=True)
        for number in range(times):
            os.link(path, folder / f"{path.stem}_{number}.jpg")


@click.command()
@click.option("--arch", default="resnet20", show_default=True)
def main(arch: str) -> None:
    """Print the peaks."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = ["--arch", arch, "--run-dir", str(folder / "run"), "--epochs", "1"]
        click.echo(f"cifar10, {arch}, an epoch and its evaluation: "
                   f"{peak_mb('train', '--dataset', 'cifar10', *run):,.0f} MB")  # fmt: skip
        write_folder(folder / "small", 1_000)
        multiply(folder / "small", folder / "large", 100)
        dry = ["--dry-run", "--arch", arch, "--set", "data.image_size=64"]
        peaks = {
            n: peak_mb("train", "--dataset", str(folder / n), *dry) for n in ("small", "large")
        }
        click.echo(json.dumps({f"{n} folder, MB": round(peak) for n, peak in peaks.items()}))
        click.echo(f"100,000 JPEGs take {peaks['large'] - peaks['small']:,.0f} MB more than 1,000")


if __name__ == "__main__":
    main()
