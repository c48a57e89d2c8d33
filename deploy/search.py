"""Find the smallest file within a budget of accuracy, size and time (``export --auto``).

Candidates are tried one after the other. Which one is next depends on the limits that the earlier
ones exceeded.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property

from tfresnet.config.formats import (
    FLOAT32,
    INT4,
    INT4_MIXED,
    INT8,
    INT8_SELECTIVE,
    TFLITE,
    Quantization,
)
from tfresnet.deploy import artifact, inspect
from tfresnet.deploy.compress import chain
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import recipes, tflite
from tfresnet.deploy.formats.base import Compression, Target
from tfresnet.deploy.measure import MeasuredFile
from tfresnet.deploy.records import TriedRecord
from tfresnet.runs.result import ArtifactRecord, SelectionRecord
from tfresnet.runtime.errors import InputError

EXAMINED = 50  # calibration images on which the sensitive layers are found
SIZES = (INT8, INT4_MIXED, INT4)  # the largest first; a smaller one loses more
FIRST = SIZES[0]
LAYERS_IN_FLOAT = (1, 2, 4)
HELD_OUT = "on the held-out images: "
LIMITS = ("drop", "bytes", "latency_ms")


@dataclass(frozen=True)
class Budget:
    """The limits that a file must keep.

    Attributes:
        max_drop: largest loss of the primary metric against the checkpoint, in percentage points.
        max_bytes: largest size of the file; None for any.
        max_latency: longest time for one image on one thread of this machine, in milliseconds;
            None for any.
    """

    max_drop: float
    max_bytes: int | None = None
    max_latency: float | None = None

    def exceeded(self, record: ArtifactRecord) -> dict[str, str]:
        """Return the limits that a measured file exceeds.

        Keys are among ``LIMITS``; values say by how much, as ``drop 0.41 > 0.3``.
        """
        limits = (self.max_drop, self.max_bytes, self.max_latency)
        values = (record.drop, record.bytes, record.latency_ms)
        return {
            key: f"{key} {value:.6g} > {limit:g}"
            for key, value, limit in zip(LIMITS, values, limits, strict=True)
            if limit is not None and not value <= limit  # also if it is not a number
        }


@dataclass(frozen=True)
class Candidate:
    """One way to make a file.

    Attributes:
        quantization: one of ``SIZES``, or ``FLOAT32``.
        layers_in_float: how many of the layers that lose most are not quantized.
        trained: whether quantization-aware training comes first.
    """

    quantization: Quantization
    layers_in_float: int = 0
    trained: bool = False

    def name(self, epochs: int) -> str:
        """Return the candidate's name in the report; ``epochs`` are those of training."""
        if self.trained:
            training = f"{_counted(epochs, 'epoch')} of quantization-aware training"
            return f"{self.quantization.name} after {training}"
        if self.layers_in_float:
            worst = _counted(self.layers_in_float, "most sensitive layer")
            return f"{self.quantization.name} with the {worst} in float"
        return self.quantization.name


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"


@dataclass(frozen=True)
class SearchResult:
    """What a search found.

    Attributes:
        files: those that were made.
        tried: the candidates, in order.
        chosen: path of the file within the budget; None if there is none.
    """

    files: list[MeasuredFile]
    tried: list[TriedRecord]
    chosen: str | None


def next_candidate(exceeded: Mapping[Candidate, set[str]]) -> Candidate | None:
    """Return the candidate to try next; None if no other one could help.

    A file that is too large is made smaller, with fewer bits. If the first quantization that fits
    loses too much, some of its layers are left in float, as long as there is room, and then the
    network is trained for it. If integers are too slow on this processor, float32 is tried.

    Args:
        exceeded: of every candidate tried so far, the ``LIMITS`` that it exceeded; at least one.
    """
    fitting = [size for size in SIZES if "bytes" not in exceeded.get(Candidate(size), ())]
    if not fitting:
        return None
    quantization, *_ = fitting
    plain = Candidate(quantization)
    if plain not in exceeded:
        return plain
    if "latency_ms" in exceeded[plain]:
        return _unless_tried(Candidate(FLOAT32), exceeded)
    if quantization is FIRST and (selective := _next_selective(exceeded)):
        return selective
    return _unless_tried(Candidate(quantization, trained=True), exceeded)


def _next_selective(exceeded: Mapping[Candidate, set[str]]) -> Candidate | None:
    """Return the next candidate with some layers in float; None if more of them cannot help."""
    for count in LAYERS_IN_FLOAT:
        selective = Candidate(FIRST, layers_in_float=count)
        if selective not in exceeded:
            return selective
        if exceeded[selective] & {"bytes", "latency_ms"}:
            break  # with more layers in float it would be larger and slower still
    return None


