"""Ctrl-C, SIGTERM, a lost terminal and SIGUSR1: finish the step, save, and only then stop.

SIGUSR1 is what SLURM can send some time before it ends a job (``--signal=USR1@120``).
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop and has saved where it was; ``number`` is the signal's."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class StopRequest:
    """Whether somebody asked to stop; ``signal`` is 0 or the signal's number."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        """Remember a signal; the second one does not wait for anything."""
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Give what Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 set while the context lasts.

    Outside of the main thread signals can't be caught, and they keep their meaning; so does a
    SIGHUP or SIGUSR1 that is ignored, as the former is under nohup.
    """
    request = StopRequest()
    if threading.current_thread() is not threading.main_thread():
        yield request
        return
    numbers = [signal.SIGINT, signal.SIGTERM]
    for name in ("SIGHUP", "SIGUSR1"):  # not on Windows
        number = getattr(signal, name, None)
        if number and signal.getsignal(number) != signal.SIG_IGN:
            numbers.append(number)
    before = {number: signal.signal(number, request) for number in numbers}
    try:
        yield request
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
