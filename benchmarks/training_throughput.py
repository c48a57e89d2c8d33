"""Training speed: our loop, tf_keras' ``fit`` and PyTorch on the same network, in turn.

    python benchmarks/training_throughput.py --precision mixed_bfloat16

All three train on one batch that is in memory already (no input pipeline), with SGD and Nesterov
momentum; PyTorch in channels_last, eager, and compiled where that works. The medians of
alternating rounds are compared. PyTorch's networks are those of tests/test_torch_parity.py.
``torch.compile`` needs a C++ compiler; PyTorch's CUDA build crashes beside TensorFlow when it
imports triton, which it does not need on a CPU: ``pip uninstall triton``.
"""

import contextlib
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parent.parent))

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as tfresnet does, which is imported too late

import click
import numpy as np
import tensorflow as tf
import tf_keras as keras
import torch

from tests import test_torch_parity as peers
from tfresnet.config.sections import RunConfig
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import ArraySplit
from tfresnet.models import zoo
from tfresnet.models.functional import functional
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.training.convolution import adapt
from tfresnet.training.loop import Trainer

CASES = {  # name: (our model section, size, batch)
    "resnet8": ({"arch": "resnet8"}, 32, 128),
    "resnet20": ({"arch": "resnet20"}, 32, 128),
    "resnet18": ({"arch": "resnet18", "stem": "cifar"}, 32, 128),
    "resnet50": ({"arch": "resnet50", "stem": "imagenet"}, 224, 16),
}
Party = Callable[[int], float]  # steps -> seconds


def ours(model: dict, spec: InputSpec, batch: int, precision: str, folder: Path) -> Party:
    """Our training loop."""
    config = RunConfig.model_validate(
        {"model": model, "train": {"batch_size": batch, "precision": precision}}
    )
    images = np.zeros((batch, *spec.shape), np.uint8)
    split = ArraySplit(images, np.arange(batch) % 10)
    build = lambda: adapt(zoo.build(config.model, spec.shape, 10, precision))  # noqa: E731
    trainer = Trainer(
        config,
        Dataset(split, split, spec, OutputSpec("classification", tuple("abcdefghij"))),
        folder,
        build,
    )
    batches = trainer.distributed(_batch(spec, batch).repeat())

    def run(steps: int) -> float:
        started = time.perf_counter()
        trainer.train_steps(batches, tf.constant(steps))
        return time.perf_counter() - started

    return run


def fit(model: dict, spec: InputSpec, batch: int, precision: str) -> Party:
    """The same network as a functional model in ``fit``."""
    config = RunConfig.model_validate({"model": model}).model
    twin = functional(zoo.build(config, spec.shape, 10, precision), spec.shape)
    twin.compile(
        keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
        keras.losses.CategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
    )
    data = _batch(spec, batch).repeat()

    def run(steps: int) -> float:
        started = time.perf_counter()
        twin.fit(data, steps_per_epoch=steps, epochs=1, verbose=0)
        return time.perf_counter() - started

    return run


def pytorch(net: torch.nn.Module, spec: InputSpec, batch: int, precision: str) -> Party:
    """PyTorch, channels_last."""
    net = net.train().to(memory_format=torch.channels_last)
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, nesterov=True)
    images = torch.randn(batch, 3, spec.height, spec.width).to(memory_format=torch.channels_last)
    labels = torch.arange(batch) % 10
    bf16 = precision == "mixed_bfloat16"

    def run(steps: int) -> float:
        started = time.perf_counter()
        for _ in range(steps):
            context = torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext()
            with context:
                loss = torch.nn.functional.cross_entropy(net(images).float(), labels)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
        return time.perf_counter() - started

    return run


def torch_net(name: str) -> torch.nn.Module:
    """The peer's network; ResNet-8 and 20 as three stages of basic blocks."""
    small = {"resnet8": 1, "resnet20": 3}
    if name in small:
        return peers.Net((small[name],) * 3, (16, 32, 64), False, 10, cifar=True)
    return peers.Net(**peers.NETS[name], classes=10, cifar=name == "resnet18")


def _batch(spec: InputSpec, batch: int) -> tf.data.Dataset:
    images = np.random.default_rng(0).normal(size=(batch, *spec.shape)).astype(np.float32)
    return tf.data.Dataset.from_tensors((images, tf.one_hot(np.arange(batch) % 10, 10)))


@click.command()
@click.option("--precision", default="float32", show_default=True)
@click.option("--rounds", default=7, show_default=True)
@click.option("--nets", default=",".join(CASES), show_default=True)
@click.option("--seconds", default=2.0, show_default=True, help="Of a round, each.")
@click.option("--compile/--eager", "compiled", default=True, help="Try torch.compile as well.")
def main(precision: str, rounds: int, nets: str, seconds: float, compiled: bool) -> None:
    """Print images/s of every party, and ours over theirs."""
    for name in nets.split(","):
        model, size, batch = CASES[name]
        spec = InputSpec(size, size)
        with tempfile.TemporaryDirectory() as folder:
            parties = {
                "ours": ours(model, spec, batch, precision, Path(folder)),
                "fit": fit(model, spec, batch, precision),
                "torch": pytorch(torch_net(name), spec, batch, precision),
            }
            if compiled:
                net = torch.compile(torch_net(name))
                parties["torch.compile"] = pytorch(net, spec, batch, precision)
            _compare(name, precision, batch, parties, rounds, seconds)


def _compare(
    name: str, precision: str, batch: int, parties: dict[str, Party], rounds: int, seconds: float
) -> None:
    steps = {}
    for party, run in list(parties.items()):
        try:
            run(2)
        except Exception as error:  # torch.compile needs a C++ compiler
            click.echo(f"{name}: {party} does not run here: {type(error).__name__}")
            del parties[party]
            continue
        steps[party] = max(1, round(seconds / (run(2) / 2)))
    rates: dict[str, list[float]] = {party: [] for party in parties}
    for turn in range(rounds):
        for party in sorted(parties, reverse=bool(turn % 2)):
            rates[party].append(batch * steps[party] / parties[party](steps[party]))
    median = {party: statistics.median(found) for party, found in rates.items()}
    shown = ", ".join(f"{party} {rate:,.0f}" for party, rate in median.items())
    ratios = ", ".join(f"{median['ours'] / r:.2f} x {p}" for p, r in median.items() if p != "ours")
    click.echo(f"{name} {precision}: {shown} img/s; ours is {ratios}")


if __name__ == "__main__":
    main()
