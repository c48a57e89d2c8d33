"""Fine-tuning of compressed networks through the one training loop; it resumes like any run."""

import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import Subset
from tfresnet.runs import teacher
from tfresnet.runs.run_directory import Run, weights_sha256
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_json, write_text
from tfresnet.training.loop import Trainer

LR_FACTOR = 0.01  # of the run's peak rate: the weights need to move by fractions of a step only
PROVENANCE = "fine_tuning.json"


def fine_tune(
    run: Run,
    dataset: Dataset,
    epochs: int,
    directory: Path,
    build: Callable[[], keras.Model],
    method: dict,
    stage: str,
    lr_factor: float = LR_FACTOR,
    one_device: bool = True,
) -> keras.Model:
    """Return what ``build`` makes after ``epochs`` of training with the run's recipe.

    A distilled run's teacher goes on teaching; if it is no longer there, a warning says so and the
    labels alone do.

    The rate is ``lr_factor`` of the run's peak, falling as a cosine, in float32, without a moving
    average. ``directory`` gets the log, the curve and the checkpoints. One that was begun before
    from the same weights, for the same ``method``, is gone on with; a finished one is loaded.
    ``stage`` is a word for it, which stands before each epoch that is shown. It takes
    ``one_device``, or all that the run's machine has unless ``train.accumulate`` is above 1.
    """
    recipe = {
        "epochs": epochs,
        "lr": run.config.train.lr * lr_factor,
        "warmup_epochs": 0.0,
        "scheduler": "cosine",
        "precision": "float32",
        "ema_decay": 0.0,
        "keep": "last",
        "patience": 0,
        "sync_batch_norm": False,
        "strategy": "auto",  # the run's workers may be far away
        "xla": False,
    }
    training = run.config.train.model_copy(update=recipe)
    full_size = run.config.data.model_copy(update={"progressive": {}})
    config = run.config.model_copy(update={"train": training, "data": full_size})
    config, load_teacher, warnings = _with_teacher(config, run)

    def build_in_scope() -> keras.Model:
        model = build()
        provenance = {"method": method, "config": config.model_dump(), **_start(model)}
        if isinstance(dataset.train, Subset):
            indices = np.asarray(dataset.train.indices, np.int64).tobytes()
            provenance["images"] = hashlib.sha256(indices).hexdigest()
        _keep_only_if(directory, provenance)
        return model

    # tfmot's wrappers assign to variables in their calls, which mirrored ones do not allow, those
    # of quantization not in a loop over the parts of a batch.
    one_device = one_device or training.accumulate > 1
    strategy = tf.distribute.get_strategy() if one_device else None
    trainer = Trainer(config, dataset, directory, build_in_scope, load_teacher, strategy)
    trainer.warnings += warnings
    trainer.stage = stage
    trainer.run()
    return trainer.model


def _with_teacher(
    config: RunConfig, run: Run
) -> tuple[RunConfig, Callable[[], keras.Model] | None, list[str]]:
    """Return the configuration that is possible, what loads the teacher, and warnings."""
    try:
        return config, teacher.loader(config, run.spec, run.output), []
    except InputError as error:
        alone = config.train.model_copy(update={"teacher": None})
        warning = f"fine-tuning without the teacher that this run had, from the labels: {error}"
        return config.model_copy(update={"train": alone}), None, [warning]


def copied(model: keras.Model) -> keras.Model:
    """Return a functional model with variables of its own, of the scope that is active, if any."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    return copy


def steps(run: Run, dataset: Dataset, epochs: int) -> int:
    """Return the steps of a fine-tuning."""
    return epochs * pipeline.steps_per_epoch(dataset.train, run.config.train.batch_size)


def _start(model: keras.Model) -> dict[str, str]:
    names = hashlib.sha256("".join(v.name for v in model.variables).encode()).hexdigest()
    return {"weights": weights_sha256(model), "variables": names}


def _keep_only_if(directory: Path, provenance: dict) -> None:
    """Empty a folder unless it holds a fine-tuning that began just so."""
    file = directory / PROVENANCE
    provenance = json.loads(json.dumps(provenance))
    if not file.exists() or read_json(file) != provenance:
        shutil.rmtree(directory, ignore_errors=True)
        directory.mkdir(parents=True)
        write_text(file, json.dumps(provenance))
