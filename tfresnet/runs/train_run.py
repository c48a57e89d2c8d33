"""From a configuration to a finished run."""

import re
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tfresnet.backend import keras
from tfresnet.config import loading
from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline, sources
from tfresnet.data.sources import Dataset
from tfresnet.models import functional, zoo
from tfresnet.runs import preflight, teacher, transfer
from tfresnet.runs.result import ArtifactRecord, RunResult
from tfresnet.runs.run_directory import Run, create, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import ACTIVATIONS
from tfresnet.system.files import lock
from tfresnet.tasks import metrics
from tfresnet.tasks import task as tasks
from tfresnet.training import (
    checkpoint,
    convolution,
    distribute,
    header,
    lost_workers,
    optimizers,
    precision,
    progress,
    timing,
    workers,
)
from tfresnet.training.loop import Trainer

SAMPLES, LOOKED_AT = 5, 100  # pictures that are written, out of these


def train(config: RunConfig, directory: Path, resume: bool = False) -> Run:
    """Train in ``directory`` and return the finished run.

    With ``resume`` an existing run goes on from its newest checkpoint. With several workers,
    each has a whole run; that of the first is in ``directory``, others in ``workerN`` in it.

    Raises:
        InputError: the directory holds a run and ``resume`` is off, or that run's configuration
            is another; or anything that the data, the model or the devices object to.
    """
    if config.train.strategy == "multiworker":
        number = workers.cluster().number
        directory = directory / f"worker{number}" if number else directory
        with lost_workers.explained(directory):
            return _train(config, directory, resume)
    return _train(config, directory, resume)


def _train(config: RunConfig, directory: Path, resume: bool) -> Run:
    config, dataset, trainer = _prepare(config, directory, resume)
    # Only now, when everything fits, does the directory come into being.
    with lock(directory, "start another run with --name NAME"):
        changed = _other_epochs(config, directory, trainer) if resume else ()
        run = create(directory, config, dataset.spec, dataset.output)
        _write_samples(dataset, directory / "samples")
        progress.show(
            header.facts(config, trainer, functional.parameters(trainer.model), directory)
        )
        progress.tell(dataset.notes + changed)
        trainer.run()
        _write_result(run, dataset)
    return run


def _other_epochs(config: RunConfig, directory: Path, trainer: Trainer) -> tuple[str, ...]:
    """Return what it means that a run goes on with another number of epochs, if it does."""
    before = open_run(directory)
    old, new = before.config.train, config.train
    if old.epochs == new.epochs:
        return ()
    step, each = checkpoint.newest_step(directory) or 0, trainer.steps_per_epoch
    was = optimizers.make_schedule(old, each, each * old.epochs)(max(0, step - 1))
    will = optimizers.make_schedule(new, each, each * new.epochs)(step)
    return (
        header.more_epochs(old, new, before.epochs_done(), float(was), float(will)),
        "what there was before (configuration, result, export) is kept in "
        f"{directory}/epochs{old.epochs}",
    )


def dry_run(config: RunConfig) -> dict[str, Any]:
    """Return what training would take, from a few timed steps; nothing is written.

    The keys are ``arch parameters macs train_images held_out_images epochs steps
    images_per_second input_images_per_second compute_images_per_second bottleneck
    estimated_seconds peak_memory_mb peak_gpu_memory_mb``; evaluations are not in the estimate.

    Raises:
        InputError: as :func:`train` does; several workers, which have no common clock; data that
            have yet to be downloaded.
    """
    preflight.training(config, dry_run=True)
    sources.check_present(config.data)
    with tempfile.TemporaryDirectory() as folder:
        config, dataset, trainer = _prepare(config, Path(folder) / "run", resume=False)
        progress.tell(dataset.notes)
        shape = dataset.spec.shape
        return {
            "arch": config.model.arch,
            "parameters": functional.parameters(trainer.model),
            "macs": functional.macs(trainer.model, shape),
            "train_images": len(dataset.train),
            "held_out_images": len(dataset.held_out),
            "epochs": config.train.epochs,
            "steps": trainer.total_steps,
            **timing.rates(trainer),
        }


def _prepare(
    config: RunConfig, directory: Path, resume: bool
) -> tuple[RunConfig, Dataset, Trainer]:
    """Return the whole configuration, the data, and what trains; nothing is written yet."""
    preflight.training(config, resume)
    strategy = distribute.make_strategy(config.train)  # before TensorFlow is used: see there
    config = _with_precision(loading.absolute(config), directory, resume)
    # A run that has a checkpoint goes on without the weights that it once started from.
    begun = resume and any((directory / "checkpoints").glob("*.index"))
    gone = begun and not Path(config.train.init_from or "").exists()
    start = None if gone else transfer.start(config)
    if start:
        config = transfer.adopt(config, start)
    preflight.directory(config, directory, resume, settled=True)
    dataset = _dataset(config, directory, start, resume)
    output = replace(dataset.output, activation=ACTIVATIONS[config.train.loss])
    dataset, spec = replace(dataset, output=output), dataset.spec

    def build(precision: str = config.train.precision) -> keras.Model:
        model = zoo.build(config.model, spec.shape, len(output.labels), precision)
        if start:
            transfer.initialise(model, spec, output, start)
        if config.train.freeze_until:
            model.freeze_until(config.train.freeze_until)
        return model if config.train.xla else convolution.speed_up(model)

    in_float32 = None if config.train.precision == "float32" else lambda: build("float32")
    load_teacher = teacher.loader(config, spec, output)
    trainer = Trainer(config, dataset, directory, build, load_teacher, strategy, in_float32)
    return config, dataset, trainer


