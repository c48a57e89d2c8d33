"""Capture what C++ libraries print to file descriptor 2, which ``sys.stderr`` does not see."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


class Captured:
    """The captured text; complete when the ``with`` block has ended."""

    text = ""


@contextlib.contextmanager
def captured(replay: bool = True) -> Iterator[Captured]:
    """Capture everything that is printed to file descriptor 2 inside the block.

    TensorFlow logs there when it is imported, and its converter reports failures only there.

    Args:
        replay: whether to print the captured text after all if the block raises.
    """
    result = Captured()
    try:
        saved = os.dup(2)
    except OSError:  # this process has no file descriptor 2
        yield result
        return
    _flush()
    with tempfile.TemporaryFile() as file:
        os.dup2(file.fileno(), 2)
        failed = True
        try:
            yield result
            failed = False
        finally:
            _flush()
            os.dup2(saved, 2)
            os.close(saved)
            file.seek(0)
            result.text = file.read().decode(errors="replace")
            if failed and replay and sys.stderr:
                sys.stderr.write(result.text)


def _flush() -> None:
    if sys.stderr:
        sys.stderr.flush()


def quiet_tensorflow() -> None:
    """Import TensorFlow and start its devices without log lines; afterwards only warnings show."""
    with captured():
        import tensorflow as tf
        from absl import logging

        tf.config.list_physical_devices()
    tf.get_logger().setLevel("WARNING")
    # The warnings of tfmot and litert-quantizer are for their callers, not for our users.
    logging.set_verbosity(logging.ERROR)
