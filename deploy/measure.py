"""Measure a written model file against the checkpoint that it was made of."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import evaluation
from tfresnet.deploy import gate
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.device.benchmark import latency_ms
from tfresnet.deploy.formats import graph, table
from tfresnet.deploy.formats.base import Audit, Target
from tfresnet.deploy.reference import compare
from tfresnet.runs.result import ArtifactRecord, SelectionRecord


@dataclass(frozen=True)
class MeasuredFile:
    """What was found of a file.

    Attributes:
        record: what the report says about it.
        decisions: of the held-out images, as the task makes them of probabilities.
    """

    record: ArtifactRecord
    decisions: np.ndarray


def measure(context: ExportContext, target: Target, path: Path, audit: Audit) -> MeasuredFile:
    """Run a file on the held-out images, time it, and judge it.

    Args:
        context: what all files of the export share.
        target: what the file is.
        path: where it is.
        audit: what was read from it.
    """
    form, config = table.format_of(target.format), context.config
    opened = form.open(path, config.threads)
    probabilities = predictions(context, opened, context.held_out)
    record = ArtifactRecord(
        path=path.as_posix(),
        format=target.format.name,
        quantization=target.quantization.name,
        bytes=form.size(path),
        gzip_bytes=audit.gzip_bytes,
        sparsity=audit.sparsity,
        unique_weights=audit.unique_weights,
        delegates=audit.delegates,
        n=len(probabilities),
        latency_ms=latency_ms(form.open(path, threads=1)),
        fully_integer=audit.float_operations == (),
        **compare(probabilities, context.reference),
    )
    more: dict[str, Any] = {"failures": _failures(record, context, target, audit)}
    if chosen_on := context.selection:
        found = compare(predictions(context, opened, chosen_on.batches), chosen_on.reference)
        judged = record.model_copy(update=found)
        more["selection"] = SelectionRecord(
            n=len(chosen_on.reference.classes),
            drop=judged.drop,
            failures=_failures(judged, context, target, audit),
            **{context.task.primary: judged.value},
        )
    decisions = context.task.decisions(probabilities)
    return MeasuredFile(record.model_copy(update=more), decisions)


def predictions(context: ExportContext, opened: Any, batches: tf.data.Dataset) -> np.ndarray:
    """Return an opened file's probabilities for the images of batches, float32 [n, classes].

    Embeddings are classified by the head of the checkpoint.
    """
    outputs, _ = evaluation.collect(lambda pixels: opened.run(pixels.numpy()), batches)
    if context.config.features:
        return context.task.in_graph(context.model.classify(outputs)).numpy()
    return outputs


def _failures(
    record: ArtifactRecord, context: ExportContext, target: Target, audit: Audit
) -> list[str]:
    computing = [o for o in audit.float_operations or () if not o.startswith(graph.CONVERSIONS)]
    done = target.compression
    return gate.failures(
        record, context.config.max_drop, computing, bool(done.suffix), done.clusters
    )
