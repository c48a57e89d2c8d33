"""Choose the configuration and the directory of a training that a user asks for. No TensorFlow."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.data import folder_recipe
from tfresnet.runs import start
from tfresnet.system.files import expanded


@dataclass(frozen=True)
class TrainingRequest:
    """A training that was asked for.

    Attributes:
        config: the configuration.
        directory: the run directory.
        resume: whether a run that is there goes on.
    """

    config: RunConfig
    directory: Path
    resume: bool

    @property
    def multiworker(self) -> bool:
        """Whether this process is one of several workers."""
        return self.config.train.strategy == "multiworker"


def training_request(
    source: str | None, settings: Sequence[str], directory: Path | None, resume: bool
) -> TrainingRequest:
    """Return the training that a command line or a call in Python asks for.

    Args:
        source: a preset, a YAML file, or a folder of pictures; see :func:`configuration`.
        settings: ``section.key=value``.
        directory: the run directory; by default ``runs/`` and the configuration's or folder's name.
        resume: go on with the run in the directory. Without a preset or file its configuration is
            kept, also that which was once chosen for a folder.

    Raises:
        InputError: no such preset, file or folder, an unknown key, or a bad value.
    """
    folder = expanded(source) if source and folder_recipe.is_folder(source) else None
    if folder:
        directory = directory or folder_recipe.run_directory(folder)
    if resume and (folder or not source) and directory and (found := config_file(directory)):
        settings = [f"data.dataset={folder}", *settings] if folder else settings
        source = str(found)
    config = configuration(source, settings)
    directory = directory or Path("runs") / config.name
    if not (resume and config_file(directory)):  # a run that goes on has its weights
        config = start.settled(_with_weights(config, source, settings))
    return TrainingRequest(config, directory, resume)


def _with_weights(config: RunConfig, source: str | None, settings: Sequence[str]) -> RunConfig:
    """Return a folder's configuration for weights by name, if it asks for some.

    What was chosen for its network, but not by the user, may be given up for them.
    """
    if config.name not in folder_recipe.PRESETS or config.train.init_from:
        return config
    given = {setting.partition("=")[0] for setting in settings}
    kept = {key for key in config.model.model_fields_set if f"model.{key}" in given}
    model = ModelConfig.model_validate(config.model.model_dump(include=kept | {"arch"}))
    name = start.chosen(config, model)
    return configuration(source, [*settings, f"train.init_from={name}"]) if name else config


def configuration(source: str | None, settings: Sequence[str]) -> RunConfig:
    """Return the configuration for a preset, a YAML file or a folder; by default for quickstart.

    For a folder of pictures, as the source or as ``data.dataset``, settings are chosen by its
    content; the configuration's description names them.

    Raises:
        InputError: no such preset, file or folder, an unknown key, or a bad value.
    """
    datasets = [s.partition("=")[2] for s in settings if s.startswith("data.dataset=")]
    dataset = datasets[-1] if datasets else None
    if source and folder_recipe.is_folder(source):
        # As an absolute path: a folder called digits is not the embedded dataset.
        dataset = dataset or str(expanded(source).absolute())
        source = None
    if not source and dataset and dataset != "digits" and folder_recipe.is_folder(dataset):
        size = start.image_size(settings)
        return folder_recipe.for_folder(expanded(dataset), settings, size)
    if not source and dataset:
        # The settings of quickstart are for digits: other data start from the defaults.
        return loading.from_overrides(settings, name="custom")
    return loading.load(source or "quickstart", settings)


def config_file(directory: Path) -> Path | None:
    """Return the ``config.yaml`` of a run; on other machines than the first, that of its worker.

    None if there is no run.
    """
    places = [directory / "config.yaml", *sorted(directory.glob("worker*/config.yaml"))]
    return next((place for place in places if place.exists()), None)


def worker_directory(directory: Path, number: int) -> Path:
    """Return the run directory of a worker: the first one's is ``directory`` itself."""
    return directory / f"worker{number}" if number else directory
