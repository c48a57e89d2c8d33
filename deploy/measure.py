"""Measure a written model file against the checkpoint that it was made of."""

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfresnet import evaluation
from tfresnet.config.formats import PACKED, TFLM
from tfresnet.deploy import gate
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.device import boards, footprint
from tfresnet.deploy.device.benchmark import latency_ms
from tfresnet.deploy.formats import graph, table
from tfresnet.deploy.formats.base import Audit, Target
from tfresnet.deploy.reference import compare
from tfresnet.runs.result import (
    ArtifactRecord,
    MicrocontrollerRecord,
    PackedRecord,
    SelectionRecord,
)
from tfresnet.runtime import decode
from tfresnet.runtime.backends import Backend
from tfresnet.runtime.metadata import EMBEDDING


@dataclass(frozen=True)
class MeasuredFile:
    """What was found of a file.

    Attributes:
        record: what the report says about it.
        predictions: for the held-out images.
    """

    record: ArtifactRecord
    predictions: Any


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
    found = predictions(context, opened, context.held_out)
    record = ArtifactRecord(
        path=path.as_posix(),
        format=target.format.name,
        quantization=target.quantization.name,
        bytes=form.size(path),
        gzip_bytes=audit.gzip_bytes,
        sparsity=audit.sparsity,
        unique_weights=audit.unique_weights,
        delegates=audit.delegates,
        microcontroller=_on_microcontrollers(path) if target.format is TFLM else None,
        packed=_packed(audit, path),
        n=context.reference.n,
        latency_ms=latency_ms(form.open(path, threads=1)),
        fully_integer=audit.float_operations == (),
        **compare(found, context.reference),
    )
    more: dict[str, Any] = {"failures": _failures(record, context, target, audit)}
    if chosen_on := context.selection:
        scores = compare(predictions(context, opened, chosen_on.batches), chosen_on.reference)
        judged = record.model_copy(update=scores)
        more["selection"] = SelectionRecord(
            n=chosen_on.reference.n,
            drop=judged.drop,
            failures=_failures(judged, context, target, audit),
            **{context.task.primary: judged.value},
        )
    return MeasuredFile(record.model_copy(update=more), found)


def _on_microcontrollers(path: Path) -> MicrocontrollerRecord:
    """Return what a file for TFLite Micro takes, and which boards have that."""
    content = graph.without_metadata(path.read_bytes())
    taken = footprint.on_microcontroller(content)
    known = [board for board in boards.table().values() if board.runtime == boards.TFLM]
    return MicrocontrollerRecord(
        flash_bytes=taken.flash_bytes,
        ram_bytes=taken.ram_bytes,
        arena_bytes=taken.arena_bytes,
        boards={
            board.name: taken.refusal is None
            and taken.flash_bytes <= board.flash_bytes
            and taken.ram_bytes <= board.ram_bytes
            for board in known
        },
    )


def predictions(context: ExportContext, opened: Backend, batches: tf.data.Dataset) -> Any:
    """Return an opened file's predictions for the images of batches, as the task has them.

    Embeddings are classified by the head of the checkpoint.
    """
    task, kind = context.task, context.metadata.output_kind

    def predict(pixels: tf.Tensor) -> Any:
        outputs = decode.named(opened.outputs(pixels.numpy()), kind)
        if kind == EMBEDDING:
            logits = context.model.classify(outputs[EMBEDDING])
            found = task.in_graph(logits, context.run.spec)
            outputs = {name: values.numpy() for name, values in found.items()}
        return task.predictions(outputs)

    return evaluation.collect(predict, batches)[0]


def _packed(audit: Audit, path: Path) -> PackedRecord | None:
    """Return the record of the model with packed weights that is in a folder beside a file."""
    if audit.packed is None:
        return None
    return PackedRecord(path=(path.parent / PACKED / path.name).as_posix(), **asdict(audit.packed))


def _failures(
    record: ArtifactRecord, context: ExportContext, target: Target, audit: Audit
) -> list[str]:
    computing = [o for o in audit.float_operations or () if not o.startswith(graph.CONVERSIONS)]
    done = target.compression
    return gate.failures(
        record,
        context.config.max_drop,
        computing,
        bool(done.suffix),
        done.clusters,
        context.task.least_agreement,
    )
