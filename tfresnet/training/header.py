"""The lines that ``train`` prints before training: some at once, some when the data are loaded.

Loads no TensorFlow.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from tfresnet.config import loading
from tfresnet.config.sections import RunConfig, TrainConfig
from tfresnet.system import environment, units

if TYPE_CHECKING:
    from tfresnet.training.loop import Trainer


def opening(config: RunConfig) -> str:
    """Return the lines that are printed while TensorFlow starts."""
    training = config.train
    start = f" from {Path(training.init_from).name}" if training.init_from else ""
    return (
        f"{config.name}: {config.model.arch}{start} on {loading.dataset_name(config.data.dataset)}"
        f", {training.epochs} epochs in batches of {training.batch_size}\nStarting TensorFlow"
    )


def facts(
    config: RunConfig,
    trainer: "Trainer",
    parameters: int,
    petaflop: float,
    directory: Path,
    weights: str | None = None,
) -> list[str]:
    """Return lines about data, network, recipe and devices.

    Args:
        config: the whole configuration.
        trainer: that will train.
        parameters: number of trainable parameters.
        petaflop: the arithmetic of the whole training.
        directory: of the run.
        weights: that it starts from, or why there are none; None without a word about them.
    """
    data, training = trainer.dataset, config.train
    height, width, channels = data.spec.shape
    classes = trainer.task.headings.classes.format(len(data.output.labels))
    rows = {
        "data": f"{loading.dataset_name(config.data.dataset)}, {classes}: "
        f"{len(data.train):,} images to train on, {len(data.held_out):,} held out"
        + (f", {len(data.validation):,} to stop by" if data.validation is not None else ""),
        "images": f"{height} x {width} pixels, {'grey' if channels == 1 else 'color'}",
        "network": f"{config.model.arch}, {parameters:,} parameters",
        **({"weights": weights} if weights else {}),
        "training": f"{training.epochs} epochs of {trainer.steps_per_epoch:,} steps, "
        f"batches of {training.batch_size}, {units.petaflop(petaflop)} PFLOP",
        "device": f"{_devices(trainer)}, {training.precision}",
        "run": str(directory),
    }
    return [f"{name:<9} {value}" for name, value in rows.items()]


def more_epochs(
    old: TrainConfig, new: TrainConfig, done: int, old_rate: float, new_rate: float
) -> str:
    """Return a line about the effect of another number of epochs on the learning rate.

    Args:
        old: the training section until now.
        new: the same with another number of epochs.
        done: epochs that are trained.
        old_rate: the learning rate of the last step.
        new_rate: the learning rate of the next step.
    """
    start = f"{new.epochs} epochs instead of {old.epochs}, of which {done} are done: "
    if abs(new_rate - old_rate) <= 1e-3 * old_rate:
        return f"{start}the learning rate stays at {new_rate:.3g}"
    return (
        f"{start}the learning rate, which had come to {old_rate:.3g}, goes on at {new_rate:.3g}, "
        f"where a {new.scheduler} schedule of {new.epochs} epochs has it"
    )


def _devices(trainer: "Trainer") -> str:
    """Return the number of devices of all workers, and the name of this machine's."""
    count = trainer.strategy.num_replicas_in_sync
    gpus = environment.gpus()
    name = gpus[0] if gpus else environment.processor().partition(" (family")[0] or "CPU"
    times = f"{count} x " if count > 1 else ""
    return f"{times}{name}" if gpus else f"{times}CPU, {name}"
