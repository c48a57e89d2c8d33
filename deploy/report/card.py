"""MODEL_CARD.md, in the form of model hubs: YAML in front, then what a reader asks first.

https://huggingface.co/docs/hub/model-cards
"""

from typing import Any

import yaml

from tfresnet.config.formats import FORMATS, ONNX, SAVED_MODEL, TFLITE
from tfresnet.config.loading import dataset_name
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.report import figures
from tfresnet.tasks.headings import judged_by

TEXT = """\
# {arch} on {dataset}

A {arch} ({parameters:,} parameters, {macs:,} multiply-adds) that classifies {height} x {width}
{colours} pictures into {count} {kinds}: {labels}. Trained and exported with tfresnet.

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


def text(context: ExportContext, report: dict[str, Any]) -> str:
    """Return the model card of a finished export."""
    spec, output = context.run.spec, context.run.output
    result, (metric, value) = context.result, judged_by(report, "checkpoint_")
    dataset = dataset_name(context.data.dataset)
    rows = "\n".join(
        f"| {figures.label(a)} | {a['bytes'] / 1000:,.1f} | {a['value']:.2%} | {a['drop']:+.2f} | "
        f"{a['agreement']:.2%} | {a['latency_ms']:.3f} |"
        for a in report["artifacts"]
    )
    shown = ", ".join(output.labels[:10]) + (", ..." if len(output.labels) > 10 else "")
    use = "    python bundle/classify.py bundle/model_*.* photo.jpg"
    if not report["bundle"]:
        served = any(
            FORMATS[a["format"]] is SAVED_MODEL and not a["failures"] for a in report["artifacts"]
        )
        use = SERVED if served else "No file passed its checks; see report.html."
    body = TEXT.format(
        arch=result.arch, dataset=dataset, parameters=result.parameters,
        macs=result.macs, height=spec.height, width=spec.width,
        colours="colour" if len(spec.mean) == 3 else "grey", count=len(output.labels), labels=shown,
        kinds="labels, any number of which a picture may have" if output.multi_label else "classes",
        use=use,
        interface=context.config.interface, n=report["n"], metric=metric, value=value,
        rows=rows, machine=report["processor"] or "this machine",
        preset=result.preset, seed=result.seed, epochs=result.epochs,
        always="" if output.multi_label else ", and it always answers with one of its classes",
        commit=result.commit or "unknown", ranges=_ranges(report["calibration"]),
    )  # fmt: skip
    return f"---\n{yaml.safe_dump(_front(context, report, dataset), sort_keys=False)}---\n\n{body}"


def _ranges(calibration: dict[str, Any]) -> str:
    if not calibration["count"]:
        return "No file has integer activations."
    return (
        f"Integer ranges were set by {calibration['count']} training images "
        f"(seed {calibration['seed']}, sha256 {calibration['sha256']:.16})."
    )


def _front(context: ExportContext, report: dict[str, Any], dataset: str) -> dict[str, Any]:
    """Return the metadata that hubs index."""
    kind = context.task.headings.hub_metric
    measured = [
        {
            "task": {"type": "image-classification"},
            "dataset": {"name": dataset, "type": dataset},
            "metrics": [{"type": kind, "value": round(a["value"], 4), "name": figures.label(a)}],
        }
        for a in report["artifacts"]
    ]
    return {
        "library_name": "tfresnet",
        "pipeline_tag": "image-classification",
        "tags": ["resnet", TFLITE.name, ONNX.name, "quantized", "on-device"],
        "datasets": [dataset],
        "metrics": [kind],
        "model-index": [{"name": context.result.arch, "results": measured}],
    }
