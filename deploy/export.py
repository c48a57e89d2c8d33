"""Export a run: convert, measure against the checkpoint, bundle, report."""

import json
import shutil
import textwrap
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import QUANTIZATIONS
from tfresnet.data import lookup
from tfresnet.deploy import (
    artifact,
    choice,
    croissant,
    hub_folder,
    provenance,
    speed,
    targets,
)
from tfresnet.deploy.budget import Budget
from tfresnet.deploy.compress import chain
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.deploy.compress.slim import Slimming
from tfresnet.deploy.context import ExportContext, prepare
from tfresnet.deploy.device import bundle, firmware
from tfresnet.deploy.formats import table, wrap
from tfresnet.deploy.formats.base import Target
from tfresnet.deploy.measure import MeasuredFile
from tfresnet.deploy.provenance import Provenance
from tfresnet.deploy.publication import HubFolder
from tfresnet.deploy.records import CalibrationRecord, Report, SlimRecord
from tfresnet.deploy.report import card, page
from tfresnet.deploy.search import search
from tfresnet.deploy.signing import IGNORED_OF_HUB, Signer
from tfresnet.keras2 import keras
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.signature import SIGNATURE
from tfresnet.system import environment
from tfresnet.system.files import lock, write_text

Say = Callable[[str], None]
# What is being done, how many files are finished, and of how many, if that is known.
Progress = Callable[[str, int, int | None], None]
SEARCH_QAT_EPOCHS = 5
LOADING = "loading the run, its data, and the checkpoint's predictions"


def export(
    run: Run,
    config: ExportConfig,
    progress: Progress = lambda stage, done, total: None,
    data: dict[str, Any] | None = None,
    publish: HubFolder | None = None,
    signer: Signer | None = None,
) -> Report:
    """Write ``export/`` in the run directory and return what its ``report.json`` holds.

    A file with failures is kept, and named.

    Args:
        run: trained to its end.
        config: what to export.
        progress: is told what is being done.
        data: keys of the run's data section to replace: where the same data are now, or others to
            measure on.
        publish: a folder to write for the hub as well.
        signer: who signs the export, its bundle and the folder for the hub; None for nobody.

    Raises:
        InputError: what the configuration asks for can't be made of this run.
    """
    files: list[MeasuredFile] = []

    def say(stage: str) -> None:
        progress(stage, len(files), targets.count(config))

    for row in config.rows:
        table.format_of(row).check_installed()
    with _only_export_of(run):
        say(LOADING)
        context = prepare(run, config, data or {})
        for model, target in _networks(context, say):
            say(f"{target.name}: converting and measuring")
            files.append(artifact.make(context, model, target))
        say("writing the report")
        more = {"slim": _slim(context)} if config.slims else {}
        report = finish(context, files, [file.record for file in files], **more)
        return _published(context, report, publish, signer)


def export_within(
    run: Run,
    config: ExportConfig,
    budget: Budget,
    progress: Progress = lambda stage, done, total: None,
    data: dict[str, Any] | None = None,
    publish: HubFolder | None = None,
    signer: Signer | None = None,
) -> Report:
    """Export the cheapest TFLite file within a budget; see :func:`export`.

    The report also says what was tried, ``ladder``, which file was ``chosen``, and on what.
    """

    def say(stage: str) -> None:
        progress(stage, 0, None)

    with _only_export_of(run):
        say(LOADING)
        context = prepare(run, config, data or {}, chooses=True)
        found = search(context, budget, config.qat_epochs or SEARCH_QAT_EPOCHS, say)
        within = [f.record for f in found.files if f.record.path == found.chosen]
        images = context.selection.summary if context.selection else None
        more: dict[str, Any] = {
            "ladder": found.tried,
            "chosen": found.chosen,
            "selection": images,
        }
        if found.nearest:
            more["nearest"] = found.nearest
        more["speed"], dynamic = speed.compare(context, found.files, budget, say)
        files = [*found.files, *dynamic]
        report = finish(context, files, within, **more)
        return _published(context, report, publish, signer)


def _published(
    context: ExportContext, report: Report, publish: HubFolder | None, signer: Signer | None
) -> Report:
    """Write the folder for the hub and sign, if that is to be; the report is what was given."""
    if publish:
        hub_folder.write(publish, context, report)
    if signer:
        # The export last: its signature covers that of the bundle in it.
        if report.bundle:
            signer.sign(Path(report.bundle))
        signer.sign(context.directory)
        if publish:
            signer.sign(publish.directory, IGNORED_OF_HUB)
    return report


def _only_export_of(run: Run) -> AbstractContextManager[None]:
    """Keep other processes from exporting the same run at the same time."""
    return lock(run.directory / "export", "export a copy of the run")


