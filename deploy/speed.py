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
    target, more = Target(TFLITE, DYNAMIC), []
    progress("dynamic ranges: timing")
    dynamic_ms = records[DYNAMIC.name].latency_ms if DYNAMIC.name in records else _time(context)
    record = records.get(DYNAMIC.name)
    if record is None and dynamic_ms < static.latency_ms:
        more = [artifact.make(context, context.model, target)]
        record = more[0].record
    return (
        SpeedRecord(
            static_ms=static.latency_ms,
            dynamic_ms=dynamic_ms,
            faster="dynamic" if dynamic_ms < static.latency_ms else "static",
            path=record.path if record else None,
            misses=judge(record, budget)[1] if record else [],
        ),
        more,
    )


def _time(context: ExportContext) -> float:
    """Return the time of the dynamic file for one image, on one thread, in milliseconds."""
    target = Target(TFLITE, DYNAMIC)
    form = table.format_of(TFLITE)
    content = form.convert(context.source(context.model), target, context.config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / target.name
        form.write(content, path)
        return latency_ms(form.open(path, threads=1))
