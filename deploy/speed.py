"""Measure whether static or dynamic ranges are faster on this processor.

Static ranges (int8) keep integers between layers; dynamic ones compute sums and activations in
float, which some processors do faster.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from tfresnet.config.formats import DYNAMIC, INT8, TFLITE
from tfresnet.deploy import artifact
from tfresnet.deploy.budget import Budget, judge
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.device.benchmark import latency_ms
from tfresnet.deploy.formats import table
from tfresnet.deploy.formats.base import Target
from tfresnet.deploy.measure import MeasuredFile
from tfresnet.deploy.records import SpeedRecord

ALIKE = 0.9  # of the other's time: what is closer than this is the luck of one timing


def compare(
    context: ExportContext,
    made: Sequence[MeasuredFile],
    budget: Budget,
    progress: Callable[[str], None],
) -> tuple[SpeedRecord | None, list[MeasuredFile]]:
    """Time the dynamic file beside the int8 one.

    Args:
        context: of the export.
        made: the files of a search.
        budget: the limits.
        progress: is told what is being done.

    Returns:
        What was found, None if there is no int8 TFLite file or dynamic ranges are not possible;
        and the dynamic file, measured, if it is the faster one and was not made before.
    """
    records = {
        file.record.quantization: file.record
        for file in reversed(made)
        if file.record.format == TFLITE.name
    }
    static = records.get(INT8.name)
    if static is None or context.config.interface == "integer":
        return None, []
    more: list[MeasuredFile] = []
    progress("dynamic ranges: timing")
    record = records.get(DYNAMIC.name)
    dynamic_ms = record.latency_ms if record else _time(context)
    faster = faster_of(static.latency_ms, dynamic_ms)
    if record is None and faster == "dynamic":
        more = [artifact.make(context, context.model, Target(TFLITE, DYNAMIC))]
        record = more[0].record
    return (
        SpeedRecord(
            static_ms=static.latency_ms,
            dynamic_ms=dynamic_ms,
            faster=faster,
            path=record.path if record else None,
            misses=judge(record, budget)[1] if record else [],
        ),
        more,
    )


def faster_of(static_ms: float, dynamic_ms: float) -> str:
    """Return which of two times is clearly the shorter: ``static``, ``dynamic`` or ``neither``."""
    if dynamic_ms < ALIKE * static_ms:
        return "dynamic"
    return "static" if static_ms < ALIKE * dynamic_ms else "neither"


def _time(context: ExportContext) -> float:
    """Return the time of the dynamic file for one image, on one thread, in milliseconds."""
    target = Target(TFLITE, DYNAMIC)
    form = table.format_of(TFLITE)
    content = form.convert(context.source(context.model), target, context.config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / target.name
        form.write(content, path)
        return latency_ms(form.open(path, threads=1))
