"""The workers of a run on several machines: wait for them, and say which are gone.

TensorFlow waits for all of them in C++, without a message and without reacting to signals, so this
module waits for them before.
"""

import contextlib
import os
import socket
import sys
import time
from collections.abc import Iterator

from tfresnet.runtime.errors import InputError
from tfresnet.training.cluster import Cluster, find, host_and_port

TIMEOUT = "TFRESNET_WORKER_TIMEOUT"  # the environment variable, in seconds
SECONDS = 600.0  # its default
LAUNCHER = "TFRESNET_LAUNCHER"  # the variable with the words that started all workers
SILENCE = 3.0  # seconds of waiting before a message is printed
START_THERE, START_ALL = "start the same command there", "start all workers again with --resume"
POLL = 0.5  # seconds between two attempts


def cluster() -> Cluster:
    """Return the workers that the environment names, see :func:`.cluster.find`.

    Raises:
        InputError: it names none.
    """
    return find()


def hush() -> None:
    """Silence TensorFlow's errors on stderr, before it is imported: its exceptions repeat them.

    When a worker is lost they are a dozen lines.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL") == "2":  # set by tfresnet itself
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"


def wait(cluster: Cluster) -> None:
    """Wait until all workers accept connections; meanwhile this one does so at its own port.

    After some seconds a message lists the missing ones, and again when that changes. Signals work
    as usual.

    Raises:
        InputError: a worker did not start within ``TFRESNET_WORKER_TIMEOUT`` seconds, or this
            worker's port is in use.
    """
    limit, started = _limit(), time.monotonic()
    told: list[int] = []
    with _listening(cluster) as server:
        while missing := cluster.missing():
            waited = time.monotonic() - started
            if waited > limit:
                raise InputError(
                    f"expected {cluster.names(missing)} within {limit:g} s, as in "
                    f"{cluster.source}; {START_THERE}, or set {TIMEOUT} to more seconds"
                )
            if waited > SILENCE and missing != told:
                told = missing
                print(
                    f"Waiting for {cluster.names(missing)}, up to {limit:g} s",
                    file=sys.stderr,
                    flush=True,
                )
            time.sleep(POLL)
            _hang_up(server)


def lost(cluster: Cluster, step: int | None) -> str:
    """Return the error message for a training that ended because another worker did.

    Args:
        cluster: the workers.
        step: of this worker's newest checkpoint; None if there is none.
    """
    gone = cluster.missing()
    who = f"{cluster.names(gone)} {'is' if len(gone) == 1 else 'are'} gone"
    where = (
        "there is no checkpoint yet" if step is None else f"the last checkpoint is of step {step}"
    )
    return (
        f"{who if gone else 'another worker has stopped'}; {where}; look at its output, then "
        f"{START_ALL}"
    )


def blames_another(message: str) -> bool:
    """Tell whether an error message is that of a worker that another one has left."""
    return message.endswith(START_ALL) or START_THERE in message


def _limit() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        return float(text or SECONDS)
    except ValueError:
        raise InputError(f"{TIMEOUT}: expected seconds, got {text!r}") from None


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """Listen at this worker's port until TensorFlow does, so that the others can connect."""
    _, port = host_and_port(cluster.addresses[cluster.number])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"expected port {port} of this machine, as in {cluster.source}, to be free: "
            f"{error.strerror}; end what uses it, or take another"
        ) from None
    with server:
        server.setblocking(False)
        yield server


def _hang_up(server: socket.socket) -> None:
    """Accept and close the connections of workers that look for this one."""
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
