"""Tell whether a model fits boards: flash, memory, operations and, where it is known, time.

No TensorFlow.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tfresnet.deploy.device import advice, footprint, networks
from tfresnet.deploy.device.boards import Board
from tfresnet.deploy.device.footprint import Footprint

KIB = 1024
UNKNOWN = "nobody measured this network on this board, as far as tfresnet knows"


@dataclass(frozen=True)
class BoardFit:
    """Whether a model fits a board, and by how much.

    Attributes:
        name: of the board.
        title: what people call it.
        fits: whether flash, memory and operations suffice.
        flash_bytes: that the model takes with the code that runs it.
        flash_limit: that the board has.
        model_bytes: of ``flash_bytes``, those of the model.
        ram_bytes: that the arena and the interpreter take.
        ram_limit: that the board has, less what is reserved.
        arena_bytes: the tensor arena; as TFLite Micro's interpreter reports it on this machine, or
            its estimate, or Vela's. ``ram_bytes`` has it with the board's pointers.
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
    model_bytes: int
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
        return asdict(self) | {"problems": [*self.problems], "advice": [*self.advice]}


def fit(content: bytes, boards: Sequence[Board]) -> list[BoardFit]:
    """Return whether a model fits each of some boards.

    Args:
        content: a TFLite file, without the metadata behind it.
        boards: which.
    """
    return [fit_board(content, board) for board in boards]


def fit_board(content: bytes, board: Board) -> BoardFit:
    """Return whether a model fits a board; see :func:`fit`."""
    taken = footprint.of(content, board)
    milliseconds, whose = _time(content, board, taken)
    problems = _problems(taken, board)
    sources = {
        "board": _board_source(board),
        "flash": taken.flash_source,
        "ram": taken.ram_source,
        "ms": whose,
    }
    return BoardFit(
        name=board.name,
        title=board.title,
        fits=not problems,
        flash_bytes=taken.flash_bytes,
        flash_limit=board.flash_bytes,
        model_bytes=taken.model_bytes,
        ram_bytes=taken.ram_bytes,
        ram_limit=board.ram_bytes,
        arena_bytes=taken.arena_bytes,
        ms=milliseconds,
        source="; ".join(f"{key}: {text}" for key, text in sources.items()),
        sources=sources,
        problems=tuple(problems),
        advice=tuple(_advice(content, board, taken)),
    )


def _board_source(board: Board) -> str:
    reserved = ""
    if board.reserved:
        whole, kept = size_text(board.ram * KIB), size_text(board.reserved * KIB)
        reserved = f"; of {whole} of RAM {kept} are reserved for {board.reserved_for}"
    note = f"; {board.note}" if board.note else ""
    return f"{board.source}{reserved}{note}"


def _time(content: bytes, board: Board, taken: Footprint) -> tuple[float | None, str]:
    """Return the milliseconds of one image on a board, and who says so; None if nobody does."""
    if taken.refusal:
        return None, "it does not run"
    if taken.ms is not None:
        return taken.ms, taken.ms_source
    network = networks.recognized(content) if board.times else None
    for time in board.times:
        if time.network == network:
            return time.ms, f"{time.source}: a network with the same layers, by {time.runtime}"
    return None, taken.ms_source or UNKNOWN


def _problems(taken: Footprint, board: Board) -> list[str]:
    """Return why a model does not fit a board."""
    found = [taken.refusal] if taken.refusal else []
    pairs = (("flash", taken.flash_bytes, board.flash_bytes),
             ("RAM", taken.ram_bytes, board.ram_bytes))  # fmt: skip
    return found + [
        f"it needs {size_text(needed)} of {name}, there are {size_text(there)}"
        for name, needed, there in pairs
        if needed > there
    ]


def _advice(content: bytes, board: Board, taken: Footprint) -> list[str]:
    """Return what would make a model fit a board."""
    too_large = taken.flash_bytes > board.flash_bytes or taken.ram_bytes > board.ram_bytes
    if taken.refusal or (too_large and footprint.is_float(content)):
        return ["export it in int8, for TFLite Micro: tfresnet export RUN --tflm"]
    found: list[str] = []
    if taken.ram_bytes > board.ram_bytes:
        beside = taken.ram_bytes - footprint.small_arena_bytes(content)
        found += advice.for_ram(content, board.ram_bytes, max(0, beside))
    if taken.flash_bytes > board.flash_bytes:
        beside = taken.flash_bytes - taken.model_bytes
        found += advice.for_flash(content, board.flash_bytes, beside)
    if too_large and not found:
        found.append("a smaller network: tfresnet models lists them")
    return found


def size_text(count: float) -> str:
    """Return a number of bytes for people, such as 264 KiB."""
    for unit, size in (("GiB", KIB**3), ("MiB", KIB**2)):
        if count >= 10 * size or (count >= size and not count % size):
            return f"{count / size:,.0f} {unit}"
    return f"{count / KIB:,.0f} KiB"
