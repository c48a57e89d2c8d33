"""Choose the exported file for a device; loads no TensorFlow."""

import math
import shlex
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from pydantic import ValidationError

from tfresnet.config.formats import FLOAT32, FORMATS, QUANTIZATIONS, TFLITE, TFLM
from tfresnet.config.processors import ANY, Processor
from tfresnet.deploy.records import Report
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.paths import MODEL_FILE
from tfresnet.system.files import read_json

AS_FAST = 1.05  # times within this factor of each other are taken for equal


def portable(artifacts: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
    """Return the files that run without TensorFlow."""
    return [a for a in artifacts if FORMATS[a.format].portable]


def best(artifacts: Sequence[ArtifactRecord], processor: Processor = ANY) -> ArtifactRecord | None:
    """Return the best file for a processor that passed its gate; None if there is none.

    On this machine's own kind of processor it is the fastest, of several as fast the smallest. For
    others the order of the processor's quantizations decides, then TFLite, then the size.
    """
    fit = [a for a in portable(artifacts) if not a.failures and _runs(a, processor)]
    if fit and processor.is_here:
        fastest = min(map(_latency, fit))
        fit = [a for a in fit if _latency(a) <= AS_FAST * fastest]
        return min(fit, key=lambda a: a.bytes)
    return min(fit, key=partial(_preference, processor), default=None)


def _runs(record: ArtifactRecord, processor: Processor) -> bool:
    """Tell whether a processor runs a file as a whole."""
    if processor.formats and FORMATS[record.format] not in processor.formats:
        return False
    taken = record.delegates or {}
    return not processor.delegates or any(taken.get(d) == "all" for d in processor.delegates)


def _latency(record: ArtifactRecord) -> float:
    return math.inf if math.isnan(record.latency_ms) else record.latency_ms


def _preference(processor: Processor, record: ArtifactRecord) -> tuple:
    """Return a key that is smallest for the file that a device gets."""
    quantization, order = QUANTIZATIONS[record.quantization], processor.order
    place = order.index(quantization) if quantization in order else len(order)
    return place, not FORMATS[record.format].preferred, record.bytes


def reason(record: ArtifactRecord, processor: Processor) -> str:
    """Return why a file was chosen for a processor, in words."""
    if processor.is_here:
        return f"the fastest on this machine, {record.latency_ms:.3f} ms an image on one thread"
    return f"for {processor.title}: {processor.reason} ({processor.source})"


def compared(artifacts: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
    """Return the files with ``speedup``, over the float32 file that the same interpreter runs."""
    floating = {
        _interpreter(a): a.latency_ms for a in artifacts if QUANTIZATIONS[a.quantization] is FLOAT32
    }
    return [
        a.model_copy(update={"speedup": floating[_interpreter(a)] / a.latency_ms})
        if _interpreter(a) in floating and a.latency_ms > 0
        else a
        for a in artifacts
    ]


def slower(artifacts: Sequence[ArtifactRecord]) -> list[ArtifactRecord]:
    """Return the files with integer arithmetic that are slower than float32 on this machine."""
    return [
        a
        for a in artifacts
        if QUANTIZATIONS[a.quantization].integer_arithmetic
        and a.speedup is not None
        and a.speedup * AS_FAST < 1
    ]


def _interpreter(record: ArtifactRecord) -> str:
    """Return what runs a file: files of TFLite Micro are measured with LiteRT, too."""
    row = FORMATS[record.format]
    return TFLITE.name if row is TFLM else row.name


def of_run(directory: Path) -> Path:
    """Return the best file of a run's last export.

    Raises:
        InputError: the folder is no run, or it has no file that passed its gate.
    """
    if not (directory / "config.yaml").is_file():
        raise InputError(
            f"expected {MODEL_FILE}, or a run, {directory} is a folder that is neither"
        )
    folder = directory / "export"
    export = f"export it: tfresnet export {shlex.quote(str(directory))}"
    if not (folder / "report.json").is_file():
        raise InputError(f"expected a run with exported files, {directory} has none; {export}")
    report = _report(folder / "report.json")
    artifacts = report.artifacts
    if report.ladder is not None:  # of --auto, which says what is within the budget
        artifacts = [a for a in artifacts if a.path == report.chosen]
    record = best(artifacts)
    if record is None:
        raise InputError(
            f"expected a file of {directory} that passed, all failed (see {folder}/report.html); "
            "name one, or export again"
        )
    file = folder / record.path.rpartition("/export/")[2]
    if not file.is_file():
        raise InputError(f"expected {file}, as in {folder}/report.json, found none; {export}")
    return file


def _report(path: Path) -> Report:
    try:
        return Report.model_validate(read_json(path))
    except ValidationError as error:
        raise InputError(f"{path}: expected the report of an export: {error}") from None
