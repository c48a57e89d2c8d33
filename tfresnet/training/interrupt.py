"""Finish the step and save before stopping on Ctrl-C, SIGTERM, SIGHUP or SIGUSR1.

SIGUSR1 is what SLURM can send some time before it ends a job (``--signal=USR1@120``).
"""

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType
from typing import Any


class Interrupted(KeyboardInterrupt):
    """Training was stopped by the signal ``number``, after a checkpoint was saved."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


class StopRequest:
    """A signal handler; ``signal`` is the number of the signal that arrived, 0 before."""

    def __init__(self) -> None:
        self.signal = 0

    def __call__(self, number: int, frame: FrameType | None) -> Any:
        """Remember the signal; raise ``KeyboardInterrupt`` on the second one."""
        if self.signal:
            raise KeyboardInterrupt
        self.signal = number


@contextlib.contextmanager
def stop_request() -> Iterator[StopRequest]:
    """Catch Ctrl-C, SIGTERM, SIGHUP and SIGUSR1 while the context lasts.

    Outside of the main thread signals can't be caught and keep their handlers; so do SIGHUP and
    SIGUSR1 where they are ignored, as SIGHUP is under nohup.
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
