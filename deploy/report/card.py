"""Write model cards in the format of model hubs: metadata as YAML, then Markdown for people.

https://huggingface.co/docs/hub/model-cards; the metadata are made and checked by huggingface_hub.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tfresnet.config.formats import FORMATS, ONNX, SAVED_MODEL, TFLITE, of_path
from tfresnet.config.loading import dataset_name
from tfresnet.data import lookup
from tfresnet.deploy import answers
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.records import CalibrationRecord, Report
from tfresnet.deploy.report import figures
from tfresnet.models import named_weights
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.errors import InputError
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
{boards}
## Training

Preset {preset}, seed {seed}, {epochs} epochs, commit {commit}. Data: {dataset}.{start}
{ranges}

## Limits

The accuracy above is of pictures like those it was measured on. It has not been measured on other
cameras, light, or classes that are not in the list{always}.
"""

STARTED = """
It started from the weights [{start.name}]({start.url}), whose license is {start.license}."""

HUB = """\
    hf download OWNER/{name} --local-dir {name} && cd {name}
    pip install tfresnet && tfresnet predict {model} photo.jpg

Files: {listed}; `labels.txt` has the labels in the order of the outputs. The checkpoint is
`weights.safetensors`, and the folder a run of tfresnet:

    tfresnet export . --dataset IMAGES --tflite
    tfresnet train IMAGES --init-from . --name mine
"""
PROGRAM = """
Without tfresnet:

    pip install -r requirements.txt && python classify.py {model} photo.jpg
"""

SERVED = "A SavedModel for TensorFlow Serving; report.html has the command."
NOTHING = "No file passed its checks; see report.html."


def text(context: ExportContext, report: Report) -> str:
    """Return the model card of a finished export.

    Args:
        context: of the export.
        report: its results.
    """
    return _front(context, report, None) + _body(context, report, _use(report))


def hub_text(
    context: ExportContext, report: Report, name: str, license: str | None, program: bool
) -> str:
    """Return the model card of a folder for the hub; see :mod:`tfresnet.deploy.hub_folder`.

    Args:
        context: of the export.
        report: its results.
        name: of the repository, without its owner.
        license: an identifier that the hub knows; None for ``unknown``.
        program: whether ``classify.py`` is in the folder.
    """
    sound = [artifact for artifact in report.artifacts if not artifact.failures]
    files = [Path(artifact.path).name for artifact in sound]
    model = next((Path(a.path).name for a in sound if a.path == report.chosen), files[0])
    if report.bundle:
        model = next((file for file in files if (Path(report.bundle) / file).exists()), model)
    use = HUB.format(name=name, model=model, listed=", ".join(f"`{file}`" for file in files))
    if program:
        use += PROGRAM.format(model=model)
    return _front(context, report, license or "unknown") + _body(context, report, use)


def check(text: str) -> None:
    """Check a model card as far as that is possible without the hub.

    Raises:
        InputError: huggingface_hub can't read its metadata, or would not write them as they are.
    """
    from huggingface_hub import ModelCard, ModelCardData

    try:
        data = ModelCard(text, ignore_metadata_errors=False).data
    except (ValueError, TypeError) as error:
        raise InputError(f"expected a model card that the hub takes: {error}") from None
    assert isinstance(data, ModelCardData)
    if not data.eval_results or not data.license or not data.pipeline_tag:
        raise InputError("expected a model card with results, a license and a task")


def _body(context: ExportContext, report: Report, use: str) -> str:
    """Return the Markdown of the card."""
    dataset = dataset_name(context.data.dataset)
    start = named_weights.named(context.run.config.train.init_from)
    spec, output, result = context.run.spec, context.run.output, context.result
    answer = answers.answer_of(context.metadata.output_kind, output)
    headings, (metric, value) = context.task.headings, judged_by(report.checkpoint)
    return TEXT.format(
        arch=result.arch, dataset=dataset, parameters=result.parameters, macs=result.macs,
        does=answer.does.format(
            pictures=answers.pictures(spec), count=len(output.labels), kinds=headings.card_labels
        ),
        labels=answers.first_labels(output),
        use=use, interface=context.config.interface,
        n=report.n, metric=metric, value=value, rows=_rows(report.artifacts),
        machine=report.processor or "this machine",
        preset=result.preset, seed=result.seed, epochs=result.epochs,
        commit=result.commit or "unknown",
        start=STARTED.format(start=start) if start else "",
        ranges=_ranges(report.calibration),
        always=headings.card_limits,
        boards=_boards(report.artifacts),
    )  # fmt: skip


def _boards(artifacts: Sequence[ArtifactRecord]) -> str:
    """Return what the files for TFLite Micro take and which boards have it, as a paragraph each."""
    found = ""
    for artifact in artifacts:
        if taken := artifact.microcontroller:
            boards = ", ".join(name for name, fits in taken.boards.items() if fits) or "none known"
            found += (
                f"\n{figures.label(artifact)} takes some {taken.flash_bytes / 1024:,.0f} KiB of "
                f"flash and {taken.ram_bytes / 1024:,.0f} KiB of RAM; by `tfresnet fit` it fits "
                f"these boards: {boards}.\n"
            )
    return found


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


def _front(context: ExportContext, report: Report, license: str | None) -> str:
    """Return the metadata that hubs index, as the YAML that a card begins with."""
    from huggingface_hub import EvalResult, ModelCardData

    headings, data = context.task.headings, context.data
    start = named_weights.named(context.run.config.train.init_from)
    is_public = lookup.kind(data) == "tfds"
    common: dict[str, Any] = {
        "task_type": headings.hub_task,
        "dataset_name": dataset_name(data.dataset),
        "dataset_type": dataset_name(data.dataset),
        "metric_type": headings.hub_metric,
    }
    if is_public:
        common["dataset_split"] = data.eval_split
    values = {"checkpoint": judged_by(report.checkpoint)[1]}
    values |= {figures.label(artifact): artifact.value for artifact in report.artifacts}
    results = [
        EvalResult(metric_value=round(value, 4), metric_name=name, **common)
        for name, value in values.items()
    ]
    metadata = ModelCardData(
        license=license,
        base_model=start.name if start else None,
        datasets=[dataset_name(data.dataset)] if is_public else None,
        eval_results=results,
        library_name="tfresnet",
        metrics=[headings.hub_metric],
        model_name=context.result.arch,
        pipeline_tag=headings.hub_task,
        tags=["resnet", TFLITE.name, ONNX.name, "quantized", "on-device"],
    )
    return f"---\n{metadata.to_yaml()}\n---\n\n"
