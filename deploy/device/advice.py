"""Say what would make a model fit a board: a smaller picture, fewer channels, integers.

What is said is computed, by the estimate of the arena, for the shapes that the model's own graph
would have.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from tfresnet.deploy.formats import arena, graph, weight_tables

POINTER_BYTES = 4  # of a microcontroller
SMALLEST = 8  # pixels
CLUSTERS = (64, 32, 16)  # different weights in a kernel; 64 lose least
SHARES = [n / 16 for n in range(15, 0, -1)]  # of the channels that are left
# Of a channel in a file: its bias, and a scale and a zero point of its weights and of the bias.
CHANNEL_BYTES = 4 + 2 * (4 + 8)
KIB = 1024
# From a model to the activations that get fewer channels.
Which = Callable[[Any], set[int]]


def for_ram(content: bytes, limit: int, beside: int) -> Iterator[str]:
    """Yield what would bring the memory of a model below a limit.

    Args:
        content: a TFLite file.
        limit: bytes for the arena and ``beside``.
        beside: bytes that are needed beside the arena.
    """

    def needed(model: Any) -> int:
        return arena.of_model(model, POINTER_BYTES) + beside

    if found := _largest_side(content, lambda model: needed(model) <= limit):
        taken = needed(resized(content, found)) / KIB
        side = f"{found} instead of {max(input_size(content))}"
        yield f"smaller pictures: --set data.image_size={found} ({side}) takes {taken:,.0f} KiB"
    yield from _fewer_channels(
        lambda which, share: needed(narrowed(content, which, share)), limit, "RAM"
    )


def for_flash(content: bytes, limit: int, beside: int) -> Iterator[str]:
    """Yield what would bring the flash of a model below a limit.

    Args:
        content: a TFLite file.
        limit: bytes for the model and ``beside``.
        beside: bytes of the code that runs it.
    """
    for clusters in CLUSTERS:
        needed = weight_tables.clustered_size(content, clusters) + beside
        if needed <= limit:
            yield (
                f"packed weights: export --tflm --cluster {clusters} takes some "
                f"{needed / KIB:,.0f} KiB of flash in packed/, and more RAM and time"
            )
            break
    yield from _fewer_channels(
        lambda which, share: narrowed_bytes(content, which, share) + beside, limit, "flash"
    )


def _fewer_channels(needed: Callable[[Which, float], int], limit: int, what: str) -> Iterator[str]:
    """Yield how many channels may be left, everywhere and inside blocks."""
    for which, words in CHANNELS.items():
        share = next((share for share in SHARES if needed(which, share) <= limit), None)
        if share is not None:
            left = words.format(left=share, removed=1 - share)
            yield f"{left} takes some {needed(which, share) / KIB:,.0f} KiB of {what}"


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


def everywhere(model: Any) -> set[int]:
    """Return the activations of a network that depend on ``model.width``.

    These are all but its input and its outputs, and what has as many channels as one of these.
    """
    (subgraph,) = model.subgraphs
    edges = {*map(int, subgraph.inputs), *map(int, subgraph.outputs)}
    kept = {_channels(subgraph, index) for index in edges}
    made = {int(index) for operation in subgraph.operators for index in operation.outputs}
    return {index for index in made - edges if _channels(subgraph, index) not in kept}


def inside_blocks(model: Any) -> set[int]:
    """Return the activations inside residual blocks: of a convolution, for one convolution."""
    (subgraph,) = model.subgraphs
    reading = Counter(int(i) for operation in subgraph.operators for i in operation.inputs)
    made, taken = set(), set()
    for operation in subgraph.operators:
        if graph.operator_name(model.operatorCodes[operation.opcodeIndex]) == "CONV_2D":
            made.add(int(operation.outputs[0]))
            taken.add(int(operation.inputs[0]))
    return {index for index in made & taken if reading[index] == 1}


CHANNELS: dict[Which, str] = {
    everywhere: "fewer channels: {left:g} of them (--set model.width={left:g})",
    inside_blocks: "fewer channels inside blocks: export --slim {removed:g}",
}


def narrowed(content: bytes, which: Which, share: float) -> Any:
    """Return a model with a share of the channels of some activations, a ``ModelT``.

    Weights keep their shapes: it serves to plan the arena.
    """
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    for index in which(model):
        shape = subgraph.tensors[index].shape
        subgraph.tensors[index].shape = [*shape[:-1], math.ceil(int(shape[-1]) * share)]
    return model


def narrowed_bytes(content: bytes, which: Which, share: float) -> int:
    """Estimate the size of a file with a share of the channels of some activations."""
    model = graph.read(content)
    (subgraph,) = model.subgraphs
    fewer = which(model)
    saved = 0.0
    for operation in subgraph.operators:
        name = graph.operator_name(model.operatorCodes[operation.opcodeIndex])
        if name in graph.WITH_KERNELS:
            data = model.buffers[subgraph.tensors[operation.inputs[1]].buffer].data
            sides = [int(operation.outputs[0])]
            if name != "DEPTHWISE_CONV_2D":
                sides.append(int(operation.inputs[0]))
            factor = share ** sum(side in fewer for side in sides)
            saved += (0 if data is None else len(data)) * (1 - factor)
            if sides[0] in fewer:
                saved += CHANNEL_BYTES * _channels(subgraph, sides[0]) * (1 - share)
    return round(len(content) - saved)


def _channels(subgraph: Any, index: int) -> int:
    shape = subgraph.tensors[index].shape
    return int(shape[-1]) if shape is not None and len(shape) else 1
