"""What subclassing costs: the same network trained as a subclassed and as a functional model.

    python benchmarks/subclassed_vs_functional.py

Both have the same layers, loss, optimizer and batch, and run in turn; the ratio is that of the
median times of a training step. Target: within 2 %.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as tfresnet does, which is imported too late

import click
import numpy as np
import tensorflow as tf
import tf_keras as keras

from tfresnet.config.sections import ModelConfig
from tfresnet.models import zoo
from tfresnet.models.functional import functional

CASES = {  # architecture: (stem, image size, batch, steps in a round)
    "resnet18": ("cifar", 32, 32, 6),
    "resnet50": ("imagenet", 96, 16, 6),
}


def trainer(model: keras.Model, size: int, batch: int) -> Callable[[int], float]:
    """Return what trains ``model`` for some steps and returns the seconds of one."""
    images = tf.constant(np.random.default_rng(0).normal(size=(batch, size, size, 3)), tf.float32)
    labels = tf.range(batch) % 10
    optimizer = keras.optimizers.SGD(1e-3, momentum=0.9)
    optimizer.build(model.trainable_variables)

    @tf.function
    def steps(count: tf.Tensor) -> None:
        for _ in tf.range(count):
            with tf.GradientTape() as tape:
                logits = model(images, training=True)
                losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
                loss = tf.reduce_mean(losses)
            variables = model.trainable_variables
            optimizer.apply_gradients(zip(tape.gradient(loss, variables), variables, strict=True))

    def timed(count: int) -> float:
        started = time.perf_counter()
        steps(tf.constant(count))
        return (time.perf_counter() - started) / count

    timed(2)
    return timed


@click.command()
@click.option("--rounds", default=15, show_default=True)
def main(rounds: int) -> None:
    """Print the median milliseconds of a step in both forms, and their ratio."""
    for arch, (stem, size, batch, steps) in CASES.items():
        config, shape = ModelConfig(arch=arch, stem=stem), (size, size, 3)
        forms = {
            "subclassed": trainer(zoo.build(config, shape, 10), size, batch),
            "functional": trainer(functional(zoo.build(config, shape, 10), shape), size, batch),
        }
        times: dict[str, list[float]] = {name: [] for name in forms}
        for turn in range(rounds):
            for name in sorted(forms, reverse=bool(turn % 2)):
                times[name].append(forms[name](steps))
        ours, theirs = (1000 * statistics.median(times[name]) for name in forms)
        click.echo(
            f"{arch} ({size} px, batch {batch}): subclassed {ours:.1f} ms, "
            f"functional {theirs:.1f} ms, ratio {ours / theirs:.3f}"
        )


if __name__ == "__main__":
    main()
