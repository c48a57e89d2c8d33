"""One process of a cluster on this machine."""

import json
import os
import re
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from tfresnet.launch.terminal import Relay
from tfresnet.training import workers

LINES = 10  # of a log that are shown
CONTROL = re.compile(rb"\x1b\[[0-9;?]*[A-Za-z]|\r")  # of a terminal


class Worker:
    """A process that trains as one of a cluster; it is started at once.

    Args:
        command: the program and its arguments.
        addresses: ``host:port`` of every worker.
        number: the index of this one.
        log: a file that gets what it prints, at its end.
        more: variables for its environment.
        shown: whether what it prints is shown: on stderr, beside the log, and on stdout.
        stdout: in place of this process's stdout, where it is shown.
    """

    def __init__(
        self,
        command: Sequence[str],
        addresses: Sequence[str],
        number: int,
        log: Path,
        more: dict[str, str],
        shown: bool = False,
        stdout: IO[bytes] | None = None,
    ):
        self.number, self.log = number, log
        self.relay = Relay(log) if shown else None
        task = {"type": "worker", "index": number}
        config = {"cluster": {"worker": list(addresses)}, "task": task}
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command,
                env=os.environ | {"TF_CONFIG": json.dumps(config)} | more,
                stdin=subprocess.DEVNULL,
                stdout=stdout if shown else file,
                stderr=self.relay.descriptor if self.relay else file,
                start_new_session=True,  # the terminal's Ctrl-C is for the launcher
            )
        if self.relay:
            self.relay.start()

    def status(self) -> int | None:
        """Return the exit status, negative after a signal; None while it runs."""
        return self.process.poll()

    def send(self, number: int) -> None:
        """Send a signal to the process, if it still runs."""
        if self.status() is None:
            self.process.send_signal(number)

    def kill(self) -> None:
        """End the process at once, also one that hangs."""
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        """Wait until all that the process has printed is shown."""
        if self.relay:
            self.relay.wait()

    def tail(self) -> list[str]:
        """Return the last lines of the log, without a terminal's control characters."""
        with self.log.open("rb") as file:
            file.seek(max(0, self.log.stat().st_size - 20_000))
            text = CONTROL.sub(b"", file.read()).decode(errors="replace")
        return [line for line in text.splitlines() if line.strip()][-LINES:]

    def blames_another(self) -> bool:
        """Tell whether it ended because another worker did, or does not answer."""
        lines = self.tail()
        return self.status() == 2 and bool(lines) and workers.blames_another(lines[-1])


def ending(status: int) -> str:
    """Return an exit status as text: ``was killed by SIGKILL``."""
    if status < 0:
        return f"was killed by {signal.Signals(-status).name}"
    return f"ended with exit status {status}"


def free_addresses(count: int) -> list[str]:
    """Return so many addresses of this machine whose ports are free."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    found = [f"127.0.0.1:{s.getsockname()[1]}" for s in sockets]
    for s in sockets:
        s.close()
    return found
