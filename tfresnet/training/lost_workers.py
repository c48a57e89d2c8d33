"""One line instead of TensorFlow's traceback when another worker of a run is lost."""

import contextlib
import traceback
from collections.abc import Iterator
from pathlib import Path

import tensorflow as tf

from tfresnet.runtime.errors import InputError
from tfresnet.training import workers
from tfresnet.training.checkpoint import newest_step

# What operations over all workers end with when one of them is no longer there.
LOST = (
    tf.errors.UnavailableError,
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
)


@contextlib.contextmanager
def explained(directory: Path) -> Iterator[None]:
    """Turn what TensorFlow raises when another worker is lost into one line.

    ``directory`` is that of this worker's run.

    Raises:
        InputError: a worker is gone.
    """
    try:
        yield
    except (tf.errors.OpError, InputError) as error:
        # A checkpoint takes all workers, so that one may fail to be written for their sake.
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
    """Drop what the frames of an error hold: a thread pool there complains when Python ends.

    TensorFlow takes its own frames out of a traceback; they are still behind those that it leaves.
    """
    for frame, _ in traceback.walk_tb(error.__traceback__):
        for behind, _ in traceback.walk_stack(frame):
            with contextlib.suppress(RuntimeError):  # it is still running
                behind.clear()
