"""How many images a second the input pipeline gives, on its own, with nothing that trains on them.

    python benchmarks/input_pipeline.py
    python benchmarks/input_pipeline.py --dataset cifar10

Without --dataset: 50,000 random images of 32x32x3 bytes in memory, in CIFAR-10's shape. Each
recipe is measured once a round, in alternating order; printed are the median of the rounds, the
slowest and the fastest. Batches come from ``pipeline.train_batches``, as training gets them:
gathered, augmented, normalized to float32, with soft labels.
"""

import json
import os
import statistics
import time

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as tfresnet does, which is imported too late

import click
import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.config.loading import with_data
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline, sources
from tfresnet.data.splits import ArraySplit, Split
from tfresnet.runtime.spec import InputSpec, OutputSpec

RECIPES: dict[str, dict] = {
    "crop + flip": {},
    "crop + flip + mixup/cutmix": {"mixup_alpha": 0.2, "cutmix_alpha": 1.0},
    "crop + flip + RandAugment(2, 14)": {"randaugment": 2, "randaugment_magnitude": 14},
    "crop + flip + TrivialAugment": {"policy": "trivialaugment"},
    "crop + flip + AutoAugment + cutout": {"policy": "autoaugment", "cutout": 16},
    "resized crop + flip + erasing": {"random_resized_crop": 0.08, "erasing": 0.25},
}


def source(dataset: str | None) -> tuple[Split, InputSpec, OutputSpec]:
    """Return the images to augment: a dataset's, or random ones."""
    if dataset:
        loaded = sources.load(DataConfig(dataset=dataset), default_size=32)
        return loaded.train, loaded.spec, loaded.output
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (50_000, 32, 32, 3), np.uint8)
    output = OutputSpec("classification", tuple(str(n) for n in range(10)))
    return ArraySplit(images, rng.integers(0, 10, 50_000)), InputSpec(32, 32), output


def timed(dataset: tf.data.Dataset, steps: int, batch_size: int) -> float:
    """Return images a second over ``steps`` batches, after a few to get going."""
    iterator = iter(dataset)
    for _ in range(20):
        next(iterator)
    started = time.perf_counter()
    for _ in range(steps):
        next(iterator)
    return steps * batch_size / (time.perf_counter() - started)


@click.command()
@click.option("--dataset", help="A TFDS name or a folder, instead of random images.")
@click.option("--batch-size", default=128, show_default=True)
@click.option("--steps", default=200, show_default=True, help="Batches a round.")
@click.option("--rounds", default=7, show_default=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
def main(dataset: str | None, batch_size: int, steps: int, rounds: int, as_json: bool) -> None:
    """Print the images a second of each recipe."""
    split, spec, output = source(dataset)
    recipes = {name: with_data(DataConfig(), change) for name, change in RECIPES.items()}
    targets = tasks.of(output).targets
    streams = {
        name: pipeline.train_batches(split, spec, targets, config, batch_size, 0, 0, steps + 30)
        for name, config in recipes.items()
    }
    speeds: dict[str, list[float]] = {name: [] for name in recipes}
    for turn in range(rounds):
        for name in list(streams)[:: -1 if turn % 2 else 1]:
            speeds[name].append(timed(streams[name], steps, batch_size))
    if as_json:
        click.echo(json.dumps({"images_per_second": speeds}))
        return
    what = dataset or "random images in memory, 50,000 x 32 x 32 x 3"
    click.echo(f"{what}; batches of {batch_size}; {os.cpu_count()} CPU cores; "
               f"load average {os.getloadavg()[0]:.1f}")  # fmt: skip
    for name, values in speeds.items():
        click.echo(
            f"{name:<36}{statistics.median(values):>8,.0f} img/s  "
            f"({min(values):,.0f} to {max(values):,.0f}, {rounds} rounds)"
        )


if __name__ == "__main__":
    main()
