"""Find what a model takes on a board, by the runtime of the board."""

from dataclasses import dataclass

from tfresnet.deploy.device import flash, vela
from tfresnet.deploy.device.boards import LITERT, Board, Npu
from tfresnet.deploy.formats import arena, graph, micro_operations, tflite_micro
from tfresnet.runtime.errors import InputError

MEASURED = "TFLite Micro's interpreter on this machine, less what 4-byte pointers save"
ESTIMATED = "an estimate; pip install 'tfresnet[boards]' measures it (Linux on x86-64)"
NO_VELA = "pip install 'tfresnet[boards]' to have it estimated by Arm's Vela"
# The interpreter, its resolver of operations and their names; see ``tests/test_fit.py``.
STATIC_BYTES = 2048
# What a process with LiteRT, NumPy and Pillow takes, and their packages; measured on x86-64.
PROCESS_BYTES, PACKAGES_BYTES = 64 * 2**20, 160 * 2**20


@dataclass(frozen=True)
class Footprint:
    """What a model takes on a board.

    Attributes:
        model_bytes: of the model, without metadata.
        flash_bytes: the same with the code that runs it.
        arena_bytes: the tensor arena, see ``fit.BoardFit``.
        ram_bytes: the memory on the board.
        flash_source: where ``flash_bytes`` is from.
        ram_source: where ``ram_bytes`` is from.
        ms: of one image, if a compiler estimates it.
        ms_source: which compiler, or why it does not.
        refusal: why the board's runtime does not run it; None if it does.
    """

    model_bytes: int
    flash_bytes: int
    arena_bytes: int
    ram_bytes: int
    flash_source: str
    ram_source: str
    ms: float | None = None
    ms_source: str = ""
    refusal: str | None = None


def of(content: bytes, board: Board) -> Footprint:
    """Return what a model takes on a board.

    Args:
        content: a TFLite file, without the metadata behind it.
        board: which.
    """
    if board.runtime == LITERT:
        return _on_linux(content, board.npu)
    if board.npu and vela.is_installed() and not is_float(content):
        return _on_npu(content, board.npu)
    taken = on_microcontroller(content)
    if board.npu:
        why = "" if vela.is_installed() else NO_VELA
        return Footprint(**vars(taken) | {"ms_source": why})
    return taken


def is_float(content: bytes) -> bool:
    """Return whether a TFLite file computes with float numbers."""
    return any(o.is_float for o in graph.operations(content))


def small_arena_bytes(content: bytes) -> int:
    """Estimate the arena where pointers have 4 bytes."""
    return arena.arena_bytes(content, 4)


def on_microcontroller(content: bytes) -> Footprint:
    """Return what a model takes with TFLite Micro on a 32-bit processor."""
    refusal = micro_operations.refusal(content)
    measured = None
    if tflite_micro.is_installed() and not refusal:
        try:
            measured = tflite_micro.measured_arena_bytes(content)
        except InputError as error:
            refusal = str(error).partition(", it says: ")[2]
            if not refusal:
                raise
    found = arena.arena_bytes(content) if measured is None else measured
    scratch = arena.scratch_bytes(graph.read(content))
    beside = (
        f"; besides {STATIC_BYTES:,} bytes of the interpreter and up to {scratch:,} of CMSIS-NN"
    )
    return Footprint(
        model_bytes=len(content),
        flash_bytes=len(content) + flash.code_bytes(_operations(content)),
        arena_bytes=found,
        ram_bytes=tflite_micro.with_small_pointers(content, found) + STATIC_BYTES + scratch,
        flash_source=flash.SOURCE,
        ram_source=(ESTIMATED if measured is None else MEASURED) + beside,
        refusal=refusal,
    )


def _on_npu(content: bytes, npu: Npu) -> Footprint:
    """Return what a model takes that Vela compiles for an Ethos-U, beside TFLite Micro."""
    try:
        made = vela.compiled(content, npu)
    except InputError as error:
        taken = on_microcontroller(content)
        return Footprint(**vars(taken) | {"refusal": str(error).partition(", it says: ")[2]})
    system = f"{npu.accelerator}, {npu.system}, {npu.memory}"
    source = f"Arm's Vela {made.version} ({system})"
    left = [name for name in _operations(made.model) if name != vela.OPERATION]
    kept = arena.kept_bytes(graph.read(made.model), 4)
    return Footprint(
        model_bytes=len(made.model),
        flash_bytes=len(made.model) + flash.code_bytes([*left, flash.ETHOS_U]),
        arena_bytes=made.sram_bytes + kept,
        ram_bytes=made.sram_bytes + kept + STATIC_BYTES,
        flash_source=f"the file of {source}, and an estimate of TFLite Micro's code",
        ram_source=f"SRAM by {source}, and an estimate of TFLite Micro's structures",
        ms=made.ms,
        ms_source=f"{source}: an estimate of the NPU alone"
        + (f"; on the CPU besides {', '.join(left)}" if left else ""),
    )


def _on_linux(content: bytes, npu: Npu | None) -> Footprint:
    """Return what a model takes with LiteRT in Python."""
    activations = arena.arena_bytes(content)
    process = "a process with LiteRT, NumPy and Pillow, as on x86-64"
    milliseconds, whose = None, ""
    if npu and vela.is_installed() and not is_float(content):
        try:
            made = vela.compiled(content, npu)
        except InputError as error:
            whose = str(error)
        else:
            system = f"{npu.accelerator}, {npu.system}, {npu.memory}"
            milliseconds = made.ms
            whose = f"Arm's Vela {made.version} ({system}): an estimate of the NPU alone"
    elif npu and not vela.is_installed():
        whose = NO_VELA
    return Footprint(
        model_bytes=len(content),
        flash_bytes=len(content) + PACKAGES_BYTES,
        arena_bytes=activations,
        ram_bytes=len(content) + activations + PROCESS_BYTES,
        flash_source="the file, and the packages of LiteRT, NumPy and Pillow, as on x86-64",
        ram_source=f"the file, an estimate of its activations, and {process}",
        ms=milliseconds,
        ms_source=whose,
    )


def _operations(content: bytes) -> list[str]:
    return sorted({o.name for o in graph.operations(content)})
