"""Two ways to train, compared by ``tfresnet train --dry-run``, each in a process of its own.

    python benchmarks/dry_runs.py onednn replicas recipe

onednn    what it gains to switch oneDNN on, as tfresnet does; TensorFlow does so by itself only on
          processors with AVX-512 VNNI, AVX512_BF16 or AMX (there the ratio is 1)
replicas  two logical devices against one, the same batch in all; target: at least 0.95
recipe    RandAugment(2, 14), mixup and cutmix, label smoothing, clipping and a moving average
          against crop and flip alone, with the input pipeline; target: at least 0.85
"""

import json
import os
import statistics
import subprocess
from dataclasses import dataclass, field

import click


@dataclass(frozen=True)
class Way:
    """One way to train: arguments of ``tfresnet train``, and what it adds to the environment."""

    arguments: list[str] = field(default_factory=list)
    environment: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """Two ways to train and the rate of the dry run that is compared, in images/s."""

    peer: Way
    ours: Way
    rate: str


RECIPE = [
    "--randaugment=2", "--set=data.randaugment_magnitude=14", "--mixup-alpha=0.2",
    "--cutmix-alpha=1", "--label-smoothing=0.1", "--grad-clip=1", "--ema-decay=0.999",
]  # fmt: skip
COMPARISONS = {
    "onednn": Comparison(
        Way(environment={"TF_ENABLE_ONEDNN_OPTS": "0"}),
        Way(environment={"TF_ENABLE_ONEDNN_OPTS": "1"}),
        "compute_images_per_second",
    ),
    "replicas": Comparison(
        Way(["--strategy=one"]),
        Way(["--strategy=mirrored", "--devices=2"]),
        "compute_images_per_second",
    ),
    "recipe": Comparison(Way(), Way(RECIPE), "images_per_second"),
}


def rate(way: Way, common: list[str], key: str) -> float:
    """Return images/s as a dry run measures them."""
    output = subprocess.run(
        ["tfresnet", "train", "--dry-run", "--json", *common, *way.arguments],
        env=os.environ | way.environment,
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(output.stdout)[key]


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(COMPARISONS)))
@click.option("--arch", default="resnet20", show_default=True)
@click.option("--precision", default="auto", show_default=True)
@click.option("--dataset", default="cifar10", show_default=True, help="Resized to 32 x 32.")
@click.option("--rounds", default=3, show_default=True)
def main(names: tuple[str, ...], arch: str, precision: str, dataset: str, rounds: int) -> None:
    """Print the medians of alternating rounds and their ratio."""
    common = [f"--arch={arch}", f"--dataset={dataset}", f"--precision={precision}",
              "--batch-size=128", "--set=data.image_size=32"]  # fmt: skip
    for name in names or COMPARISONS:
        case = COMPARISONS[name]
        found: tuple[list[float], list[float]] = ([], [])
        for turn in range(rounds):
            for side in (0, 1) if turn % 2 else (1, 0):
                found[side].append(rate((case.peer, case.ours)[side], common, case.rate))
        peer, ours = map(statistics.median, found)
        click.echo(f"{name}, {arch}: {peer:,.0f} against {ours:,.0f} img/s: {ours / peer:.2f} x")


if __name__ == "__main__":
    main()
