"""Train a network into a run directory."""

from pathlib import Path

from tfresnet.config.sections import RunConfig
from tfresnet.data.sources import Dataset
from tfresnet.models import functional
from tfresnet.runs import samples
from tfresnet.runs.preparation import prepare
from tfresnet.runs.result import ArtifactRecord, RunResult
from tfresnet.runs.run_directory import Run, create, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import lock
from tfresnet.tasks import metrics
from tfresnet.tasks import task as tasks
from tfresnet.training import (
    checkpoint,
    header,
    lost_workers,
    optimizers,
    progress,
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
        number = workers.cluster().number
        directory = directory / f"worker{number}" if number else directory
        with lost_workers.explained(directory):
            return _train(config, directory, resume)
    return _train(config, directory, resume)


def _train(config: RunConfig, directory: Path, resume: bool) -> Run:
    config, dataset, trainer = prepare(config, directory, resume)
    # The directory is created only now, when everything is checked.
    with lock(directory, "start another run with --name NAME"):
        changed = _other_epochs(config, directory, trainer) if resume else ()
        run = create(directory, config, dataset.spec, dataset.output)
        samples.write(dataset, directory / "samples")
        progress.show(
            header.facts(config, trainer, functional.parameters(trainer.model), directory)
        )
        progress.tell(dataset.notes + changed)
        trainer.run()
        _write_result(run, dataset)
    return run


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
