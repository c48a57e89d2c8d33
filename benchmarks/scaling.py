"""How fast data-parallel training is with many workers: a model, and its check on this machine.

    python benchmarks/scaling.py             # the table in docs/reference/scaling.md
    python benchmarks/scaling.py --measure   # all-reduce of 1, 2 and 4 processes here

A step is the computation of a worker's share of the batch, and then a ring all-reduce of the
gradients (Patarasuk & Yuan 2009): 2 (W - 1) messages one after the other, each of 1/W of the
bytes. Nothing overlaps in the model; TensorFlow overlaps some of it.
"""

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable
from dataclasses import dataclass

import click

from tfresnet.launch.worker import free_addresses
from tfresnet.models import costs

FLOAT = 4  # bytes of a gradient
WORKERS = (1, 2, 4, 8, 16, 64, 256, 1024)
BYTES = (4 * 2**10, 16 * 2**20)  # of the all-reduces that are measured
REPEATS = 15


@dataclass(frozen=True)
class Network:
    """What connects the workers.

    Attributes:
        name: for a table.
        bandwidth: bytes a second, from one worker to the next.
        latency: seconds of a message without content.
    """

    name: str
    bandwidth: float
    latency: float


NETWORKS = (
    Network("10 Gbit/s, 50 us", 10e9 / 8, 50e-6),
    Network("100 Gbit/s, 10 us", 100e9 / 8, 10e-6),
    Network("400 Gbit/s, 5 us", 400e9 / 8, 5e-6),
)


def all_reduce(workers: int, size: float, network: Network) -> float:
    """Return the seconds of a ring all-reduce of ``size`` bytes."""
    messages = 2 * (workers - 1)
    return messages * (network.latency + size / workers / network.bandwidth)


def step(workers: int, batch: int, rate: float, size: float, network: Network) -> float:
    """Return the seconds of a step in which each worker has ``batch`` images at ``rate`` a second.

    Args:
        workers: their number.
        batch: images of each.
        rate: images a second of a worker alone.
        size: bytes of the gradients.
        network: between them.
    """
    return batch / rate + all_reduce(workers, size, network)


def table(arch: str, batch: int, rate: float) -> Iterable[str]:
    """Return the lines of a Markdown table for an architecture."""
    size = FLOAT * costs.table()[arch]["parameters"]
    yield (
        f"`{arch}`: {size / 1e6:.1f} MB of gradients, {rate:,.0f} img/s a worker, {batch} images "
        "each"
    )
    yield ""
    yield "| workers | " + " | ".join(f"{n.name}: ms | img/s | of ideal" for n in NETWORKS) + " |"
    yield "| ---: |" + " ---: | ---: | ---: |" * len(NETWORKS)
    for workers in WORKERS:
        cells = []
        for network in NETWORKS:
            seconds = step(workers, batch, rate, size, network)
            total = workers * batch / seconds
            share = total / (workers * rate)
            cells.append(
                f"{1000 * all_reduce(workers, size, network):.1f} | {total:,.0f} | {share:.2f}"
            )
        yield f"| {workers:,} | " + " | ".join(cells) + " |"
    yield ""


def measured(workers: int) -> list[float]:
    """Return the median seconds of an all-reduce of each of ``BYTES``, over so many processes."""
    addresses = free_addresses(workers)
    processes = []
    for number in range(workers):
        task = {"type": "worker", "index": number}
        config = json.dumps({"cluster": {"worker": addresses}, "task": task})
        processes.append(
            subprocess.Popen(
                [sys.executable, __file__, "--worker"],
                env=os.environ | {"TF_CONFIG": config, "TF_CPP_MIN_LOG_LEVEL": "3"},
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
            )
        )
    outputs = [process.communicate()[0] for process in processes]
    return json.loads(outputs[0].splitlines()[-1])


def measure_here() -> list[float]:
    """Return the same as one of the workers that ``TF_CONFIG`` names."""
    import tensorflow as tf

    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    found = []
    for size in BYTES:

        @tf.function
        def reduce(values: tf.Tensor) -> tf.Tensor:
            def of_replica() -> tf.Tensor:
                context = tf.distribute.get_replica_context()
                return context.all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(values))

            return strategy.experimental_local_results(strategy.run(of_replica))[0]

        values, seconds = tf.ones([size // FLOAT]), []
        for _ in range(REPEATS):
            before = time.perf_counter()
            reduce(values).numpy()
            seconds.append(time.perf_counter() - before)
        found.append(statistics.median(seconds[3:]))
    return found


def check() -> None:
    """Fit latency and bandwidth to 2 processes; print what they say of 4, and what 4 take."""
    overhead = measured(1)
    two, four = measured(2), measured(4)
    small, large = (two[i] - overhead[i] for i in range(2))
    latency = max(0.0, small / 2)
    network = Network("here", BYTES[1] / max(1e-9, large - small), latency)
    click.echo(f"fitted to 2: {latency * 1e6:,.0f} us, {network.bandwidth / 1e6:,.0f} MB/s")
    for index, size in enumerate(BYTES):
        told = all_reduce(4, size, network) + overhead[index]
        click.echo(
            f"{size:,} bytes: 1 process {1000 * overhead[index]:.2f} ms, 2 processes "
            f"{1000 * two[index]:.2f} ms, 4 processes {1000 * four[index]:.2f} ms, "
            f"the model says {1000 * told:.2f} ms"
        )


@click.command()
@click.option("--batch", default=128, show_default=True, help="Images of each worker.")
@click.option("--rate18", default=3000.0, show_default=True, help="ResNet-18, images a second.")
@click.option("--rate50", default=1000.0, show_default=True, help="ResNet-50, images a second.")
@click.option("--measure", is_flag=True, help="Check the model with processes of this machine.")
@click.option("--worker", is_flag=True, hidden=True)
def main(batch: int, rate18: float, rate50: float, measure: bool, worker: bool) -> None:
    """Print the tables, or the check."""
    if worker:
        click.echo(json.dumps(measure_here()))
    elif measure:
        check()
    else:
        for arch, rate in (("resnet18", rate18), ("resnet50", rate50)):
            click.echo("\n".join(table(arch, batch, rate)))


if __name__ == "__main__":
    main()
