"""Load the data and build the trainer of a run; nothing is written."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.sections import RunConfig
from tfresnet.data import sources, validation
from tfresnet.data.sources import Dataset
from tfresnet.keras2 import keras
from tfresnet.models import options, zoo
from tfresnet.runs import preflight, shipped, start, teacher, transfer
from tfresnet.runs.run_directory import open_run
from tfresnet.runs.transfer import InitialWeights
from tfresnet.runtime.spec import ACTIVATIONS
from tfresnet.training import distribute, precision, whitening
from tfresnet.training.loop import Trainer


class Preparation(NamedTuple):
    """What a training needs.

    Attributes:
        config: the configuration with all that the machine, the data and other weights decide.
        dataset: the run's data.
        trainer: trains the network.
        weights: a line about the weights that it starts from; None if none were asked for.
    """

    config: RunConfig
    dataset: Dataset
    trainer: Trainer
    weights: str | None


def prepare(config: RunConfig, directory: Path, resume: bool, download: bool = True) -> Preparation:
    """Check a configuration, load its data, and build its network and trainer.

    Args:
        config: of the training.
        directory: of the run.
        resume: whether the run in the directory goes on.
        download: whether weights may be downloaded; if not, and they are not in the cache, the
            network has random ones.

    Raises:
        InputError: anything that the directory, the data, the model or the devices object to.
    """
    config = start.settled(_resumed(config, directory) if resume else config)
    preflight.training(config, resume, dry_run=not download)
    strategy = distribute.make_strategy(config.train)  # before TensorFlow is used: see there
    config = _with_precision(loading.absolute(config), directory, resume)
    described = start.described(config)
    config = start.recorded(config)
    weights = _initial_weights(config, directory, resume, download)
    if weights:
        config = transfer.with_structure(config, weights)
    preflight.directory(config, directory, resume, settled=True)
    dataset = _dataset(config, directory, weights, resume)
    output = replace(
        dataset.output,
        task=options.task(config.model, dataset.output.task),
        activation=ACTIVATIONS[config.train.loss],
    )
    dataset, spec = validation.set_aside(replace(dataset, output=output), config.data), dataset.spec

    whitened = None
    if not weights and zoo.stem(config.model, spec.shape) == "whitened":
        whitened = whitening.kernel(dataset)

    def build(precision: str = config.train.precision) -> keras.Model:
        head = tasks.of(output).head
        model = zoo.build(config.model, spec.shape, len(output.labels), precision, head)
        if weights:
            weights.load_into(model, spec, output.labels)
        if whitened is not None:
            whitening.assign(model, whitened)
        if config.train.freeze_until:
            model.freeze_until(config.train.freeze_until)
        if config.train.freeze_norms:
            model.freeze_norms()
        return model

    in_float32 = None if config.train.precision == "float32" else lambda: build("float32")
    load_teacher = teacher.loader(config, spec, output)
    trainer = Trainer(config, dataset, directory, build, load_teacher, strategy, in_float32)
    return Preparation(config, dataset, trainer, described)


def _initial_weights(
    config: RunConfig, directory: Path, resume: bool, download: bool
) -> InitialWeights | None:
    """Return the weights of ``train.init_from``.

    A run that has a checkpoint is resumed without them if they are gone.
    """
    begun = resume and any((directory / "checkpoints").glob("*.index"))
    gone = not shipped.located(config.train.init_from or "").exists()
    return None if begun and gone else transfer.initial_weights(config, download)


def _dataset(
    config: RunConfig, directory: Path, weights: InitialWeights | None, resume: bool
) -> Dataset:
    if resume:
        run = open_run(directory)
        return sources.load_for(run.spec, run.output, config.data)
    size, crop = zoo.architecture(config.model.arch).image_size, None
    if weights:
        size, crop = weights.image_size or size, weights.crop_fraction
    dataset = sources.load(config.data, default_size=size, default_crop=crop)
    sources.check_disjoint(config.data)
    if weights is None:
        return dataset
    return replace(dataset, spec=transfer.with_normalization(dataset.spec, weights))


def _resumed(config: RunConfig, directory: Path) -> RunConfig:
    """Replace ``train.pretrained=auto`` by what it has meant when the run began."""
    training, file = config.train, directory / "config.yaml"
    if training.pretrained != "auto" or training.init_from or not file.exists():
        return config
    before = loading.read(file).train
    changes = {"init_from": before.init_from, "pretrained": before.pretrained}
    return config.model_copy(update={"train": training.model_copy(update=changes)})


def _with_precision(config: RunConfig, directory: Path, resume: bool) -> RunConfig:
    """Replace ``train.precision=auto`` by what it means here, or has meant when the run began."""
    chosen = precision.resolve(config.train.precision)
    if config.train.precision == "auto" and resume and (directory / "config.yaml").exists():
        chosen = loading.read(directory / "config.yaml").train.precision
    training = config.train.model_copy(update={"precision": chosen})
    return config.model_copy(update={"train": training})
