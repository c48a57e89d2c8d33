"""Estimate what a run will take, from a few timed steps."""

import sys
from typing import Any

import tensorflow as tf

from tfresnet.training.loop import Trainer
from tfresnet.training.timing import bottleneck, input_rate, mean_seconds

SECONDS = 3.0  # of every measurement


def rates(trainer: Trainer) -> dict[str, Any]:
    """Return images/s of the run, of its input alone and of its computation alone.

    They are of the images' final size; ``estimated_seconds`` is the time of all steps at all sizes.
    The trainer's weights change, so it can't be used afterwards.

    Returns:
        ``images_per_second input_images_per_second compute_images_per_second bottleneck
        estimated_seconds peak_memory_mb peak_gpu_memory_mb``; the last two are None where they are
        not known.
    """
    size, done, estimate, whole = trainer.config.batch_size, 0, 0.0, 0.0
    for end, _ in trainer.segments:
        everything = trainer.distributed(trainer.batches(done).repeat())
        whole = size / _step_seconds(trainer, everything)
        estimate += (end - done) * size / whole
        last, done = trainer.batches(done), end
    one = trainer.distributed(tf.data.Dataset.from_tensors(next(iter(last))).repeat())
    compute = size / _step_seconds(trainer, one)
    _, only_input = input_rate(last, size, SECONDS)
    return {
        "images_per_second": round(whole, 1),
        "input_images_per_second": round(only_input, 1),
        "compute_images_per_second": round(compute, 1),
        "bottleneck": bottleneck(compute, only_input),
        "estimated_seconds": round(estimate, 1),
        "peak_memory_mb": _peak_memory_mb(),
        "peak_gpu_memory_mb": _peak_gpu_memory_mb(),
    }


def _step_seconds(trainer: Trainer, batches: tf.distribute.DistributedIterator) -> float:
    """Return the mean time of a training step; to read the loss is to wait until a GPU is done."""
    return mean_seconds(
        lambda: trainer.train_steps(batches, tf.constant(1)),
        SECONDS,
        wait=lambda: float(trainer.loss.result()),
    )


def _peak_memory_mb() -> int | None:
    """Return the peak memory of this process; None on Windows, where it is not known."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def _peak_gpu_memory_mb() -> int | None:
    """Return the peak memory in use on the first GPU; None without one."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return round(tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20)
