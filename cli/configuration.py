"""The options of ``train`` and ``preview`` for the configuration of a run."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from tfresnet.cli.common import ExpandedPath, set_option
from tfresnet.cli.section_options import section_option
from tfresnet.config.sections import DataConfig, ModelConfig, RunConfig, Section, TrainConfig

SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "train": TrainConfig,
}

# The keys that have an option of their own; its name, type, range and help are the field's.
KEYS = (
    "model.arch", "data.dataset", "data.data_dir", "train.epochs", "train.batch_size", "train.lr",
    "train.scheduler", "data.mixup_alpha", "data.cutmix_alpha", "data.randaugment",
    "train.label_smoothing", "train.grad_clip", "train.optimizer", "train.ema_decay",
    "train.teacher", "train.precision", "train.strategy", "train.devices", "train.on_nan",
    "train.seed", "train.init_from", "train.freeze_until", "data.skip_broken",
    "model.pre_activation",
)  # fmt: skip
OPPOSITES = {"model.pre_activation": "--post-activation"}
FLAGS = {key.partition(".")[2]: key for key in KEYS}


def configuration_options(function: Callable) -> Callable:
    """Add the argument PRESET, an option for each of ``KEYS``, and --set.

    The function gets the argument as ``preset``, and the values of all options as ``settings``, a
    list of ``section.key=value``.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, overrides: tuple[str, ...], **given: Any) -> Any:
        values = {key: given.pop(name) for name, key in FLAGS.items()}
        settings = [f"{key}={value}" for key, value in values.items() if value is not None]
        return function(*args, settings=[*settings, *overrides], **given)

    decorated: Callable = set_option(wrapper)
    for key in reversed(KEYS):
        section, _, field = key.partition(".")
        option = section_option(SECTIONS[section], field, key, OPPOSITES.get(key, ""))
        decorated = option(decorated)
    return click.argument(
        "preset", required=False, type=ExpandedPath(), metavar="[PRESET, FILE.yaml or FOLDER]"
    )(decorated)


def configuration(preset: str | None, settings: list[str]) -> RunConfig:
    """Return the configuration for the argument and the options; by default of quickstart.

    For a folder of pictures, as the argument or as ``data.dataset``, settings are chosen by its
    content; the configuration's description names them.

    Raises:
        InputError: no such preset, file or folder, an unknown key, or a bad value.
    """
    from tfresnet.config import loading
    from tfresnet.data import folder_recipe
    from tfresnet.system.files import expanded

    datasets = [s.partition("=")[2] for s in settings if s.startswith("data.dataset=")]
    dataset = datasets[-1] if datasets else None
    if preset and folder_recipe.is_folder(preset):
        # As an absolute path: a folder called digits is not the embedded dataset.
        dataset = dataset or str(Path(preset).absolute())
        preset = None
    if not preset and dataset and dataset != "digits" and folder_recipe.is_folder(dataset):
        return folder_recipe.for_folder(expanded(dataset), settings)
    if not preset and dataset:
        # The settings of quickstart are for digits: other data start from the defaults.
        return loading.from_overrides(settings, name="custom")
    return loading.load(preset or "quickstart", settings)
