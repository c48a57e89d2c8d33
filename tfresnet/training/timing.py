"""Measure how long steps take, and whether a run waits for its input or for its computation."""

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import tensorflow as tf

SHORT = 0.5  # seconds of a measurement while a run goes on


def bottleneck(rate: float, input_rate: float) -> str:
    """Return what limits a run whose computation reaches ``rate``: ``input`` or ``compute``."""
    return "input" if input_rate < rate else "compute"


def input_rate(
    batches: tf.data.Dataset, batch_size: int, seconds: float = SHORT
) -> tuple[np.ndarray, float]:
    """Measure how fast a stream of batches is when nothing is trained.

    Returns:
        The images of the first batch, float32 NHWC, and the stream's rate in images/s.
    """
    source = iter(batches.repeat())
    images = next(source)[0].numpy()
    return images, batch_size / mean_seconds(lambda: next(source), seconds)


def mean_seconds(
    step: Callable[[], Any], limit: float, wait: Callable[[], Any] = lambda: None
) -> float:
    """Return the mean time of a step, in seconds; a first step is not timed.

    Args:
        step: starts one step.
        limit: seconds to measure for.
        wait: returns when all steps that were started are done.
    """
    step()
    wait()
    started, count = time.perf_counter(), 0
    while time.perf_counter() - started < limit or not count:
        step()
        count += 1
    wait()
    return (time.perf_counter() - started) / count
