"""Say what would make a model fit a board: a smaller picture, fewer channels, integers.

What is said is computed, by the estimate of the arena, for the shapes that the model's own graph
would have.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

from tfresnet.deploy.formats import arena, graph

POINTER_BYTES = 4  # of a microcontroller
SMALLEST = 8  # pixels
WIDTHS = [n / 16 for n in range(15, 0, -1)]
KIB = 1024


def for_ram(content: bytes, limit: int, beside: int) -> Iterator[str]:
    """Yield what would bring the memory of a model below a limit.

    Args:
        content: a TFLite file.
        limit: bytes for the arena and ``beside``.
        beside: bytes that are needed beside the arena.
    """

    def fits(model: Any) -> bool:
        return arena.of_model(model, POINTER_BYTES) + beside <= limit

    height, width = input_size(content)
    if found := _largest_side(content, fits):
        model = resized(content, found)
        taken = (arena.of_model(model, POINTER_BYTES) + beside) / KIB
        side = f"{found} instead of {max(height, width)}"
        yield f"smaller pictures: --set data.image_size={found} ({side}) takes {taken:,.0f} KiB"
    if share := next((w for w in WIDTHS if fits(narrowed(content, w))), None):
        taken = (arena.of_model(narrowed(content, share), POINTER_BYTES) + beside) / KIB
        yield (
            f"fewer channels: {share:g} of them (--set model.width={share:g}) take some "
            f"{taken:,.0f} KiB"
        )


def for_flash(content: bytes, limit: int, beside: int) -> Iterator[str]:
    """Yield what would bring the flash of a model below a limit.

    Args:
        content: a TFLite file.
        limit: bytes for the model and ``beside``.
        beside: bytes of the code that runs it.
    """
    for share in WIDTHS:
        size = narrowed_bytes(content, share) + beside
        if size <= limit:
            yield (
                f"fewer channels: {share:g} of them (--set model.width={share:g}) take some "
                f"{size / KIB:,.0f} KiB of flash"
            )
            return


def input_size(content: bytes) -> tuple[int, int]:
    """Return height and width of a model's input, in pixels."""
    (subgraph,) = graph.read(content).subgraphs
    _, height, width, _ = subgraph.tensors[subgraph.inputs[0]].shape
    return int(height), int(width)


def _largest_side(content: bytes, fits: Callable[[Any], bool]) -> int | None:
    """Return the longer side of the largest picture that fits; None if no smaller one does.

    Also where the network is for one size alone.
    """
    low, high = SMALLEST, max(input_size(content)) - 1
    best = None
    while low <= high:
        middle = (low + high) // 2
        model = resized(content, middle)
        if model is None:
            return None
        if fits(model):
            best, low = middle, middle + 1
        else:
            high = middle - 1
    return best


def resized(content: bytes, side: int) -> Any | None:
    """Return a model as it would be for other pictures, a ``ModelT``; None if it takes no others.

    Args:
        content: a TFLite file.
        side: the longer side of the pictures, in pixels.
    """
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    from tfresnet.system.native_stderr import captured

    height, width = input_size(content)
    scale = side / max(height, width)
    try:
        with captured(replay=False):
            interpreter = Interpreter(
                model_content=content,
                experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
            )
            detail = interpreter.get_input_details()[0]
            shape = [1, max(1, round(height * scale)), max(1, round(width * scale))]
            interpreter.resize_tensor_input(detail["index"], [*shape, detail["shape"][3]])
            interpreter.allocate_tensors()
            shapes = {d["index"]: d["shape"] for d in interpreter.get_tensor_details()}
    except (RuntimeError, ValueError):
        return None
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    for index, tensor in enumerate(subgraph.tensors):
        tensor.shape = shapes.get(index, tensor.shape)
    return model


def narrowed(content: bytes, share: float) -> Any:
    """Return a model with a share of the channels of all that it computes, a ``ModelT``.

    Its input and its outputs stay. Weights keep their shapes: it serves to plan the arena.
    """
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    fixed = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
    kept = {int(subgraph.tensors[i].shape[-1]) for i in fixed}
    for operation in subgraph.operators:
        for index in map(int, operation.outputs):
            shape = subgraph.tensors[index].shape
            if index not in fixed and len(shape) > 1 and int(shape[-1]) not in kept:
                subgraph.tensors[index].shape = [*shape[:-1], math.ceil(int(shape[-1]) * share)]
    return model


def narrowed_bytes(content: bytes, share: float) -> int:
    """Estimate the size of a file with a share of the channels of all that it computes."""
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    outside = {int(subgraph.tensors[i].shape[-1]) for i in (*subgraph.inputs, *subgraph.outputs)}
    saved = 0.0
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        if name in graph.WITH_KERNELS:
            kernel = subgraph.tensors[operation.inputs[1]]
            data = model.buffers[kernel.buffer].data
            sides = [int(kernel.shape[0]), int(kernel.shape[-1])]
            factor = math.prod(share for count in sides if count not in outside and count > 1)
            saved += (0 if data is None else len(data)) * (1 - factor)
    return round(len(content) - saved)
