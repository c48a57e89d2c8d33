"""How fast a run would be, and whether its input or its computation holds it up."""

import sys
import time
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfresnet.training.loop import Trainer

SECONDS = 3.0  # of every measurement, after a first step that is not timed


def rates(trainer: Trainer) -> dict[str, Any]:
    """Return images/s of the run, of its input alone and of its computation alone.

    ``bottleneck`` is the slower of the two, ``estimated_seconds`` the time of all steps. The
    trainer's weights change; it is of no use afterwards.
    """
    size = trainer.config.batch_size
    batches = trainer.batches(0).repeat()
    source = iter(batches)
    one = tf.data.Dataset.from_tensors(next(source)).repeat()
    everything, repeated = trainer.distributed(batches), trainer.distributed(one)
    whole = size / _seconds(lambda: trainer.train_steps(everything, tf.constant(1)))
    compute = size / _seconds(lambda: trainer.train_steps(repeated, tf.constant(1)))
    input_rate = size / _seconds(lambda: next(source))
    return {
        "images_per_second": round(whole, 1),
        "input_images_per_second": round(input_rate, 1),
        "compute_images_per_second": round(compute, 1),
        "bottleneck": "input" if input_rate < compute else "compute",
        "estimated_seconds": round(trainer.total_steps * size / whole, 1),
        "peak_memory_mb": _peak_memory_mb(),
    }


def _peak_memory_mb() -> int | None:
    """Return the most memory that this process has had; None on Windows, which does not say."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # of ru_maxrss, in bytes
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**20)


def _seconds(step: Callable[[], Any]) -> float:
    """Return the mean time of a step."""
    step()
    started, count = time.perf_counter(), 0
    while (now := time.perf_counter()) - started < SECONDS or not count:
        step()
        count += 1
    return (now - started) / count if now > started else SECONDS
