"""Divide this machine's GPUs among processes."""

import os
import shutil
import subprocess

from tfresnet.runtime.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"


def shares(count: int) -> list[dict[str, str]]:
    """Return the variables that give each of so many processes its own GPUs; none without GPUs.

    Raises:
        InputError: the GPUs can't be divided evenly.
    """
    gpus = _gpus()
    if len(gpus) % count:
        raise InputError(
            f"-n: expected a divisor of the {len(gpus)} GPUs, got {count}; or set {VISIBLE} to "
            "some of them, or to nothing for the CPU"
        )
    each = len(gpus) // count
    if not each:
        return [{} for _ in range(count)]
    return [{VISIBLE: ",".join(gpus[n * each : (n + 1) * each])} for n in range(count)]


def _gpus() -> list[str]:
    """Return the indices or names of the GPUs that may be used."""
    if (named := os.environ.get(VISIBLE)) is not None:
        return [gpu for gpu in named.split(",") if gpu.strip()]
    if not (tool := shutil.which("nvidia-smi")):
        return []
    found = subprocess.run([tool, "--list-gpus"], capture_output=True, text=True, check=False)
    return [str(n) for n, _ in enumerate(found.stdout.splitlines())] if not found.returncode else []
