"""Describe the environment of a run: versions, machine, command and commit.

On Linux the processor is read from /proc/cpuinfo: py-cpuinfo starts processes and takes 2 seconds.
"""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import psutil
from pydantic import Field

from tfresnet.system.records import Record

PACKAGES = ("tensorflow", "tf-keras", "numpy", "ai-edge-litert", "onnx", "onnxruntime", "tf2onnx")
CPUINFO = Path("/proc/cpuinfo")
CONTAINER_MEMORY = Path("/sys/fs/cgroup/memory.max")  # of Linux's cgroups, version 2
# A flag that all processors of an architecture have: the flags of those among them with dot
# products of bytes, and a note for the others.
INT8_NOTES: dict[str, tuple[set[str], str]] = {
    "sse2": (
        {"avx_vnni", "avx512_vnni", "amx_int8"},
        "this processor lacks VNNI (dot products of bytes): int8 is no faster than float32 here, "
        "often slower; where there is VNNI it is 3 to 4 times faster",
    ),
    "asimd": (
        {"asimddp", "i8mm"},
        "this processor lacks dot products of bytes (asimddp): int8 gains little over float32 here",
    ),
}


class Environment(Record):
    """The code, the libraries and the machine of a training, or of a part of one."""

    command: str | None = None
    commit: str | None = Field(None, description="Of tfresnet's code.")
    tfresnet: str | None = Field(None, description="Its version.")
    python: str | None = Field(None, description="Its version.")
    packages: dict[str, str | None] = Field({}, description="Versions; None if missing.")
    system: str | None = Field(None, description="The operating system.")
    processor: str = ""
    cores: int | None = None
    gpus: list[str] = Field([], description="Their names.")

    @property
    def machine(self) -> str:
        """The processors in words: ``2 cores of an AMD EPYC``."""
        return f"{self.cores} cores of {self.processor or 'a CPU'}"


class LaterPart(Environment):
    """The environment in which an interrupted training went on."""

    epochs: int = Field(0, description="Epochs that were trained before.")
    changed: dict[str, Any] = Field({}, description="Settings: from which value, to which.")


class RunEnvironment(Environment):
    """The environment that a run began in, as ``environment.json`` holds it."""

    resumed: list[LaterPart] = Field([], description="In which it went on, if it was interrupted.")

    @property
    def parts(self) -> list[Environment]:
        """The environments of all parts of the training, in order."""
        return [self, *self.resumed]


def record() -> Environment:
    """Return the environment of this process."""
    return Environment(
        command=shlex.join([_program(), *sys.argv[1:]]),
        commit=commit(),
        tfresnet=_version("tfresnet"),
        python=platform.python_version(),
        packages=versions(),
        system=platform.platform(),
        processor=processor(),
        cores=os.cpu_count(),
        gpus=gpus(),
    )


def versions() -> dict[str, str | None]:
    """Return the installed versions of the libraries that results depend on; None if missing."""
    return {name: _version(name) for name in PACKAGES}


def gpus() -> list[str]:
    """Return the names of TensorFlow's GPUs; an empty list unless TensorFlow is loaded."""
    tensorflow = sys.modules.get("tensorflow")
    if tensorflow is None:
        return []
    details = tensorflow.config.experimental.get_device_details
    found = tensorflow.config.list_physical_devices("GPU")
    return [details(gpu).get("device_name", "GPU") for gpu in found]


def _program() -> str:
    """Return the name of the running program; that of ``python -m tfresnet.cli`` is tfresnet."""
    program = Path(sys.argv[0])
    return "tfresnet" if program.parts[-2:] == ("cli", "__main__.py") else program.name


def commit() -> str | None:
    """Return the commit of the checkout that tfresnet runs from, ``-dirty`` if it was changed."""
    package = Path(__file__).parent.parent
    top = _git(package, "rev-parse", "--show-toplevel")
    # Not the commit of another project that holds the virtual environment.
    if top is None or Path(top) != package.parent:
        return None
    return _git(package, "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*")


def _git(folder: Path, *arguments: str) -> str | None:
    command = ["git", "-C", str(folder), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return done.stdout.strip() or None


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def processor_flags() -> set[str]:
    """Return the flags of an x86 processor, such as ``avx2``; an empty set outside of Linux."""
    return set(_cpuinfo("flags").split())


def int8_note() -> str | None:
    """Return a line on why int8 is slow on this processor; None if it is fast, or unknown.

    Measured with XNNPACK and MLPerf Tiny's ResNet-8: 0.385 ms in int8 and 0.298 in float32 with
    AVX2 alone, and int8 3 to 4 times faster than float32 with AVX-512 VNNI.
    """
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())  # x86 and Arm
    for architecture, (dot_products, note) in INT8_NOTES.items():
        if architecture in flags and not flags & dot_products:
            return note
    return None


def processor() -> str:
    """Return the name of the processor; on x86 with Linux also its family and model numbers.

    Virtual machines show only the brand, and one brand may be twice as fast as it was two years
    before: family and model identify the generation.
    """
    name, family, model = (_cpuinfo(key) for key in ("model name", "cpu family", "model"))
    if family and model:
        return f"{name} (family {family}, model {model})"
    return name or platform.processor()


def memory() -> int:
    """Return the memory that this process may use, in bytes: the machine's or the container's."""
    whole = psutil.virtual_memory().total
    try:
        return min(whole, int(CONTAINER_MEMORY.read_text()))
    except (OSError, ValueError):  # no container, or no limit
        return whole


def _cpuinfo(key: str) -> str:
    """Return a value of the first processor in /proc/cpuinfo; "" if there is none."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    facts = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in facts if name.strip() == key), "")
