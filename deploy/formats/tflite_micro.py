"""Run TFLite Micro's own interpreter: how much memory it took, and what it answers.

It is that of the pip package ``tflite-micro`` (Linux, x86-64), with the reference kernels. It runs
in another process: a model that it can't run may end the process.
"""

import json
import os
import re
import subprocess
import sys
import tempfile
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from tfresnet.deploy.formats import arena, graph
from tfresnet.runtime.errors import InputError

PACKAGE = "tflite_micro"
# The Python that has the package, if it isn't this one.
PYTHON = "TFRESNET_DEVICE_PYTHON"
LARGEST_ARENA = 2**28
SECONDS = 120
OPENING = f"""
import json, sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
model = open(sys.argv[1], "rb").read()
interpreter = runtime.Interpreter.from_bytes(model, arena_size={LARGEST_ARENA})
"""
ALLOCATIONS = "interpreter.print_allocations()\n"
INPUTS = 4  # made-up ones
ANSWERS = f"""
details = interpreter.get_input_details(0)
numbers, answers = np.random.default_rng(0), []
for _ in range({INPUTS}):
    pixels = numbers.integers(0, 256, details["shape"], dtype=np.uint8)
    is_float = details["dtype"] == np.float32
    centered = np.float32(pixels) / 128 - 1
    interpreter.set_input(centered if is_float else pixels.view(details["dtype"]), 0)
    interpreter.invoke()
    answers.append(interpreter.get_output(0).tolist())
print(json.dumps(answers))
"""
TOTAL = re.compile(r"Arena allocation total (\d+)")


def is_installed() -> bool:
    """Return whether the package can be had, in this Python or in that of ``PYTHON``."""
    return PYTHON in os.environ or find_spec(PACKAGE) is not None


@cache
def measured_arena_bytes(content: bytes) -> int:
    """Return the bytes of the arena that TFLite Micro's interpreter uses, with 8-byte pointers.

    Raises:
        InputError: it does not run the model; the message ends with what it printed. Or the Python
            that ``PYTHON`` names lacks the package.
    """
    done = _run(OPENING + ALLOCATIONS, content)
    printed = done.stdout + done.stderr
    if found := TOTAL.search(printed):
        return int(found[1])
    if "No module named" in printed:
        raise InputError(f"{PYTHON}: expected a Python with {PACKAGE.replace('_', '-')}")
    lines = [line.strip() for line in printed.splitlines() if line.strip()]
    said = lines[0] if lines else f"exit status {done.returncode}"
    raise InputError(f"expected a model that TFLite Micro runs, it says: {said}")


def answers(content: bytes) -> list | None:
    """Return a file's first output for ``INPUTS`` random inputs, as nested lists.

    None if TFLite Micro is not installed or takes too long, an empty list if it can't run the file.
    """
    if not is_installed():
        return None
    try:
        done = _run(OPENING + ANSWERS, content)
    except subprocess.TimeoutExpired:  # its reference kernels are slow
        return None
    return list(json.loads(done.stdout.splitlines()[-1])) if done.returncode == 0 else []


def _run(program: str, content: bytes) -> subprocess.CompletedProcess:
    """Run a Python program on a file of a model."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(content)
        command = [os.environ.get(PYTHON) or sys.executable, "-c", program, str(path)]
        return subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=SECONDS, check=False
        )


def with_small_pointers(content: bytes, measured: int) -> int:
    """Return the arena of a 32-bit processor, for one that was measured with 8-byte pointers.

    Tensors' and operations' structures shrink by half. The rest stays: activations and the numbers
    of kernels are the same. The few pointers among a kernel's numbers are not counted, so that the
    true size is a little smaller still.
    """
    model = graph.read(content)
    saved = arena.structure_bytes(model, 8) - arena.structure_bytes(model, 4)
    return measured - saved