def _unless_tried(candidate: Candidate, exceeded: Mapping[Candidate, set[str]]) -> Candidate | None:
    return None if candidate in exceeded else candidate


class CandidateFiles:
    """Makes and measures the files of the candidates of one run.

    Args:
        context: the run, its data and the checkpoint's predictions.
        qat_epochs: epochs of quantization-aware training.
    """

    def __init__(self, context: ExportContext, qat_epochs: int):
        self.context, self.qat_epochs = context, qat_epochs

    def make(self, candidate: Candidate) -> MeasuredFile:
        """Write and measure a candidate's file.

        Raises:
            InputError: such a file cannot be made of this network.
        """
        if candidate.trained:
            return self._trained(candidate.quantization)
        if candidate.layers_in_float:
            return self._selective(candidate.layers_in_float)
        quantization = candidate.quantization
        if self.context.config.interface == "integer" and not quantization.integer:
            raise InputError(f"{quantization.name}: expected another --interface than integer")
        return artifact.make(self.context, self.context.model, Target(TFLITE, quantization))

    def _selective(self, count: int) -> MeasuredFile:
        layers = tuple(self.sensitive_layers[:count])
        target = Target(TFLITE, INT8_SELECTIVE, keep_float=layers)
        return artifact.make(self.context, self.context.model, target)

    def _trained(self, quantization: Quantization) -> MeasuredFile:
        context = self.context
        suffix = "" if quantization is FIRST else f"_{quantization.name}"
        directory = context.directory / f"auto_qat{suffix}"
        network = FunctionalNetwork.of(context.model, context.run.spec.shape)
        fine_tune = FineTuner(context.fine_tuned_run, context.dataset, directory)
        trained = chain.quantizer_for(quantization, self.qat_epochs).apply(network, fine_tune)
        done = Compression(qat_epochs=self.qat_epochs)
        return artifact.make(context, trained.model, Target(TFLITE, quantization, done))

    @cached_property
    def sensitive_layers(self) -> list[str]:
        """The layers in which int8 quantization adds most noise, worst first.

        They are named by their output tensors in the float32 TFLite file.
        """
        context = self.context
        images = context.calibration.images
        source = context.source(context.model)
        quantized = tflite.with_integer_activations(source, recipes.Recipe(), "float")
        floating = tflite.converted(source, FLOAT32, "float")
        errors = inspect.layer_errors(quantized, floating, images[:EXAMINED])
        return [error.tensor for error in inspect.worst(errors)]


def search(
    context: ExportContext, budget: Budget, qat_epochs: int, progress: Callable[[str], None]
) -> SearchResult:
    """Try one candidate after the other until a file is within the budget.

    The drop that decides is measured on the context's ``selection``, training images that were not
    used for anything else in this export. A file that is within the budget there must be so on the
    held-out images too; otherwise that is reported and the search goes on.

    Args:
        context: the run, its data and the checkpoint's predictions.
        budget: the limits.
        qat_epochs: epochs of quantization-aware training, for candidates that need it.
        progress: called with the name of each candidate before it is made.

    Raises:
        InputError: no candidate's file can be made.
    """
    made: list[MeasuredFile] = []
    tried: list[TriedRecord] = []
    exceeded: dict[Candidate, set[str]] = {}
    files = CandidateFiles(context, qat_epochs)
    while candidate := next_candidate(exceeded):
        name = candidate.name(qat_epochs)
        progress(name)
        try:
            file = files.make(candidate)
        except InputError as error:
            tried.append(TriedRecord(rung=name, path=None, misses=[str(error)]))
            exceeded[candidate] = {"drop"}
            continue
        made.append(file)
        limits, misses = judge(file.record, budget)
        tried.append(TriedRecord(rung=name, path=file.record.path, misses=misses))
        if not misses:
            return SearchResult(made, tried, file.record.path)
        # A failed check counts as a loss of accuracy: the same candidates may help.
        exceeded[candidate] = limits or {"drop"}
    if not made:
        raise InputError(tried[0].misses[0])
    return SearchResult(made, tried, None)


def judge(record: ArtifactRecord, budget: Budget) -> tuple[set[str], list[str]]:
    """Return the limits that a measured file exceeds and all reasons why it can't be chosen."""
    selection = record.selection or SelectionRecord()
    exceeded = budget.exceeded(record.model_copy(update={"drop": selection.drop}))
    if misses := list(exceeded.values()) or selection.failures:
        return set(exceeded), misses
    exceeded = budget.exceeded(record)
    misses = list(exceeded.values()) or record.failures
    return set(exceeded), [f"{HELD_OUT}{miss}" for miss in misses]
