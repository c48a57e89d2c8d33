"""The workers of a run on several machines: their addresses, and whether they can be reached.

``TF_CONFIG`` lists them (https://www.tensorflow.org/guide/distributed_training#TF_CONFIG).
TensorFlow waits for all of them in C++, without a message and without reacting to signals, so this
module waits for them before. Loads no TensorFlow;
``tf.distribute.cluster_resolver``, which does, checks nothing of it.
"""

import contextlib
import json
import os
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass

from tfresnet.runtime.errors import InputError

TIMEOUT = "TFRESNET_WORKER_TIMEOUT"  # the environment variable, in seconds
SECONDS = 600.0  # its default
SILENCE = 3.0  # seconds of waiting before a message is printed
POLL = 0.5  # seconds between two attempts
CONNECT = 2.0  # seconds that a worker has to accept a connection


@dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        addresses: ``host:port`` of each.
        number: the index of this process.
    """

    addresses: tuple[str, ...]
    number: int

    def missing(self) -> list[int]:
        """Return the indices of the other workers that accept no connection."""
        others = [n for n in range(len(self.addresses)) if n != self.number]
        return [n for n in others if not _accepts(self.addresses[n])]

    def names(self, numbers: list[int]) -> str:
        """Return workers as text: ``worker 1 (10.0.0.2:12345)``."""
        return ", ".join(f"worker {n} ({self.addresses[n]})" for n in numbers)


def cluster() -> Cluster:
    """Read the workers from ``TF_CONFIG``.

    Raises:
        InputError: it is not set, or lists no workers.
    """
    text = os.environ.get("TF_CONFIG", "")
    try:
        config = json.loads(text)
        number, addresses = int(config["task"]["index"]), tuple(config["cluster"]["worker"])
        if config["task"]["type"] != "worker" or not 0 <= number < len(addresses):
            raise ValueError(f"task {config['task']}")
        for address in addresses:
            _host_and_port(address)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "train.strategy=multiworker: expected TF_CONFIG to hold "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, '
            f"got {text[:80]!r} ({error!r:.60})"
        ) from None
    return Cluster(addresses, number)


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
                    f"expected {cluster.names(missing)} within {limit:g} s, as in TF_CONFIG; start "
                    f"the same command there, or set {TIMEOUT} to more seconds"
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
        f"{who if gone else 'another worker has stopped'}; {where}; look at its output, then start "
        "all workers again with --resume"
    )


def _limit() -> float:
    text = os.environ.get(TIMEOUT, "")
    try:
        return float(text or SECONDS)
    except ValueError:
        raise InputError(f"{TIMEOUT}: expected seconds, got {text!r}") from None


def _host_and_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _accepts(address: str) -> bool:
    try:
        socket.create_connection(_host_and_port(address), CONNECT).close()
    except OSError:
        return False
    return True


@contextlib.contextmanager
def _listening(cluster: Cluster) -> Iterator[socket.socket]:
    """Listen at this worker's port until TensorFlow does, so that the others can connect."""
    _, port = _host_and_port(cluster.addresses[cluster.number])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    try:
        server = socket.create_server(("", port), family=family, dualstack_ipv6=both)
    except OSError as error:
        raise InputError(
            f"expected port {port} of this machine, as in TF_CONFIG, to be free: {error.strerror}; "
            "end what uses it, or take another"
        ) from None
    with server:
        server.setblocking(False)
        yield server


def _hang_up(server: socket.socket) -> None:
    """Accept and close the connections of workers that look for this one."""
    with contextlib.suppress(BlockingIOError):
        while True:
            server.accept()[0].close()
