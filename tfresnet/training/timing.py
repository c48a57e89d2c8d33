"""How fast a run would be, and whether its input or its computation holds it up."""

import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

if TYPE_CHECKING:
    from tfresnet.training.loop import Trainer

SECONDS = 3.0  # of every measurement, after a first step that is not timed
GLANCE = 0.5  # the same, of the input alone, while a run goes on


def rates(trainer: "Trainer") -> dict[str, Any]:
    """Return images/s of the run, of its input alone and of its computation alone.

    They are of the images' final size; ``estimated_seconds`` is the time of all steps at all sizes.
    The trainer's weights change; it is of no use afterwards.
    """
    size, done, estimate, whole = trainer.config.batch_size, 0, 0.0, 0.0
    for end, _ in trainer.segments:
        everything = trainer.distributed(trainer.batches(done).repeat())
        whole = size / _seconds_of_training(trainer, everything)
        estimate += (end - done) * size / whole
        last, done = trainer.batches(done), end
    one = trainer.distributed(tf.data.Dataset.from_tensors(next(iter(last))).repeat())
    compute = size / _seconds_of_training(trainer, one)
    _, alone = input_rate(last, size, SECONDS)
    return {
        "images_per_second": round(whole, 1),
        "input_images_per_second": round(alone, 1),
        "compute_images_per_second": round(compute, 1),
        "bottleneck": bottleneck(compute, alone),
        "estimated_seconds": round(estimate, 1),
        "peak_memory_mb": _peak_memory_mb(),
        "peak_gpu_memory_mb": _peak_gpu_memory_mb(),
    }


def bottleneck(rate: float, input_rate: float) -> str:
    """Return what is slower: ``input`` or ``compute``, which reaches ``rate``."""
    return "input" if input_rate < rate else "compute"


def input_rate(
    batches: tf.data.Dataset, batch_size: int, seconds: float = GLANCE
) -> tuple[np.ndarray, float]:
    """Return the first images of a stream, float32 NHWC, and how many a second it can give."""
    source = iter(batches.repeat())
    images = next(source)[0].numpy()
    return images, batch_size / _seconds(lambda: next(source), seconds)


def _seconds_of_training(trainer: "Trainer", batches: tf.distribute.DistributedIterator) -> float:
    """Return the mean time of a step; to read the loss is to wait until a GPU is done."""
    return _seconds(
        lambda: trainer.train_steps(batches, tf.constant(1)),
        SECONDS,
        wait=lambda: float(trainer.loss.result()),
    )


def _peak_memory_mb() -> int | None:
    """Return the most memory that this process has had; None on Windows, which does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def _peak_gpu_memory_mb() -> int | None:
    """Return the most memory that the first GPU has had in use; None without one."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)


def _seconds(
    step: Callable[[], Any], limit: float, wait: Callable[[], Any] = lambda: None
) -> float:
    """Return the mean time of a step, of which the last has ended when ``wait`` has."""
    step()
    wait()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < limit or not count:
        step()
        count += 1
    wait()
    return (time.perf_counter() - started) / count
