"""One file of an export: convert a network, write and measure the file, and describe it inside."""

import shutil
from dataclasses import replace
from typing import Any

from tfresnet.backend import keras
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.formats.base import Source, Target
from tfresnet.deploy.measure import MeasuredFile, measure
from tfresnet.runs.run_directory import weights_sha256
from tfresnet.runtime.metadata import ModelMetadata

UNMEASURED = ".unmeasured"  # folder of a file that is not finished yet
# What a file says about its own results: those of these that its task has.
MEASURED = (
    "metric", "value", "top1", "map", "top5", "micro_f1", "macro_f1", "exact_match", "loss", "ece",
    "drop", "agreement", "max_abs_error",
)  # fmt: skip


def make(context: ExportContext, model: keras.Model, target: Target) -> MeasuredFile:
    """Convert a network, and write and measure the file.

    A file that an earlier export left in its place stays until the new one is measured.

    Args:
        context: what all files of the export share.
        model: the run's network, or what fine-tuning made of it.
        target: which file.

    Raises:
        InputError: this network can't be had in this format and quantization.
    """
    form = table.format_of(target.format)
    source = Source(model, context.run.spec, context.run.output, context.calibration.images)
    content = form.convert(source, target, context.config)
    # Fine-tuned networks have weights of their own.
    network = weights_sha256(model)
    final, folder = context.directory / target.name, context.directory / UNMEASURED
    try:
        path = folder / target.name
        described = replace(context.metadata, network_sha256=network)
        form.write(form.embed_metadata(content, described), path)
        measured = measure(context, target, path, form.audit(content))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Once more, with its own results inside.
    described = replace(metadata_of(context, measured.record), network_sha256=network)
    form.write(form.embed_metadata(content, described), final)
    facts = {"path": final.as_posix(), "bytes": form.size(final)}
    return replace(measured, record=measured.record | facts)


def metadata_of(context: ExportContext, record: dict[str, Any]) -> ModelMetadata:
    """Return what a measured file says about itself."""
    results = context.metadata.measured | {k: record[k] for k in MEASURED if k in record}
    return replace(context.metadata, quantization=record["quantization"], measured=results)