def _dataset(
    config: RunConfig, directory: Path, start: transfer.Start | None, resume: bool
) -> Dataset:
    if resume:
        run = open_run(directory)
        return sources.load_for(run.spec, run.output, config.data)
    size = zoo.architecture(config.model.arch).image_size
    dataset = sources.load(config.data, default_size=size)
    sources.check_apart(config.data)
    if start is None:
        return dataset
    return replace(dataset, spec=transfer.normalised_as(start, dataset.spec))


def _with_precision(config: RunConfig, directory: Path, resume: bool) -> RunConfig:
    """Return the configuration with what ``train.precision=auto`` means, or has meant, here."""
    chosen = precision.resolve(config.train.precision)
    if config.train.precision == "auto" and resume and (directory / "config.yaml").exists():
        chosen = loading.read(directory / "config.yaml").train.precision
    training = config.train.model_copy(update={"precision": chosen})
    return config.model_copy(update={"train": training})


def _write_samples(dataset: Dataset, folder: Path) -> None:
    """Write a few held-out pictures, of many classes, so that there is something to predict."""
    folder.mkdir(exist_ok=True)
    batch = next(iter(pipeline.raw_batches(dataset.held_out, LOOKED_AT, LOOKED_AT)))
    images, labels, weights = (part.numpy() for part in batch)
    names = [tasks.of(dataset.output).names(label, dataset.output.labels) for label in labels]
    _, first = np.unique(names[: int(weights.sum())], return_index=True)
    others = np.setdiff1d(np.arange(int(weights.sum())), first)
    chosen = sorted([*sorted(first), *others][:SAMPLES])
    for i, place in enumerate(chosen, start=1):
        name = re.sub(r"[^\w.-]+", "_", names[place])[:50]
        image = uncropped(images[place], dataset.spec.crop_fraction)
        pixels = image[..., 0] if image.shape[-1] == 1 else image
        Image.fromarray(pixels).save(folder / f"{i}_{name}.png")


def uncropped(image: np.ndarray, crop_fraction: float) -> np.ndarray:
    """Return an image [H, W, C] with its edges drawn out, of which evaluation crops the same."""
    room = [round(side / crop_fraction) - side for side in image.shape[:2]]
    return np.pad(image, [*((more // 2, more - more // 2) for more in room), (0, 0)], "edge")


def _write_result(run: Run, dataset: Dataset) -> None:
    """Measure the final weights in float32, as they will be exported, and record the run."""
    records = run.records()
    if not records:
        raise InputError(
            f"expected the epochs' records in {run.directory}/metrics.jsonl, found none"
        )
    task, images = tasks.of(run.output), (dataset.held_out, run.spec, run.output)
    model = run.model(averaged=False)
    infer = metrics.probability_function(model, run.output)
    measured = tasks.measure(infer, *images)
    raw = None
    if run.config.train.ema_decay:
        raw = measured[task.primary]
        infer = metrics.probability_function(run.model(), run.output)
        measured = tasks.measure(infer, *images)
    # What mirroring adds, where it makes sense: nothing on a device is measured this way.
    flipped = None
    if run.config.data.flip:
        flipped = tasks.measure(metrics.with_mirrored(infer), *images)[task.primary]
    recorded = run.environment
    seconds, wall = (sum(r[key] for r in records) for key in ("seconds", "wall_seconds"))
    trained_on = records[-1]["step"] * run.config.train.batch_size
    headline = {
        f"test_{task.primary}": measured[task.primary],
        f"ema_{task.primary}": None if raw is None else measured[task.primary],
        f"raw_{task.primary}": raw,
        f"flip_{task.primary}": flipped,
    }
    run.write_result(
        RunResult(
            preset=run.config.name,
            arch=run.config.model.arch,
            seed=run.config.train.seed,
            parameters=functional.parameters(model),
            macs=functional.macs(model, run.spec.shape),
            epochs=records[-1]["epoch"],
            **({"test_top1": None} | headline),
            test=measured,
            wall_seconds=round(wall, 1),
            images_per_second=round(trained_on / seconds, 1),
            command=recorded["command"],
            commit=recorded["commit"],
            artifacts=_exported(run),
            config=run.config.model_dump(),
            environment=recorded,
        )
    )


def _exported(run: Run) -> list[ArtifactRecord]:
    """Return the artifacts of a finished run that was resumed; damaged results have none."""
    try:
        result = run.result
    except InputError:
        return []
    return result.artifacts if result else []
