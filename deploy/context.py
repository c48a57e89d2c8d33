"""What all files of one export share: the run, its data, and the checkpoint's predictions."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import evaluation, tasks
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FORMATS, PACKED
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline, sources
from tfresnet.data.sources import Dataset
from tfresnet.deploy import calibration, measured_data, range_choice, selection, targets
from tfresnet.deploy.calibration import Calibration
from tfresnet.deploy.formats.base import Source
from tfresnet.deploy.reference import Reference
from tfresnet.deploy.selection import Selection
from tfresnet.keras2 import keras
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import Run, weights_sha256
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import EMBEDDING, ModelMetadata, read_metadata
from tfresnet.system import environment
from tfresnet.tasks.base import Task
from tfresnet.training import progress

BATCH = 100
CHOSEN_ON = 500  # training images on which the method to set ranges is chosen
CACHED_BYTES = 2**30  # held-out images up to this size are decoded once for all files
PATHS = {"init_from", "teacher"}  # keys of the train section that are nobody else's business
PROVENANCE = ("arch", "parameters", "macs", "preset", "seed", "epochs", "commit")


@dataclass(frozen=True)
class ExportContext:
    """Everything that all files of one export share.

    Attributes:
        run: the run, trained to its end.
        result: what its training measured.
        config: what is exported and how strictly it is judged.
        data: the data section to measure with, the run's unless others were named.
        model: the run's network, float32.
        dataset: the images of ``data``, without those of ``selection``.
        calibration: training images that set the ranges of activations; none is measured on.
        held_out: batches of uint8 images, classes and weights to measure on.
        reference: the checkpoint's predictions for ``held_out``.
        selection: training images to choose a file on; None if nothing is chosen.
        metadata: what every file says about itself, before it is measured.
        held_out_sha256: a digest of the images that are measured on and of what is true of them.
    """

    run: Run
    result: RunResult
    config: ExportConfig
    data: DataConfig
    model: keras.Model
    dataset: Dataset
    calibration: Calibration
    held_out: tf.data.Dataset
    reference: Reference
    selection: Selection | None
    metadata: ModelMetadata
    held_out_sha256: str = ""

    @property
    def task(self) -> Task:
        """What the run does: one class an image, or any number of labels."""
        return self.reference.task

    def source(self, model: keras.Model) -> Source:
        """Return a network, the run's or what fine-tuning made of it, as what files are made of."""
        kind = "" if self.config.features else self.metadata.output_kind
        images = self.calibration.images
        ranges = self.calibration.manifest.get("method", range_choice.FALLBACK)
        return Source(model, self.run.spec, self.run.output, images, kind, ranges)

    @property
    def directory(self) -> Path:
        """Where the files are written."""
        return self.run.directory / "export" / ("features" if self.config.features else "")

    @property
    def fine_tuned_run(self) -> Run:
        """The run with the data of this export, as fine-tuning takes it."""
        own = self.run.config
        data = self.data.model_copy(update={"data_dir": own.data.data_dir})
        return replace(self.run, config=own.model_copy(update={"data": data}))

    def has_data_of_run(self) -> bool:
        """Tell whether what is measured here compares with the run's own result."""
        own, known = self.run.config.data, self.result.test.get("n")
        if known is None:
            return True
        # A folder may be in another place now.
        folder = Path(own.dataset)
        moved = folder.is_absolute() and not folder.exists() and known == len(self.dataset.held_out)
        same = moved or self.data.dataset == own.dataset
        return same and self.data.eval_split == own.eval_split

    def stale_models(self) -> list[str]:
        """Return the models in the directory that were made of other weights than the run's now."""
        found = []
        for path in sorted({p for pattern in _patterns() for p in self.directory.glob(pattern)}):
            try:
                digest = read_metadata(path).weights_sha256
            except InputError:
                digest = None  # cut short, or written by something else
            if digest != self.metadata.weights_sha256:
                found.append(str(path))
        return found