def finish(
    context: ExportContext,
    files: Sequence[MeasuredFile],
    candidates: Sequence[ArtifactRecord],
    **more: Any,
) -> Report:
    """Write the bundle, of one of the ``candidates``, and the report of all; return the report."""
    directory, reference = context.directory, context.reference
    (directory / SIGNATURE).unlink(missing_ok=True)  # of what an earlier export wrote
    artifacts = choice.compared([file.record for file in files])
    processor = context.config.processor
    best = choice.best(candidates, processor)
    report = Report(
        **reference.headline,
        checkpoint=reference.scores,
        n=reference.n,
        calibration=CalibrationRecord(**context.calibration.summary),
        processor=environment.processor(),
        processor_note=_processor_note(artifacts),
        artifacts=artifacts,
        bundle=_bundle(context, candidates, best),
        target=processor.name,
        bundle_reason=best and choice.reason(best, processor),
        stale=context.stale_models(),
        **more,
    )
    predictions = {file.record.path: file.predictions for file in files}
    write_text(directory / "calibration.json", json.dumps(context.calibration.manifest))
    write_text(directory / "report.json", json.dumps(report.to_dict(), indent=1))
    write_text(directory / "report.html", page.html(context, report, predictions))
    write_text(directory / "MODEL_CARD.md", card.text(context, report))
    made_of = _made_of(context)
    write_text(directory / provenance.FILE, _json(made_of.to_dict()))
    _write_bill(context, made_of, report)
    _write_croissant(context, made_of)
    if not context.config.features and context.has_data_of_run():
        context.run.write_result(context.result.model_copy(update={"artifacts": artifacts}))
    return report


def _made_of(context: ExportContext) -> Provenance:
    """Return digests of what an export was made of."""
    return provenance.of_export(
        context.run,
        context.result,
        context.data,
        context.metadata.weights_sha256,
        {"n": context.reference.n, "sha256": context.held_out_sha256},
        context.calibration.summary,
    )


def _write_bill(context: ExportContext, made_of: Provenance, report: Report) -> None:
    from tfresnet.deploy import bill_of_materials  # its library takes half a second to import

    text = bill_of_materials.text(made_of, context.metadata, report)
    write_text(context.directory / bill_of_materials.FILE, text)


def _write_croissant(context: ExportContext, made_of: Provenance) -> None:
    """Describe the data, if they are a folder."""
    path = context.directory / croissant.FILE
    path.unlink(missing_ok=True)
    if digest := made_of.data.folder:
        root, task = lookup.folder(context.data), lookup.task(context.data)
        write_text(path, croissant.text(root, task or "", context.run.output.labels, digest))


def _json(values: dict[str, Any]) -> str:
    return json.dumps(values, indent=1, sort_keys=True) + "\n"


def _networks(context: ExportContext, say: Say) -> Iterator[tuple[keras.Model, Target]]:
    """Yield networks and the files to make of them: as it is, compressed, trained for integers.

    Raises:
        InputError: the network can't be compressed in one of the ways; before anything is made.
    """
    config = context.config
    weights, quantizers = chain.weight_compressors(config), chain.quantizers(config)
    network = FunctionalNetwork.of(context.model, context.run.spec.shape)
    for compressor in (*weights, *quantizers):
        compressor.check(network)
    exported = wrap.Embedding(context.model) if config.features else context.model
    for target in targets.plain(config):
        yield exported, target
    folder = ""
    for compressors, files in ((weights, targets.compressed), (quantizers, targets.trained)):
        for compressor in compressors:
            say(compressor.stage)
            folder += f"_{compressor.name}"
            directory = context.directory / folder[1:]
            fine_tune = FineTuner(context.fine_tuned_run, context.dataset, directory)
            network = compressor.apply(network, fine_tune)
        for target in files(config):
            done = replace(target.compression, slim=network.slim)
            yield network.model, replace(target, compression=done)


def _slim(context: ExportContext) -> SlimRecord:
    """Return what the report says about the network that slimming made."""
    run = open_run(context.directory / Slimming.name)
    result = run.finished_result()
    return SlimRecord(
        run=str(run.directory),
        inner_widths=run.config.model.inner_widths,
        parameters=result.parameters,
        macs=result.macs,
    )


def _bundle(
    context: ExportContext, candidates: Sequence[ArtifactRecord], best: ArtifactRecord | None
) -> str | None:
    """Write the bundle of the ``best`` file for the target; return its folder."""
    run, folder, processor = context.run, context.directory / "bundle", context.config.processor
    if candidates and not choice.portable(candidates):
        return None  # for a server; what a device got before stays
    if best is None:
        shutil.rmtree(folder, ignore_errors=True)  # one of an earlier export would look current
        return None
    sample = next(iter(sorted((run.directory / "samples").glob("*.png"))), None)
    path = Path(best.path)
    note = f"Of the files that were made, {path.name} is here: {choice.reason(best, processor)}."
    note = textwrap.fill(note, 100, break_long_words=False, break_on_hyphens=False)
    if processor.is_firmware:
        firmware.write(folder, path, read_metadata(path), note)
    else:
        bundle.write(folder, path, read_metadata(path), sample, note)
    return str(folder)


def _processor_note(artifacts: Sequence[ArtifactRecord]) -> str | None:
    """Return why quantized files are slow on this processor, if there are any and they are."""
    integer = any(QUANTIZATIONS[a.quantization].integer_arithmetic for a in artifacts)
    return environment.int8_note() if integer else None
