"""Report the loss of another worker in one line instead of TensorFlow's traceback."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfresnet.runtime.errors import InputError
from tfresnet.training import workers
from tfresnet.training.checkpoint import newest_step

# The errors of collective operations when a worker is gone.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn TensorFlow's errors after the loss of another worker into one ``InputError``.

    Args:
        directory: of this worker's run.

    Raises:
        InputError: a worker is gone.
    """
    try:
        yield
    except (tf.errors.OpError, InputError) as error:
        # All workers take part in saving, so a checkpoint fails too if one of them is gone.
        cause = error.__cause__ if isinstance(error, InputError) else error
        if not isinstance(cause, tf.errors.OpError):
            raise
        cluster = workers.cluster()
        if not (isinstance(cause, LOST) or cluster.missing()):
            raise
        for one in (error, cause):
            _clear_frames(one)
        raise InputError(workers.lost(cluster, newest_step(directory))) from None


def _clear_frames(error: BaseException) -> None:
    """Clear the local variables of an error's frames: a thread pool there warns at Python's exit.

    TensorFlow removes its own frames from the traceback, but they still are the callers of others.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for behind, _ in traceback.walk_stack(frame):
            with contextlib.suppress(RuntimeError):  # it is still running
                behind.clear()
