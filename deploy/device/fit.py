"""Tell whether a model fits boards: flash, memory, operations and, where it is known, time.

No TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from tfresnet.deploy.device import flash, tflite_micro
from tfresnet.deploy.device.boards import Board
from tfresnet.deploy.formats import arena, graph, micro_operations
from tfresnet.runtime.errors import InputError

MEASURED = "TFLite Micro's interpreter on this machine, corrected for 4-byte pointers"
ESTIMATED = "an estimate; pip install 'tfresnet[boards]' measures it (Linux on x86-64)"
# Beside the arena: the interpreter, its resolver of operations, and their names.
STATIC_BYTES = 2048


@dataclass(frozen=True)
class BoardFit:
    """Whether a model fits a board, and by how much.

    Attributes:
        name: of the board.
        title: what people call it.
        fits: whether flash, memory and operations suffice.
        flash_bytes: that the model takes with the code that runs it.
        flash_limit: that the board has.
        ram_bytes: that the arena and the interpreter take.
        ram_limit: that the board has, less what is reserved.
        arena_bytes: the tensor arena as TFLite Micro's interpreter reports it on this machine, or
            its estimate; ``ram_bytes`` has it with 4-byte pointers.
        ms: of one image; None if nobody measured or estimated it.
        source: where the numbers are from, in one line.
        sources: the same of ``board``, ``flash``, ``ram`` and ``ms``.
        problems: why it does not fit; empty if it does.
        advice: what would make it fit.
    """

    name: str
    title: str
    fits: bool
    flash_bytes: int
    flash_limit: int
    ram_bytes: int
    ram_limit: int
    arena_bytes: int
    ms: float | None
    source: str
    sources: dict[str, str]
    problems: tuple[str, ...] = ()
    advice: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return what ``--json`` prints."""
        lists = {"problems": list(self.problems), "advice": list(self.advice)}
        return asdict(self) | lists


class Footprint:
    """What a model takes on a microcontroller.

    Args:
        content: a TFLite file without the metadata behind it.
    """

    def __init__(self, content: bytes):
        self.content = content

    @property
    def flash_bytes(self) -> int:
        """The C array and the code of TFLite Micro that it needs."""
        return len(self.content) + flash.code_bytes(self.operations)

    @cached_property
    def operations(self) -> list[str]:
        """The kinds of operations, sorted."""
        return sorted({o.name for o in graph.operations(self.content)})

    @cached_property
    def refusal(self) -> str | None:
        """Why TFLite Micro does not run it; None if it does."""
        known = micro_operations.refusal(self.content)
        if known or not tflite_micro.is_installed():
            return known
        try:
            tflite_micro.measured_arena_bytes(self.content)
        except InputError as error:
            return str(error).partition(", it says: ")[2]
        return None

    @cached_property
    def measured(self) -> bool:
        """Whether the arena is measured, else estimated."""
        return tflite_micro.is_installed() and self.refusal is None

    @property
    def arena_bytes(self) -> int:
        """The arena with 8-byte pointers."""
        if self.measured:
            return tflite_micro.measured_arena_bytes(self.content)
        return arena.arena_bytes(self.content)

    @property
    def ram_bytes(self) -> int:
        """The memory on a 32-bit processor."""
        return STATIC_BYTES + tflite_micro.with_small_pointers(self.content, self.arena_bytes)


def fit(content: bytes, boards: Sequence[Board]) -> list[BoardFit]:
    """Return whether a model fits each of some boards.

    Args:
        content: a TFLite file, without the metadata behind it.
        boards: which.
    """
    footprint = Footprint(content)
    return [_fit(footprint, board) for board in boards]


def _fit(model: Footprint, board: Board) -> BoardFit:
    problems = _problems(model, board)
    sources = {
        "board": f"{board.source}; of its memory {board.reserved} KiB are kept for "
        f"{board.reserved_for}",
        "flash": flash.SOURCE,
        "ram": MEASURED if model.measured else ESTIMATED,
        "ms": "nobody measured this network on this board, as far as tfresnet knows",
    }
    return BoardFit(
        name=board.name,
        title=board.title,
        fits=not problems,
        flash_bytes=model.flash_bytes,
        flash_limit=board.flash_bytes,
        ram_bytes=model.ram_bytes,
        ram_limit=board.ram_bytes,
        arena_bytes=model.arena_bytes,
        ms=None,
        source="; ".join(f"{key}: {text}" for key, text in sources.items()),
        sources=sources,
        problems=tuple(problems),
    )


def _problems(model: Footprint, board: Board) -> list[str]:
    """Return why a model does not fit a board."""
    found = [model.refusal] if model.refusal else []
    pairs = (("flash", model.flash_bytes, board.flash_bytes),
             ("RAM", model.ram_bytes, board.ram_bytes))  # fmt: skip
    return found + [
        f"{name}: {needed / 1024:,.0f} KiB of {there / 1024:,.0f}"
        for name, needed, there in pairs
        if needed > there
    ]
