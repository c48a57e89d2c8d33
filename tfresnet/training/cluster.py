"""Find the workers of a run in the environment: ``TF_CONFIG``, a SLURM step or a Kubernetes Job.

``TF_CONFIG`` (https://www.tensorflow.org/guide/distributed_training#TF_CONFIG) comes first, so that
it can replace what the others say. Loads no TensorFlow but to expand SLURM's list of hosts.
"""

import json
import os
import re
import socket
from dataclasses import dataclass

from tfresnet.runtime.errors import InputError

CONNECT = 2.0  # seconds that a worker has to accept a connection
PORT = 12345  # of the workers in Kubernetes, where each pod has an address of its own
STEP = "SLURM_STEP_NUM_TASKS"  # srun sets it for each task
INDEX = "JOB_COMPLETION_INDEX"  # Kubernetes sets it in the pods of an indexed Job
WORKERS, SERVICE = "TFRESNET_WORKERS", "TFRESNET_SERVICE"  # the manifest of the Job sets them


@dataclass(frozen=True)
class Cluster:
    """The workers of a run.

    Attributes:
        addresses: ``host:port`` of each.
        number: the index of this process.
        source: what names them, as an error message says it.
    """

    addresses: tuple[str, ...]
    number: int
    source: str = "TF_CONFIG"

    def missing(self) -> list[int]:
        """Return the indices of the other workers that accept no connection."""
        others = [n for n in range(len(self.addresses)) if n != self.number]
        return [n for n in others if not _accepts(self.addresses[n])]

    def names(self, numbers: list[int]) -> str:
        """Return workers as text: ``worker 1 (10.0.0.2:12345)``."""
        return ", ".join(f"worker {n} ({self.addresses[n]})" for n in numbers)


def find() -> Cluster:
    """Read the workers from ``TF_CONFIG``, else from SLURM's or Kubernetes' variables.

    Raises:
        InputError: there are none of these, or they can't be read.
    """
    if not os.environ.get("TF_CONFIG"):
        if STEP in os.environ:
            return _slurm()
        if INDEX in os.environ:
            return _kubernetes()
        if "SLURM_JOB_ID" in os.environ:
            raise InputError(
                "train.strategy=multiworker: expected a step of the SLURM job "
                f"{os.environ['SLURM_JOB_ID']}, got its script; write srun before tfresnet train"
            )
    return _tf_config(os.environ.get("TF_CONFIG", ""))


def check() -> None:
    """Check that the environment names the workers, as far as that needs no TensorFlow.

    Raises:
        InputError: it does not.
    """
    if os.environ.get("TF_CONFIG") or STEP not in os.environ:
        find()
    else:
        _slurm_place()


def host_and_port(address: str) -> tuple[str, int]:
    """Split ``host:port``; the host of an IPv6 address is in brackets."""
    host, _, port = address.rpartition(":")
    return host.strip("[]"), int(port)


def _tf_config(text: str) -> Cluster:
    try:
        config = json.loads(text)
        number, addresses = int(config["task"]["index"]), tuple(config["cluster"]["worker"])
        if config["task"]["type"] != "worker" or not 0 <= number < len(addresses):
            raise ValueError(f"task {config['task']}")
        for address in addresses:
            host_and_port(address)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InputError(
            "train.strategy=multiworker: expected TF_CONFIG to hold "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}, '
            f"got {text[:80]!r} ({error!r:.60}); without it, start with srun, in an indexed Job of "
            "Kubernetes, or with tfresnet launch"
        ) from None
    return Cluster(addresses, number)


def _slurm() -> Cluster:
    """Return the tasks of this SLURM step, by TensorFlow's resolver.

    Its list is sorted by the hosts' names, which need not be the order of ``SLURM_PROCID``; so this
    process finds itself by its own host and its place there. The resolver gets numbers of GPUs that
    keep it from assigning any: ``srun --gpus-per-task`` does that.
    """
    host, place, first = _slurm_place()
    import tensorflow as tf

    try:
        # As many GPUs a node as there can be tasks, one each: with 0 it fails.
        tasks = int(os.environ[STEP])
        resolver = tf.distribute.cluster_resolver.SlurmClusterResolver(
            port_base=first, gpus_per_node=tasks, gpus_per_task=1, auto_set_gpu=False
        )
        addresses = tuple(resolver.cluster_spec().as_dict()["worker"])
        own = f"{host}:{first + place}"
        if own not in addresses:
            raise ValueError(f"{own} is not in {','.join(addresses)}")
        return Cluster(addresses, addresses.index(own), "SLURM's step")
    except (ValueError, RuntimeError, KeyError) as error:
        raise _unreadable(str(error)) from None


def _slurm_place() -> tuple[str, int, int]:
    """Return this task's host, its place on that host, and the port of the first task there."""
    try:
        host, place = os.environ["SLURMD_NODENAME"], int(os.environ["SLURM_LOCALID"])
        job = int(os.environ["SLURM_JOB_ID"]) + int(os.environ["SLURM_STEP_ID"])
    except (KeyError, ValueError) as error:
        raise _unreadable(f"{error!r}") from None
    # Jobs that share a host have other ports; all are below those that systems lend to clients.
    return host, place, 10000 + job % 1000 * 20


def _unreadable(reason: str) -> InputError:
    return InputError(
        f"train.strategy=multiworker: expected the variables of a SLURM step, got {reason:.120}; "
        "start with srun, or set TF_CONFIG"
    )


def _kubernetes() -> Cluster:
    """Return the pods of this indexed Job, by their names in its headless Service.

    A pod's host name is the Job's and its completion index
    (https://kubernetes.io/docs/tasks/job/job-with-pod-to-pod-communication).
    """
    service, text = os.environ.get(SERVICE, ""), os.environ.get(WORKERS, "")
    pod = re.fullmatch(rf"(.+)-{re.escape(os.environ[INDEX])}", socket.gethostname())
    number = int(os.environ[INDEX]) if os.environ[INDEX].isdigit() else -1
    count = int(text) if text.isdigit() else 0
    if not (service and pod and 0 <= number < count):
        raise InputError(
            f"train.strategy=multiworker: expected {WORKERS} (completions of the Job) and "
            f"{SERVICE} (its headless Service) in the pod JOB-{os.environ[INDEX]}, got {text!r} "
            f"and {service!r} in {socket.gethostname()}; take the manifest of the documentation"
        )
    names = (f"{pod[1]}-{n}.{service}:{PORT}" for n in range(count))
    return Cluster(tuple(names), number, "the Kubernetes Job")


def _accepts(address: str) -> bool:
    try:
        socket.create_connection(host_and_port(address), CONNECT).close()
    except OSError:
        return False
    return True
