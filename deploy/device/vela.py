"""Compile a TFLite file with Arm's Vela for an Ethos-U, and read what it estimates.

It is the pip package ``ethos-u-vela``. Its time is that of the NPU alone: what it leaves to the
processor is not in it.
"""

import csv
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from functools import cache
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from tfresnet.deploy.device import boards
from tfresnet.deploy.device.boards import Npu
from tfresnet.runtime.errors import InputError

PACKAGE, MODULE = "ethos-u-vela", "ethosu.vela"
SECONDS = 300
NAME = "model"
OPERATION = "ethos-u"  # what it makes of the operations that the NPU runs


@dataclass(frozen=True)
class Compiled:
    """What Vela made of a model.

    Attributes:
        model: the compiled TFLite file.
        sram_bytes: memory that activations take.
        ms: the estimated time of one image on the NPU, in milliseconds.
        version: of Vela.
    """

    model: bytes
    sram_bytes: int
    ms: float
    version: str


def is_installed() -> bool:
    """Return whether the package can be had."""
    return find_spec("ethosu") is not None and find_spec(MODULE) is not None


@cache
def compiled(content: bytes, npu: Npu) -> Compiled:
    """Return a model compiled for an Ethos-U.

    Raises:
        InputError: Vela refuses it; the message ends with what it printed.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / f"{NAME}.tflite"
        path.write_bytes(content)
        command = [
            sys.executable, "-m", MODULE, str(path), "--output-dir", str(folder),
            "--accelerator-config", npu.accelerator, "--system-config", npu.system,
            "--memory-mode", npu.memory, "--config", "Arm/vela.ini",
            "--config", str(boards.vela_ini()),
        ]  # fmt: skip
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )
        tables, models = list(folder.glob("*_summary_*.csv")), list(folder.glob("*_vela.tflite"))
        if done.returncode or not tables or not models:
            lines = (done.stderr + done.stdout).strip().splitlines()
            raise InputError(f"expected a model that Vela takes, it says: {_said(lines)}")
        with tables[0].open(newline="") as file:
            row = next(csv.DictReader(file))
        return Compiled(
            models[0].read_bytes(),
            round(float(row["sram_memory_used"]) * 1024),
            float(row["inference_time"]) * 1000,
            metadata.version(PACKAGE),
        )


def _said(lines: list[str]) -> str:
    errors = [line for line in lines if line.startswith("Error")]
    return (errors or lines or ["nothing"])[-1]
