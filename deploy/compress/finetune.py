"""Fine-tune compressed networks with the one training loop; an interrupted one is resumed."""

import hashlib
import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import Subset
from tfresnet.deploy import calibration
from tfresnet.keras2 import keras
from tfresnet.runs import teacher
from tfresnet.runs.run_directory import Run, weights_sha256
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_json, write_text
from tfresnet.training import convolution, progress
from tfresnet.training.loop import Trainer

LR_FACTOR = 0.01  # of the run's peak rate: the weights need to move by fractions of a step only
PROVENANCE = "fine_tuning.json"


@dataclass(frozen=True)
class Stage:
    """One fine-tuning.

    Attributes:
        name: stands before each epoch that is shown: ``pruning``.
        epochs: how long to train.
        method: what is done to the network, as JSON types: a folder with an earlier fine-tuning by
            another method is emptied.
        lr_factor: peak learning rate as a factor of the run's peak learning rate.
        one_device: whether the network can't be trained on several devices.
    """

    name: str
    epochs: int
    method: Mapping[str, Any]
    lr_factor: float = LR_FACTOR
    one_device: bool = True


@dataclass(frozen=True)
class FineTuner:
    """Trains networks on a run's data with the run's recipe.

    Attributes:
        run: the run that the network comes from.
        dataset: its data.
        directory: folder for the log, the curve and the checkpoints.
    """

    run: Run
    dataset: Dataset
    directory: Path

    def __call__(self, build: Callable[[], keras.Model], stage: Stage) -> keras.Model:
        """Return the model that ``build`` makes, after training.

        The learning rate falls as a cosine; training is in float32, without a moving average. If
        the run had a teacher, it teaches here too; if that is no longer there, a warning says so
        and the labels alone are used. A training that began before in this directory, with the
        same weights and method, is resumed; if it is finished, its result is loaded.
        """
        config, load_teacher, warnings = self._with_teacher(stage)

        def build_in_scope() -> keras.Model:
            model = build()
            # Without defaults: a key that a later version adds begins no training anew.
            settings = config.model_dump(exclude_defaults=True)
            provenance = {"method": dict(stage.method), "config": settings, **_start(model)}
            if isinstance(self.dataset.train, Subset):
                indices = np.asarray(self.dataset.train.indices, np.int64).tobytes()
                provenance["images"] = hashlib.sha256(indices).hexdigest()
            _empty_unless(self.directory, provenance)
            return model

        # tfmot's wrappers assign to variables in their calls, which mirrored variables do not
        # allow; those of quantization not in a loop over the parts of a batch.
        one_device = stage.one_device or config.train.accumulate > 1
        strategy = tf.distribute.get_strategy() if one_device else None
        trainer = Trainer(
            config, self.dataset, self.directory, build_in_scope, load_teacher, strategy
        )
        trainer.warnings += warnings
        trainer.stage = stage.name
        trainer.run()
        return convolution.restore(trainer.model)

    def config(self, stage: Stage) -> RunConfig:
        """Return the configuration that a stage trains with."""
        return self._with_teacher(stage)[0]

    def _with_teacher(
        self, stage: Stage
    ) -> tuple[RunConfig, Callable[[], keras.Model] | None, list[str]]:
        return _with_teacher(_recipe(self.run.config, stage), self.run)

    def steps(self, epochs: int) -> int:
        """Return the number of training steps in some epochs."""
        return epochs * pipeline.steps_per_epoch(
            self.dataset.train, self.run.config.train.batch_size
        )

    def batches(self, count: int) -> Iterator[tuple[tf.Tensor, Any]]:
        """Yield batches as training has them, of ``count`` images or a little more."""
        config, output = self.run.config, self.run.output
        size = config.train.batch_size
        return iter(
            pipeline.train_batches(
                self.dataset.train,
                self.run.spec,
                tasks.of(output).targets,
                config.data,
                size,
                config.train.seed,
                first_step=0,
                last_step=-(-min(count, len(self.dataset.train)) // size),
                task=output.task,
            )
        )

    def images(self, count: int) -> np.ndarray:
        """Return random training images, normalized, float32 [n, H, W, C]; n is at most count."""
        spec, seed = self.run.spec, self.run.config.train.seed
        task = tasks.of(self.run.output)
        images = calibration.draw(self.dataset.train, count, seed, task).images
        return ((images - spec.mean) / spec.std).astype(np.float32)


def _recipe(config: RunConfig, stage: Stage) -> RunConfig:
    """Return a run's configuration, changed for a fine-tuning."""
    changes = {
        "epochs": stage.epochs,
        "lr": config.train.lr * stage.lr_factor,
        "warmup_epochs": 0.0,
        "scheduler": "cosine",
        "precision": "float32",
        "ema_decay": 0.0,
        "keep": "last",
        "patience": 0,
        "backbone_lr_factor": 1.0,
        "bias_lr_factor": 1.0,
        "sync_batch_norm": False,
        "strategy": "auto",  # the run's workers may be far away
        "xla": False,
    }
    training = config.train.model_copy(update=changes)
    full_size = config.data.model_copy(update={"progressive": {}})
    return config.model_copy(update={"train": training, "data": full_size})


def _with_teacher(
    config: RunConfig, run: Run
) -> tuple[RunConfig, Callable[[], keras.Model] | None, list[str]]:
    """Return the configuration, a function that loads the teacher (None: no teacher), warnings.

    A teacher that can't be loaded is taken out of the configuration.
    """
    try:
        return config, teacher.loader(config, run.spec, run.output), []
    except InputError as error:
        training = config.train.model_copy(update={"teacher": None})
        warning = f"fine-tuning without the teacher that this run had, from the labels: {error}"
        return config.model_copy(update={"train": training}), None, [warning]


def copied(model: keras.Model) -> keras.Model:
    """Return a functional model with variables of its own, of the scope that is active, if any."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def _start(model: keras.Model) -> dict[str, str]:
    names = hashlib.sha256("".join(v.name for v in model.variables).encode()).hexdigest()
    return {"weights": weights_sha256(model), "variables": names}


def _empty_unless(directory: Path, provenance: Mapping[str, Any]) -> None:
    """Empty a folder unless it holds a fine-tuning that began with this provenance.

    A run, which somebody may have trained further, is not removed but renamed.
    """
    file = directory / PROVENANCE
    provenance = json.loads(json.dumps(provenance))
    if not file.exists() or read_json(file) != provenance:
        if (directory / "config.yaml").exists():
            _set_aside(directory)
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write_text(file, json.dumps(provenance))


def _set_aside(directory: Path) -> None:
    """Rename a run directory to ``NAME_1``, or the first such name that is free."""
    number = 1
    while (other := directory.with_name(f"{directory.name}_{number}")).exists():
        number += 1
    directory.rename(other)
    progress.tell([f"the run that was in {directory} is now in {other}"])
