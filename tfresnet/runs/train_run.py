"""Train a network into a run directory."""

from pathlib import Path
from typing import Any

from tfresnet import evaluation, tasks
from tfresnet.config.sections import RunConfig
from tfresnet.data import service
from tfresnet.data.sources import Dataset
from tfresnet.keras2 import keras
from tfresnet.models import functional
from tfresnet.runs import samples
from tfresnet.runs.preparation import prepare
from tfresnet.runs.request import config_file, worker_directory
from tfresnet.runs.result import ArtifactRecord, RunResult
from tfresnet.runs.run_directory import Run, create, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import lock
from tfresnet.tasks.base import Metrics, Task
from tfresnet.training import (
    checkpoint,
    header,
    lost_workers,
    optimizers,
    progress,
    work,
    workers,
)  # fmt: skip
from tfresnet.training.loop import Trainer


def train(config: RunConfig, directory: Path, resume: bool = False) -> Run:
    """Train in ``directory`` and return the finished run.

    Args:
        config: the configuration.
        directory: the run directory. With several workers each has a whole run: that of the first
            is in ``directory``, those of the others in ``workerN`` in it.
        resume: go on from the newest checkpoint of the run that is there.

    Raises:
        InputError: the directory holds a run and ``resume`` is off, or that run's configuration
            is another; or settings that the data, the model or the devices do not allow.
    """
    if config.train.strategy == "multiworker":
        begun = config_file(directory)
        directory = worker_directory(directory, workers.cluster().number)
        if begun and not (directory / "config.yaml").exists():
            resume = False  # stopped before this worker had begun; the others go back to the start
        with lost_workers.explained(directory):
            return _train(config, directory, resume)
    return _train(config, directory, resume)


def _train(config: RunConfig, directory: Path, resume: bool) -> Run:
    config, dataset, trainer, weights = prepare(config, directory, resume)
    # The directory is created only now, when everything is checked.
    with lock(directory, "start another run with --name NAME"):
        changed = _other_epochs(config, directory, trainer) if resume else ()
        run = create(directory, config, dataset.spec, dataset.output)
        samples.write(dataset, directory / "samples")
        parameters = functional.parameters(trainer.model)
        total = _petaflop(config, trainer)
        progress.show(header.facts(config, trainer, parameters, total, directory, weights))
        progress.tell(dataset.notes + changed)
        with service.explained(config.data.service):
            trainer.run()
        done = int(trainer.step)  # fewer where train.patience ended it
        if done != trainer.total_steps:
            total = _petaflop(config, trainer, done)
        write_result(run, dataset, total)
    return run


def _petaflop(config: RunConfig, trainer: Trainer, steps: int | None = None) -> float:
    return work.petaflop(
        config,
        trainer.dataset.spec,
        trainer.steps_per_epoch,
        trainer.model,
        trainer.teacher,
        steps,
    )


def _other_epochs(config: RunConfig, directory: Path, trainer: Trainer) -> tuple[str, ...]:
    """Return notes on a run that is resumed with another number of epochs; none if it is not."""
    before = open_run(directory)
    old, new = before.config.train, config.train
    if old.epochs == new.epochs:
        return ()
    step, each = checkpoint.newest_step(directory) or 0, trainer.steps_per_epoch
    was = optimizers.make_schedule(old, each, each * old.epochs)(max(0, step - 1))
    will = optimizers.make_schedule(new, each, each * new.epochs)(step)
    return (
        header.more_epochs(old, new, before.epochs_done(), float(was), float(will)),
        f"the old configuration, result and export are kept in {directory}/epochs{old.epochs}",
    )


def write_result(run: Run, dataset: Dataset, petaflop: float | None = None) -> None:
    """Measure the final weights of a run in float32, as they will be exported, and record it.

    Args:
        run: that was trained.
        dataset: with the held-out images.
        petaflop: the arithmetic of its training, if it is known.
    """
    records = run.records()
    if not records:
        raise InputError(
            f"expected the epochs' records in {run.directory}/metrics.jsonl, found none"
        )
    task, model = tasks.of(run.output), run.model()
    found = _measure(run, model, task, dataset)
    primary = {name: metrics.scores()[task.primary] for name, metrics in found.items()}
    recorded = run.environment
    seconds, wall = (sum(r[key] for r in records) for key in ("seconds", "wall_seconds"))
    trained_on = records[-1]["step"] * run.config.train.batch_size
    headline = {
        f"test_{task.primary}": primary["deployed"],
        f"ema_{task.primary}": primary["deployed"] if "raw" in primary else None,
        f"raw_{task.primary}": primary.get("raw"),
        f"flip_{task.primary}": primary.get("flip"),
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
            test=found["deployed"].result(),
            wall_seconds=round(wall, 1),
            images_per_second=round(trained_on / seconds, 1),
            petaflop=petaflop,
            command=recorded.command,
            commit=recorded.commit,
            artifacts=_exported(run),
            config=run.config.model_dump(),
            environment=recorded,
        )
    )


def _measure(run: Run, model: keras.Model, task: Task, dataset: Dataset) -> dict[str, Metrics]:
    """Measure the weights that are deployed, and others for comparison, in one pass.

    Returns:
        The metrics of the weights that are ``deployed``; ``raw``, of those that were trained, where
        their average is deployed; ``flip``, of the average over an image and its horizontal flip,
        where training flips images: no exported file does that.
    """
    deployed = evaluation.network_predict(model, run.spec, task)
    raw = None
    if run.config.train.ema_decay:
        raw = evaluation.network_predict(run.model(averaged=False), run.spec, task)

    def predict(images: Any) -> dict[str, Any]:
        found = {"raw": raw(images)} if raw else {}
        if not (run.config.data.flip and task.averages_flips):
            return found | {"deployed": deployed(images)}
        plain, averaged = evaluation.with_mirrored(deployed, task, images)
        return found | {"deployed": plain, "flip": averaged}

    return evaluation.measure_all(predict, evaluation.batches_of(dataset.held_out), task)


def _exported(run: Run) -> list[ArtifactRecord]:
    """Return the artifacts of a finished run that was resumed; damaged results have none."""
    try:
        result = run.result
    except InputError:
        return []
    return result.artifacts if result else []
