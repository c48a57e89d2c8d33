"""Take what C++ libraries print to file descriptor 2, where Python's ``sys.stderr`` can't."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


class Captured:
    """The text that was printed; complete once the ``with`` block is left."""

    text = ""


@contextlib.contextmanager
def captured(replay: bool = True) -> Iterator[Captured]:
    """Hold back everything printed to file descriptor 2 inside the block.

    TensorFlow greets on import and its converter reports failures only there. If the
    block raises, what was held back is printed after all, unless ``replay`` is off.
    """
    result = Captured()
    try:
        saved = os.dup(2)
    except OSError:  # there is none that could be printed to
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
    """Import TensorFlow and start its devices without their greetings; later, warnings only."""
    with captured():
        import tensorflow as tf
        from absl import logging

        tf.config.list_physical_devices()
    tf.get_logger().setLevel("WARNING")
    # What tfmot and litert-quantizer warn of there is for who calls them, not for who exports.
    logging.set_verbosity(logging.ERROR)
