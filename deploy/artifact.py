"""One file of an export: convert a network, write and measure the file, and describe it inside."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfresnet.config.formats import ONNX
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.formats.base import SlimShape, Target
from tfresnet.deploy.measure import MeasuredFile, measure
from tfresnet.keras2 import keras
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.run_directory import weights_sha256
from tfresnet.runtime.metadata import ModelMetadata

UNMEASURED = ".unmeasured"  # folder of a file that is not finished yet
OWN_RESULTS = 1_000  # bytes of what a file says about its own results, at most
# What a file says about its own results: those of these that its task has.
MEASURED = (
    "metric", "value", "top1", "map50", "map", "precision", "recall", "f1", "miou", "top5",
    "micro_f1", "macro_f1", "exact_match", "pixel_accuracy", "loss", "ece", "drop", "agreement",
    "max_abs_error",
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
    content = form.convert(context.source(model), target, context.config)
    described = _metadata(context, model, target)
    final, folder = context.directory / target.name, context.directory / UNMEASURED
    try:
        path = folder / target.name
        form.write(form.embed_metadata(content, described), path)
        measured = measure(context, target, path, form.audit(content))
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    # Once more, with its own results inside.
    form.write(form.embed_metadata(content, _with_results(described, measured.record)), final)
    place: dict[str, Any] = {"path": final.as_posix(), "bytes": form.size(final)}
    if packed := measured.record.packed:
        there = context.directory / Path(packed.path).relative_to(folder)
        place["packed"] = packed.model_copy(update={"path": there.as_posix()})
    return replace(measured, record=measured.record.model_copy(update=place))


def size(context: ExportContext, model: keras.Model, target: Target) -> int:
    """Convert a network, and return how many bytes the file would have; nothing is written.

    Raises:
        InputError: this network can't be had in this format and quantization.
    """
    form = table.format_of(target.format)
    content = form.convert(context.source(model), target, context.config)
    return len(form.embed_metadata(content, _metadata(context, model, target))) + OWN_RESULTS


def _metadata(context: ExportContext, model: keras.Model, target: Target) -> ModelMetadata:
    """Return what a file says about itself before it is measured, and what was done to make it."""
    return replace(
        _of_network(context.metadata, target.compression.slim),
        quantization=target.quantization.name,
        recipe=target.recipe,
        compression=target.compression.to_dict(),
        opset=context.config.opset if target.format is ONNX else None,
        network_sha256=weights_sha256(model),  # fine-tuned networks have other weights
    )


def _of_network(metadata: ModelMetadata, slim: SlimShape | None) -> ModelMetadata:
    """Return the metadata of a network that has other widths than the run's."""
    if slim is None:
        return metadata
    config = dict(metadata.config or {})
    config["model"] = {**config["model"], "inner_widths": list(slim.inner_widths)}
    return replace(metadata, parameters=slim.parameters, macs=slim.macs, config=config)


def _with_results(metadata: ModelMetadata, record: ArtifactRecord) -> ModelMetadata:
    found = record.to_dict()
    results = metadata.measured | {key: found[key] for key in MEASURED if key in found}
    return replace(metadata, measured=results)
