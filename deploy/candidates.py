"""The candidates of ``export --auto``, and which one is tried next."""

from collections.abc import Mapping
from dataclasses import dataclass

from tfresnet.config.formats import DYNAMIC, FLOAT32, INT4_SELECTIVE, INT8, Quantization
from tfresnet.deploy.budget import ON_BOARDS

SIZES = (INT8, INT4_SELECTIVE)  # the largest first; a smaller one loses more
FIRST = SIZES[0]
FASTER = (DYNAMIC, FLOAT32)  # where integers between layers are slow
LAYERS_IN_FLOAT = (1, 2, 4)
SLIM = (0.25, 0.5)  # shares of the channels inside blocks that are removed
Exceeded = Mapping["Candidate", set[str]]  # of every candidate tried so far, see budget.LIMITS


@dataclass(frozen=True)
class Candidate:
    """One way to make a file.

    Attributes:
        quantization: one of ``SIZES`` or ``FASTER``. ``INT4_SELECTIVE`` has 4-bit weights in as
            many layers as the size asks for, those that lose least by it.
        layers_in_float: how many of the layers that lose most are not quantized.
        trained: whether quantization-aware training comes first.
        slim: share of the channels inside blocks that are removed before; 0 for none.
    """

    quantization: Quantization
    layers_in_float: int = 0
    trained: bool = False
    slim: float = 0.0

    def name(self, epochs: int) -> str:
        """Return the candidate's name in the report; ``epochs`` are those of training."""
        if self.slim:
            return f"{self.quantization.name} without {self.slim:.0%} of the channels inside blocks"
        name = self.quantization.name
        if self.quantization is INT4_SELECTIVE:
            name = "int8 with 4-bit weights where they lose least"
        if self.trained:
            return f"{name} after {_counted(epochs, 'epoch')} of quantization-aware training"
        if self.layers_in_float:
            worst = _counted(self.layers_in_float, "most sensitive layer")
            return f"{name} with the {worst} in float"
        return name


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


def next_for_microcontroller(exceeded: Exceeded) -> Candidate | None:
    """Return the candidate to try next for TFLite Micro, which runs int8; None if none could help.

    What is too large or too slow gets fewer channels, what loses too much is trained for int8.
    """
    plain = Candidate(FIRST)
    if plain not in exceeded:
        return plain
    if exceeded[plain] & {"bytes", "latency_ms", *ON_BOARDS}:
        return _next_slim(exceeded, (FIRST,))
    return _unless_tried(Candidate(FIRST, trained=True), exceeded)


def next_candidate(exceeded: Exceeded) -> Candidate | None:
    """Return the candidate to try next; None if no other one could help.

    A file that is too large is made smaller, with fewer bits. If the first quantization that fits
    loses too much, some of its layers are left in float, as long as there is room, and then the
    network is trained for it. If integers are too slow on this processor, dynamic ranges are
    tried, and then float32; if these are too, networks with fewer channels.

    Args:
        exceeded: of every candidate tried so far, the ``LIMITS`` that it exceeded.
    """
    fitting = [size for size in SIZES if "bytes" not in exceeded.get(Candidate(size), ())]
    if not fitting:
        return None
    quantization, *_ = fitting
    plain = Candidate(quantization)
    if plain not in exceeded:
        return plain
    if "latency_ms" in exceeded[plain]:
        return _next_faster(exceeded)
    if quantization is FIRST and (selective := _next_selective(exceeded)):
        return selective
    return _unless_tried(Candidate(quantization, trained=True), exceeded)


def _next_faster(exceeded: Exceeded) -> Candidate | None:
    """Return the next candidate that computes between layers in float, or has fewer channels."""
    faster = [Candidate(quantization) for quantization in FASTER]
    untried = [candidate for candidate in faster if candidate not in exceeded]
    if untried:
        return untried[0]
    slow = all("latency_ms" in exceeded[candidate] for candidate in faster)
    return _next_slim(exceeded) if slow else None


def _next_slim(
    exceeded: Exceeded, quantizations: tuple[Quantization, ...] = (FIRST, FLOAT32)
) -> Candidate | None:
    """Return the next candidate with fewer channels; None if the last one only lost too much."""
    for share in SLIM:
        for quantization in quantizations:
            slim = Candidate(quantization, slim=share)
            if slim not in exceeded:
                return slim
            if exceeded[slim] == {"drop"}:
                return None  # with fewer channels it would lose more
    return None


def _next_selective(exceeded: Exceeded) -> Candidate | None:
    """Return the next candidate with some layers in float; None if more of them cannot help."""
    for count in LAYERS_IN_FLOAT:
        selective = Candidate(FIRST, layers_in_float=count)
        if selective not in exceeded:
            return selective
        if exceeded[selective] & {"bytes", "latency_ms"}:
            break  # with more layers in float it would be larger and slower still
    return None


def _unless_tried(candidate: Candidate, exceeded: Exceeded) -> Candidate | None:
    return None if candidate in exceeded else candidate
