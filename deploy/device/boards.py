"""The boards that ``tfresnet fit`` knows: a table, ``boards.yaml``, with the source of each row."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

from tfresnet.runtime.errors import InputError, unknown

KIB = 1024
UNITS = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3}
CUSTOM = "custom"  # the name of a board that is given by its sizes
TFLM, LITERT = "tflm", "litert"


@dataclass(frozen=True)
class Npu:
    """An Ethos-U, by the names that Arm's compiler Vela has for it.

    Attributes:
        accelerator: its kind and its multipliers: ``ethos-u55-128``.
        system: clock and memories, in Vela's own configuration or in ``vela.ini``.
        memory: which memory has what, in the same files.
    """

    accelerator: str
    system: str
    memory: str


@dataclass(frozen=True)
class Time:
    """How long somebody measured that a network takes on a board.

    Attributes:
        network: a name in :mod:`.networks`.
        ms: of one image, in milliseconds.
        runtime: what ran it there.
        source: who measured.
        url: of ``source``.
    """

    network: str
    ms: float
    runtime: str
    source: str
    url: str


@dataclass(frozen=True)
class Board:
    """A board and what a model may take of it.

    Attributes:
        name: on the command line.
        title: what people call it.
        processor: its cores and their clock.
        flash: KiB of storage for the program; of a Linux board that of a usual card.
        ram: KiB of the largest range of addresses that an arena can lie in.
        reserved: KiB of ``ram`` that are kept for other things: an assumption.
        reserved_for: for which.
        source: where ``flash`` and ``ram`` are from.
        url: of ``source``.
        runtime: ``tflm`` for TFLite Micro, ``litert`` for LiteRT on Linux.
        note: what else to know.
        npu: its Ethos-U, if it has one.
        times: what was measured on it.
    """

    name: str
    title: str
    processor: str
    flash: float
    ram: float
    reserved: float
    reserved_for: str
    source: str
    url: str
    runtime: str = TFLM
    note: str = ""
    npu: Npu | None = None
    times: tuple[Time, ...] = ()

    @property
    def flash_bytes(self) -> int:
        """Bytes of storage for the program with the model."""
        return int(self.flash * KIB)

    @property
    def ram_bytes(self) -> int:
        """Bytes of memory that a model with its runtime may take."""
        return int((self.ram - self.reserved) * KIB)


@cache
def table() -> dict[str, Board]:
    """Return the boards by their names."""
    import yaml

    rows: list[dict[str, Any]] = yaml.safe_load(_file("boards.yaml").read_text(encoding="utf-8"))
    return {row["name"]: _board(row) for row in rows}


def limits(names: Iterable[str]) -> dict[str, int]:
    """Return the bytes that a model may take on all of some boards: ``max_flash`` and ``max_ram``.

    Boards with Linux have room for any file: of them alone there are none.

    Raises:
        InputError: an unknown board.
    """
    chosen = [board for name in names if (board := named(name)).runtime == TFLM]
    if not chosen:
        return {}
    return {
        "max_flash": min(board.flash_bytes for board in chosen),
        "max_ram": min(board.ram_bytes for board in chosen),
    }


def vela_ini() -> Path:
    """Return the file of the systems that Vela does not know by itself."""
    return _file("vela.ini")


def _file(name: str) -> Path:
    return Path(str(resources.files("tfresnet.deploy.device"))) / name


def _board(row: dict[str, Any]) -> Board:
    npu = Npu(**row["npu"]) if "npu" in row else None
    times = tuple(Time(**time) for time in row.get("times", ()))
    return Board(**row | {"npu": npu, "times": times})


def named(name: str) -> Board:
    """Return a board.

    Raises:
        InputError: there is none of this name.
    """
    if name not in table():
        raise unknown("board", name, table(), expected="one that tfresnet fit --boards lists")
    return table()[name]


def custom(flash: str, ram: str) -> Board:
    """Return a board with TFLite Micro that is given by what a program may take of it.

    Args:
        flash: such as ``1M``, ``256K`` or a number of bytes.
        ram: the same.

    Raises:
        InputError: one of them is no size.
    """
    return Board(
        name=CUSTOM,
        title=f"any board with {flash} of flash and {ram} of RAM",
        processor="",
        flash=size("flash", flash) / KIB,
        ram=size("ram", ram) / KIB,
        reserved=0,
        reserved_for="nothing",
        source="the command line",
        url="",
    )


def size(key: str, text: str) -> int:
    """Return a number of bytes: ``262144``, ``256K`` or ``1.5M``, in units of 1024.

    Raises:
        InputError: the text is none.
    """
    found = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([KMG]?)(?:i?B)?", text.strip(), re.IGNORECASE)
    count = int(float(found[1]) * UNITS[found[2].upper()]) if found else 0
    if not count:
        raise InputError(f"{key}: expected a size such as 262144, 256K or 1M, got {text!r}")
    return count
