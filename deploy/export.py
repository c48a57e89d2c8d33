"""From a run to verified model files: convert, measure against the checkpoint, bundle, report."""

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfresnet.backend import keras
from tfresnet.deploy import choice
from tfresnet.deploy.compress import cluster, prune, qat
from tfresnet.deploy.device import bundle
from tfresnet.deploy.formats import wrap
from tfresnet.deploy.plan import FINE_TUNED, INTEGER, Options, Target
from tfresnet.deploy.report import card, page
from tfresnet.deploy.search import Budget, search
from tfresnet.deploy.workshop import Workshop
from tfresnet.models.functional import functional
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.run_directory import Run
from tfresnet.system import environment
from tfresnet.system.files import lock, write_text

Say = Callable[[str], None]
# What is being done, how many files are finished, and of how many, if that is known.
Progress = Callable[[str, int, int | None], None]
AUTO_QAT_EPOCHS = 5
LOADING = "loading the run, its data, and the checkpoint's answers"
Job = tuple[keras.Model, Target]


def export(
    run: Run,
    options: Options,
    progress: Progress = lambda stage, done, total: None,
    data: dict[str, Any] | None = None,
) -> dict:
    """Write ``export/`` in the run directory and return what its ``report.json`` holds.

    The report has ``checkpoint_top1``, ``n`` (images measured on), ``calibration``, ``processor``
    (of this machine, on which latencies were measured), ``bundle``, ``stale`` (models of an earlier
    export, of other weights) and ``artifacts``: dictionaries with ``path format quantization bytes
    gzip_bytes sparsity top1 drop agreement max_abs_error latency_ms fully_integer failures``. An
    artifact with failures is kept. ``data`` replaces keys of the run's data section: where the same
    data are now, or others to measure on.
    """
    artifacts: list[dict] = []

    def say(stage: str) -> None:
        progress(stage, len(artifacts), options.count())

    with _alone(run):
        say(LOADING)
        workshop = Workshop(run, options, data)
        for model, target in _jobs(workshop, say):
            say(f"{target.name}: converting and measuring")
            artifacts.append(workshop.make(model, target))
        say("writing the report")
        return finish(workshop, artifacts, artifacts)


def export_within(
    run: Run,
    options: Options,
    budget: Budget,
    progress: Progress = lambda stage, done, total: None,
    data: dict[str, Any] | None = None,
) -> dict:
    """Export the cheapest TFLite file within a budget; return a report as :func:`export` does.

    It also has ``ladder``, what was tried and what it missed, ``chosen``, the file's path, and
    ``selection``, the training images that were chosen on.
    """

    def say(stage: str) -> None:
        progress(stage, 0, None)

    with _alone(run):
        say(LOADING)
        workshop = Workshop(run, options, data, chooses=True)
        epochs = options.qat_epochs or AUTO_QAT_EPOCHS
        found = search(workshop, budget, epochs, say)
        within = [record for record in found.records if record["path"] == found.chosen]
        images = workshop.selection.summary if workshop.selection else None
        ladder = [tried.to_dict() for tried in found.tried]
        return finish(
            workshop, found.records, within,
            ladder=ladder, chosen=found.chosen, selection=images,
        )  # fmt: skip


def _alone(run: Run) -> AbstractContextManager[None]:
    """Keep other processes from exporting the same run at the same time."""
    return lock(run.directory / "export", "export a copy of the run")


def finish(workshop: Workshop, artifacts: list[dict], candidates: list[dict], **more: Any) -> dict:
    """Write the bundle, of one of the ``candidates``, and the report of all; return the report."""
    directory, reference = workshop.directory, workshop.reference
    report = {
        **reference.headline,
        "checkpoint": reference.scores,
        "n": len(reference.classes),
        "calibration": workshop.calibration.summary,
        "processor": environment.processor(),
        "processor_note": _note(artifacts),
        "artifacts": artifacts,
        "bundle": _bundle(workshop, candidates),
        "stale": workshop.stale(),
        **more,
    }
    write_text(directory / "calibration.json", json.dumps(workshop.calibration.manifest))
    write_text(directory / "report.json", json.dumps(report, indent=1))
    write_text(directory / "report.html", page.html(workshop, report))
    write_text(directory / "MODEL_CARD.md", card.text(workshop, report))
    if not workshop.options.features and workshop.has_the_runs_data():
        found = [ArtifactRecord(**artifact) for artifact in artifacts]
        workshop.run.write_result(workshop.result.model_copy(update={"artifacts": found}))
    return report


def _jobs(workshop: Workshop, say: Say) -> Iterator[Job]:
    """Yield networks and the files to make of them."""
    options = workshop.options
    if options.qat_epochs:  # what can't be done is said before anything else is
        qat.check(functional(workshop.model, workshop.run.spec.shape))
    exported = wrap.Embedding(workshop.model) if options.features else workshop.model
    for target in options.targets():
        yield exported, target
    yield from _compressed(workshop, say)


def _compressed(workshop: Workshop, say: Say) -> Iterator[Job]:
    """Yield what fine-tuning makes of the network: pruned, then clustered, then quantised."""
    options, run, data = workshop.options, workshop.tuned, workshop.dataset
    directory, epochs = workshop.directory, options.compress_epochs
    network, suffix = None, ""
    if options.prune:
        say("pruning")
        suffix = "_pruned"
        network = prune.prune(
            run, data, options.prune, options.sparsity, epochs, directory / "pruned"
        )
    if options.cluster:
        say("clustering")
        suffix += "_clustered"
        network = cluster.cluster(
            run, data, options.cluster, epochs, directory / suffix[1:], network
        )
    if network:
        for target in options.targets():
            if target.format in FINE_TUNED:
                yield network, replace(target, suffix=suffix, clusters=options.cluster)
    if options.qat_epochs:
        say("training with fake quantisation")
        suffix += "_qat"
        aware = qat.train(
            run, data, options.qat_epochs, directory / suffix[1:], network,
            pruned=bool(options.prune), clustered=bool(options.cluster),
        )  # fmt: skip
        yield aware, Target("tflite", "int8", suffix, options.cluster)
        for target in (Target("onnx", "int8"), Target("tflm", "int8")):
            if target in options.targets():
                yield aware, replace(target, suffix=suffix, clusters=options.cluster)


def _bundle(workshop: Workshop, artifacts: list[dict]) -> str | None:
    """Write the bundle of the int8 model, else of the smallest sound one; return its folder."""
    run, folder = workshop.run, workshop.directory / "bundle"
    best = choice.best(artifacts)
    if artifacts and not choice.portable(artifacts):
        return None  # for a server; what a device got before stays
    if best is None:
        shutil.rmtree(folder, ignore_errors=True)  # one of an earlier export would look current
        return None
    sample = next(iter(sorted((run.directory / "samples").glob("*.png"))), None)
    bundle.write(folder, Path(best["path"]), workshop.with_results(best), sample)
    return str(folder)


def _note(artifacts: list[dict]) -> str | None:
    """Return why quantized files are slow on this processor, if there are any and they are."""
    integer = any(a["quantization"] in (*INTEGER, "dynamic") for a in artifacts)
    return environment.slow_integers() if integer else None
