"""Say what a training would take, from a few timed steps."""

import tempfile
from dataclasses import dataclass
from pathlib import Path

from tfresnet.config.sections import RunConfig
from tfresnet.data import sources
from tfresnet.models import functional
from tfresnet.runs import preflight
from tfresnet.runs.preparation import prepare
from tfresnet.training import estimate, progress, work


@dataclass(frozen=True)
class DryRun:
    """What a training would take on this machine; the names are those of the JSON keys.

    Attributes:
        arch: the architecture.
        parameters: trainable ones.
        macs: multiply-adds of one image.
        train_images: images to train on.
        held_out_images: images to evaluate on.
        epochs: as configured.
        steps: of the whole training.
        images_per_second: of training, at the images' final size.
        input_images_per_second: of decoding and augmentation alone.
        compute_images_per_second: of the steps alone, on a batch that is there already.
        bottleneck: ``input`` or ``compute``, the slower one.
        estimated_seconds: of all steps, without evaluations.
        petaflop: the arithmetic of all steps, the same on every machine; see ``training.work``.
        peak_memory_mb: of this process; None where the system does not say.
        peak_gpu_memory_mb: of the first GPU; None without one.
    """

    arch: str
    parameters: int
    macs: int
    train_images: int
    held_out_images: int
    epochs: int
    steps: int
    images_per_second: float
    input_images_per_second: float
    compute_images_per_second: float
    bottleneck: str
    estimated_seconds: float
    petaflop: float
    peak_memory_mb: int | None
    peak_gpu_memory_mb: int | None


def dry_run(config: RunConfig) -> DryRun:
    """Time a few steps of a training; nothing is kept.

    Raises:
        InputError: as :func:`.train_run.train` does; several workers, which have no common clock;
            data that have yet to be downloaded.
    """
    preflight.training(config, dry_run=True)
    sources.check_present(config.data)
    with tempfile.TemporaryDirectory() as folder:
        config, dataset, trainer, _ = prepare(
            config, Path(folder) / "run", resume=False, download=False
        )
        progress.tell(dataset.notes)
        return DryRun(
            arch=config.model.arch,
            parameters=functional.parameters(trainer.model),
            macs=functional.macs(trainer.model, dataset.spec.shape),
            train_images=len(dataset.train),
            held_out_images=len(dataset.held_out),
            epochs=config.train.epochs,
            steps=trainer.total_steps,
            petaflop=work.petaflop(
                config, dataset.spec, trainer.steps_per_epoch, trainer.model, trainer.teacher
            ),
            **estimate.rates(trainer),
        )
