"""Write MODEL_CARD.md in the format of model hubs: metadata as YAML, then Markdown for people.

https://huggingface.co/docs/hub/model-cards. huggingface_hub has classes for them, but nothing else
here needs it: a few lines of YAML are less than one more dependency.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml

from tfresnet.config.formats import FORMATS, ONNX, SAVED_MODEL, TFLITE, of_path
from tfresnet.config.loading import dataset_name
from tfresnet.deploy import answers
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.records import CalibrationRecord, Report
from tfresnet.deploy.report import figures
from tfresnet.runs.result import ArtifactRecord
from tfresnet.tasks.headings import judged_by

TEXT = """\
# {arch} on {dataset}

A {arch} ({parameters:,} parameters, {macs:,} multiply-adds) that {does}:
{labels}. Trained and exported with tfresnet.

## Use

{use}

Every file takes what its interface says ({interface}) and holds its labels and preprocessing.

## Results

On {n:,} held-out images; the checkpoint that the files were made from has {value:.2%}.

| file | kB | {metric} | drop (points) | agrees | ms |
| --- | ---: | ---: | ---: | ---: | ---: |
{rows}

Latency is of one image on one thread of {machine}.

## Training

Preset {preset}, seed {seed}, {epochs} epochs, commit {commit}. Data: {dataset}.
{ranges}

## Limits

The accuracy above is of pictures like those it was measured on. It has not been measured on other
cameras, light, or classes that are not in the list{always}.
"""

SERVED = "A SavedModel for TensorFlow Serving; report.html has the command."
NOTHING = "No file passed its checks; see report.html."


def text(context: ExportContext, report: Report) -> str:
    """Return the model card of a finished export.

    Args:
        context: of the export.
        report: its results.
    """
    dataset = dataset_name(context.data.dataset)
    front = yaml.safe_dump(_metadata(context, report, dataset), sort_keys=False)
    return f"---\n{front}---\n\n{_body(context, report, dataset)}"


def _body(context: ExportContext, report: Report, dataset: str) -> str:
    """Return the Markdown of the card."""
    spec, output, result = context.run.spec, context.run.output, context.result
    answer = answers.answer_of(context.metadata.output_kind, output)
    headings, (metric, value) = context.task.headings, judged_by(report.checkpoint)
    return TEXT.format(
        arch=result.arch, dataset=dataset, parameters=result.parameters, macs=result.macs,
        does=answer.does.format(
            pictures=answers.pictures(spec), count=len(output.labels), kinds=headings.card_labels
        ),
        labels=answers.first_labels(output),
        use=_use(report), interface=context.config.interface,
        n=report.n, metric=metric, value=value, rows=_rows(report.artifacts),
        machine=report.processor or "this machine",
        preset=result.preset, seed=result.seed, epochs=result.epochs,
        commit=result.commit or "unknown", ranges=_ranges(report.calibration),
        always=headings.card_limits,
    )  # fmt: skip


def _rows(artifacts: Sequence[ArtifactRecord]) -> str:
    """Return the rows of the table of results."""
    return "\n".join(
        f"| {figures.label(a)} | {a.bytes / 1000:,.1f} | {a.value:.2%} | {a.drop:+.2f} | "
        f"{a.agreement:.2%} | {a.latency_ms:.3f} |"
        for a in artifacts
    )


def _use(report: Report) -> str:
    """Return how to run the best file."""
    if report.bundle:
        files = ((path, of_path(path)) for path in Path(report.bundle).iterdir())
        path, row = next((path, row) for path, row in files if row)
        return f"    {table.format_of(row).command(f'bundle/{path.name}')}"
    passed = [FORMATS[a.format] for a in report.artifacts if not a.failures]
    return SERVED if SAVED_MODEL in passed else NOTHING


def _ranges(calibration: CalibrationRecord) -> str:
    """Return what set the ranges of integer activations."""
    if not calibration.count:
        return "No file has integer activations."
    return (
        f"Integer ranges were set by {calibration.count} training images "
        f"(seed {calibration.seed}, sha256 {calibration.sha256:.16})."
    )


def _metadata(context: ExportContext, report: Report, dataset: str) -> dict[str, Any]:
    """Return the metadata that hubs index."""
    headings = context.task.headings
    kind = headings.hub_metric
    measured = [
        {
            "task": {"type": headings.hub_task},
            "dataset": {"name": dataset, "type": dataset},
            "metrics": [{"type": kind, "value": round(a.value, 4), "name": figures.label(a)}],
        }
        for a in report.artifacts
    ]
    return {
        "library_name": "tfresnet",
        "pipeline_tag": headings.hub_task,
        "tags": ["resnet", TFLITE.name, ONNX.name, "quantized", "on-device"],
        "datasets": [dataset],
        "metrics": [kind],
        "model-index": [{"name": context.result.arch, "results": measured}],
    }
