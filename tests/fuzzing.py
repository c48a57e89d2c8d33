"""Damage files at random and read them, thousands of times: ``python -m tests.fuzzing coco 0 500``.

Each case is drawn from its number, so that it can be repeated. The cases run in child processes: a
reader in C that crashes or hangs takes its child along, and the next case starts another one. Each
result is a line of JSON: kind, number, what became of it, its seconds of processor time, and the
bytes of memory that it took more than there were before.
"""

import json
import os
import random
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tests.fuzzed_files import KINDS, Kind

READ, REFUSED, ESCAPED, CRASHED, HUNG = "read", "refused", "traceback", "crash", "hang"
SECONDS = 30  # of a case, after which it is taken for a hang
LONGEST = 1000  # characters of the line that a user gets
ODD = (
    "", "-1", "0", "1", "1e309", "-1e309", "NaN", "Infinity", "99999999999999999999", "1.5", "null",
    "true", "[]", "{}", '""', "\x00", "\u202e", "../../etc/passwd", "a" * 5000, "&a [*a]",
    "!!python/name:os", "<!DOCTYPE x [<!ENTITY e 'e'>]>", "&e;", "&#0;", "é", "\U0001f642",
    "0x7fffffff", "2147483648", "-9223372036854775809",
)  # fmt: skip
# Values that leave JSON, YAML and XML what they are, and where there are values.
ODD_VALUES = (
    "-1", "0", "1e309", "NaN", "99999999999999999999", "1.5", "null", "true", "[]", "{}", '""',
    '"x"', '"' + "a" * 2000 + '"', "[[1]]", "-0.0", "2147483648", "[1, 2, 3, 4, 5]",
)  # fmt: skip
VALUE = re.compile(rb"""(?<=[:>,\[ ])("[^"]*"|-?\d[\d.]*|[A-Za-z_][\w.-]*)(?=\s*[<,\]}\r\n])""")
TOKEN = re.compile(rb"[A-Za-z_]+|-?\d+(?:\.\d+)?|[^\sA-Za-z0-9]")


@dataclass(frozen=True)
class Case:
    """What became of one damaged file."""

    kind: str
    number: int
    outcome: str
    seconds: float = 0.0
    bytes: int = 0
    text: str = ""


def damaged(content: bytes, draw: random.Random, is_text: bool) -> bytes:
    """Change a file at some places: bytes, pieces, words, or its length."""
    data = bytearray(content)
    if is_text and draw.random() < 0.5:
        for _ in range(draw.choice((1, 1, 2, 3))):
            if spots := list(VALUE.finditer(data)):
                data[slice(*draw.choice(spots).span())] = draw.choice(ODD_VALUES).encode()
        return bytes(data)
    for _ in range(draw.choice((1, 1, 1, 2, 3, 8))):
        at, length = draw.randrange(len(data) + 1), draw.choice((1, 2, 4, 8, 64, 512))
        what = draw.choice(
            ("word",) * 6 + ("flip", "set", "cut", "double", "end")
            if is_text
            else ("flip", "set", "set", "extreme", "cut", "double", "swap", "end")
        )
        if what == "word" and (found := list(TOKEN.finditer(data))):
            span = draw.choice(found).span()
            data[slice(*span)] = draw.choice(ODD).encode("utf-8", "surrogatepass")
        elif what == "flip" and at < len(data):
            data[at] ^= 1 << draw.randrange(8)
        elif what == "set" and at < len(data):
            data[at] = draw.randrange(256)
        elif what == "extreme":
            data[at : at + 4] = draw.choice((b"\xff" * 4, b"\0" * 4, b"\xff\xff\xff\x7f"))
        elif what == "cut":
            del data[at : at + length]
        elif what == "double":
            data[at:at] = data[at : at + length]
        elif what == "swap":
            other = draw.randrange(len(data) + 1)
            data[at : at + length] = data[other : other + length]
        elif what == "end" and draw.random() < 0.5:
            del data[at:]
    return bytes(data)


def run(kind: str, start: int, count: int) -> Iterator[Case]:
    """Yield what became of ``count`` cases."""
    number = start
    while number < start + count:
        for case in _in_child(kind, number, start + count):
            yield case
            number = case.number + 1


def run_elsewhere(kind: str, start: int, count: int) -> list[Case]:
    """Return what became of ``count`` cases, run by another process: one with TensorFlow's threads
    must not fork."""
    command = [sys.executable, "-m", "tests.fuzzing", kind, str(start), str(count)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, cwd=Path(__file__).parent.parent
    )
    return [Case(**json.loads(line)) for line in done.stdout.splitlines()]


def _in_child(kind: str, start: int, stop: int) -> Iterator[Case]:
    """Run cases in a fork until one of them ends it, which is the last that is yielded."""
    receive, send = os.pipe()
    child = os.fork()
    if not child:
        os.close(receive)
        with os.fdopen(send, "w") as out:
            _work(kind, start, stop, out)
        os._exit(0)
    os.close(send)
    done = start - 1
    with os.fdopen(receive) as lines:
        for line in lines:
            case = Case(**json.loads(line))
            done = case.number
            yield case
    _, status = os.waitpid(child, 0)
    if status and done + 1 < stop:
        name = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else str(status)
        yield Case(kind, done + 1, HUNG if name == "SIGALRM" else CRASHED, text=name)


def _work(kind: str, start: int, stop: int, out: Any) -> None:
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libraries in C complain there
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    files, one = KINDS[kind].files(), KINDS[kind]
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as whole:
        for name, content in files.items():  # whole ones first, so that all is imported by then
            _read_one(one, Path(whole, name), content)
        for number in range(start, stop):
            signal.alarm(SECONDS)
            case = _case(kind, one, number, files, Path(folder))
            signal.alarm(0)
            print(json.dumps(asdict(case)), file=out, flush=True)


def _read_one(one: Kind, path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
    one.read(path)


def _case(kind: str, one: Kind, number: int, files: dict[str, bytes], folder: Path) -> Case:
    from tfresnet.runtime.errors import InputError

    draw = random.Random(f"{kind} {number}")
    name = draw.choice(sorted(files))
    content = damaged(files[name], draw, one.is_text)
    before, began = _memory(reset=True), time.process_time()
    outcome, text = READ, ""
    try:
        _read_one(one, folder / name, content)
    except InputError as error:
        outcome, text = REFUSED, str(error)
        if len(text.splitlines()) != 1 or len(text) > LONGEST:
            outcome = ESCAPED
    except BaseException:
        outcome, text = ESCAPED, traceback.format_exc()
    seconds = time.process_time() - began
    return Case(kind, number, outcome, seconds, _memory() - before, text[-3000:])


def _memory(reset: bool = False) -> int:
    """Return the largest resident memory since the last reset, in bytes; 0 outside of Linux."""
    try:
        if reset:
            Path("/proc/self/clear_refs").write_text("5")
        found = re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())
        return int(found[1]) * 1024 if found else 0
    except OSError:
        return 0


if __name__ == "__main__":
    for found in run(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])):
        print(json.dumps(asdict(found)), flush=True)
