"""What a run ran on: versions, machine, command and commit."""

import os
import platform
import shlex
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

PACKAGES = ("tensorflow", "tf-keras", "numpy", "ai-edge-litert", "onnx", "onnxruntime", "tf2onnx")
CPUINFO = Path("/proc/cpuinfo")
CONTAINERS_MEMORY = Path("/sys/fs/cgroup/memory.max")  # of Linux's cgroups, version 2
# By a flag of all processors of a family: the flags of those that multiply and add bytes at once,
# and what is to be said of the others.
BYTE_PRODUCTS: dict[str, tuple[set[str], str]] = {
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


def record() -> dict:
    """Return the environment as a dictionary of JSON types."""
    return {
        "command": shlex.join([_program(), *sys.argv[1:]]),
        "commit": commit(),
        "tfresnet": _version("tfresnet"),
        "python": platform.python_version(),
        "packages": versions(),
        "system": platform.platform(),
        "processor": processor(),
        "cores": os.cpu_count(),
        "gpus": gpus(),
    }


def versions() -> dict[str, str | None]:
    """Return the installed versions of the libraries that results depend on; None if missing."""
    return {name: _version(name) for name in PACKAGES}


def gpus() -> list[str]:
    """Return the names of the GPUs that TensorFlow has, where it is loaded."""
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
    # Not another project's, in whose folder a virtual environment happens to be.
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
    """Return the names of the processor's extensions, such as ``avx2``; Linux only, else none."""
    return set(_cpuinfo("flags").split())


def slow_integers() -> str | None:
    """Return what makes int8 slow on this processor, in a line; None if nothing does, or unknown.

    Measured with XNNPACK and MLPerf Tiny's ResNet-8: 0.385 ms in int8 and 0.298 in float32 with
    AVX2 alone, and int8 3 to 4 times faster than float32 with AVX-512 VNNI.
    """
    flags = set(_cpuinfo("flags").split()) | set(_cpuinfo("Features").split())  # x86 and Arm
    for family, (products, verdict) in BYTE_PRODUCTS.items():
        if family in flags and not flags & products:
            return verdict
    return None


def processor() -> str:
    """Return the processor's name; on Linux ``platform`` does not know it.

    Virtual machines hide all but the brand, and one brand may be twice as fast as it was two years
    before: the numbers of an x86 processor's family and model tell its generation.
    """
    name, family, model = (_cpuinfo(key) for key in ("model name", "cpu family", "model"))
    if family and model:
        return f"{name} (family {family}, model {model})"
    return name or platform.processor()


def memory() -> int:
    """Return the bytes of memory that this process may use: its machine's, or its container's."""
    whole = psutil.virtual_memory().total
    try:
        return min(whole, int(CONTAINERS_MEMORY.read_text()))
    except (OSError, ValueError):  # there is none, or no limit
        return whole


def _cpuinfo(key: str) -> str:
    """Return what Linux says of the first processor; nothing where it does not."""
    try:
        lines = CPUINFO.read_text().splitlines()
    except OSError:
        return ""
    facts = (line.partition(":") for line in lines)
    return next((value.strip() for name, _, value in facts if name.strip() == key), "")