def prepare(
    run: Run, config: ExportConfig, changes: dict[str, Any], chooses: bool = False
) -> ExportContext:
    """Load a run and its data, and predict the held-out images with its network.

    Args:
        run: trained to its end.
        config: what to export.
        changes: keys of the run's data section to replace.
        chooses: whether some training images are set aside, to choose a file on.

    Raises:
        InputError: the run is unfinished, its data are missing or have other labels, or there are
            too few training images.
    """
    result = run.finished_result()
    data = _data(run, changes)
    model, dataset = run.model(), sources.load_for(run.spec, run.output, data)
    progress.tell(dataset.notes)
    task = tasks.of(run.output)
    predict = evaluation.network_predict(model, run.spec, task)
    measured: set[bytes] = set()

    def predict_and_note(images: tf.Tensor) -> tf.Tensor:
        measured.update(calibration.digest(image) for image in images.numpy())
        return predict(images)

    held_out = _batches(dataset.held_out, run.spec.shape, config.verify_images)
    reference = Reference(*evaluation.collect(predict_and_note, held_out), task)
    seed, chosen = config.calibration_seed, None
    reserved = np.empty(0, np.int64)
    training = dataset.train
    if chooses:
        reserved = selection.draw(len(training), seed, config.verify_images)
        dataset, images = selection.divide(dataset, reserved)
        batches = _batches(images, run.spec.shape, None)
        chosen = Selection(batches, Reference(*evaluation.collect(predict, batches), task))
    count = config.calibration_images if targets.calibrates(config) else 0
    choosing = CHOSEN_ON if count and config.calibration_method == "auto" else 0
    drawn = calibration.draw(training, count, seed, task, measured, reserved, choosing)
    described = describe(run, result, config, data, model)
    if count:
        drawn = _with_method(drawn, config, Source(model, run.spec, run.output, drawn.images))
    metadata = replace(
        described,
        calibration_images=drawn.manifest["count"],
        calibration=drawn.summary,
        measured={**reference.headline, "n": reference.n},
    )
    checksum = _checksum(measured, reference)
    return ExportContext(
        run, result, config, data, model, dataset, drawn, held_out, reference, chosen, metadata,
        checksum,
    )  # fmt: skip


def _checksum(images: set[bytes], reference: Reference) -> str:
    """Return a digest of images, given by theirs, in any order, and of what is true of them."""
    whole = hashlib.sha256(b"".join(sorted(images)))
    for part in tf.nest.flatten(reference.truth):
        whole.update(np.ascontiguousarray(part).tobytes())
    return whole.hexdigest()


def _with_method(drawn: Calibration, config: ExportConfig, source: Source) -> Calibration:
    """Return the calibration with the method that sets ranges, which ``auto`` chooses here."""
    if config.calibration_method == "auto":
        method, errors = range_choice.best(source, drawn.held_back)
        found = {"method": method, "errors": errors, "chosen_on": len(drawn.held_back)}
    else:
        found = {"method": config.calibration_method}
    return replace(drawn, manifest=drawn.manifest | found)


def _data(run: Run, changes: dict[str, Any]) -> DataConfig:
    """Return the run's data section with some keys replaced, its paths absolute."""
    data = loading.with_data(run.config.data, changes)
    return loading.absolute(run.config.model_copy(update={"data": data})).data


def _batches(split: Any, shape: tuple[int, ...], limit: int | None) -> tf.data.Dataset:
    batches = pipeline.raw_batches(split, BATCH, limit)
    count = min(len(split), limit or len(split))
    return batches.cache() if count * int(np.prod(shape)) <= CACHED_BYTES else batches


def describe(
    run: Run, result: RunResult, config: ExportConfig, data: DataConfig, model: keras.Model
) -> ModelMetadata:
    """Return what every file of an export says about itself, without numbers measured of it.

    Args:
        run: what is exported.
        result: what its training measured.
        config: what is exported.
        data: the data section to measure with.
        model: the run's network.
    """
    return ModelMetadata(
        spec=run.spec,
        output=run.output,
        output_kind=_output_kind(config, tasks.of(run.output)),
        input_type=config.interface,
        **{key: getattr(result, key) for key in PROVENANCE},
        config={
            "model": run.config.model.model_dump(),
            "train": run.config.train.model_dump(exclude=PATHS),
        },
        versions={name: found for name, found in environment.versions().items() if found},
        data=measured_data.public(data),
        weights_sha256=weights_sha256(model),
    )


def _output_kind(config: ExportConfig, task: Task) -> str:
    """Return what the files give."""
    if config.features:
        return EMBEDDING
    if config.output == "auto":
        return task.output_kinds[0]
    if config.output not in task.output_kinds:
        raise InputError(
            f"output: expected auto of a run of {task.output.task}, whose files give "
            f"{' or '.join(task.output_kinds)}, got {config.output}"
        )
    return config.output


def _patterns() -> Iterator[str]:
    """Yield the patterns of all models of an export, and of those in the folders beside them."""
    for row in FORMATS.values():
        folder, _, name = row.pattern.rpartition("/")
        for pattern in {row.pattern, f"{folder}/{PACKED}/{name}" if folder else row.pattern}:
            yield from (pattern, f"features/{pattern}", f"bundle/{pattern}")
