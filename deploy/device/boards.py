"""The boards that ``tfresnet fit`` knows: a table, ``boards.yaml``, with the source of each row."""

from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from tfresnet.runtime.errors import unknown

KIB = 1024
UNITS = {"": 1, "K": KIB, "M": KIB**2, "G": KIB**3}
CUSTOM = "custom"  # the name of a board that is given by its sizes
TFLM, LITERT = "tflm", "litert"


@dataclass(frozen=True)
class Board:
    """A board and what a model may take of it.

    Attributes:
        name: on the command line.
        title: what people call it.
        processor: its cores and their clock.
        flash: KiB of storage for the program; of a Linux board the smallest card that its system
            is recommended for.
        ram: KiB of the largest range of addresses that an arena can lie in.
        reserved: KiB of ``ram`` that are kept for other things: an assumption.
        reserved_for: for which.
        source: where ``flash`` and ``ram`` are from.
        url: of ``source``.
        runtime: ``tflm`` for TFLite Micro, ``litert`` for LiteRT on Linux.
    """

    name: str
    title: str
    processor: str
    flash: int
    ram: int
    reserved: int
    reserved_for: str
    source: str
    url: str
    runtime: str = TFLM

    @property
    def flash_bytes(self) -> int:
        """Bytes of storage for the program with the model."""
        return self.flash * KIB

    @property
    def ram_bytes(self) -> int:
        """Bytes of memory that a model with its runtime may take."""
        return (self.ram - self.reserved) * KIB


@cache
def table() -> dict[str, Board]:
    """Return the boards by their names."""
    import yaml

    text = (resources.files("tfresnet.deploy.device") / "boards.yaml").read_text(encoding="utf-8")
    rows: list[dict[str, Any]] = yaml.safe_load(text)
    return {row["name"]: Board(**row) for row in rows}


def named(name: str) -> Board:
    """Return a board.

    Raises:
        InputError: there is none of this name.
    """
    if name not in table():
        raise unknown("board", name, table(), expected="one that tfresnet fit --boards lists")
    return table()[name]
