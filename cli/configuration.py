"""The options of ``train`` and ``preview`` for the configuration of a run."""

import functools
from collections.abc import Callable
from typing import Any

import click

from tfresnet.cli.common import ExpandedPath, set_option
from tfresnet.cli.section_options import section_option
from tfresnet.config.sections import DataConfig, ModelConfig, Section, TrainConfig

SECTIONS: dict[str, type[Section]] = {
    "model": ModelConfig,
    "data": DataConfig,
    "train": TrainConfig,
}

# The keys that have an option of their own; its name, type, range and help are the field's.
KEYS = (
    "model.arch", "data.dataset", "data.task", "data.data_dir", "train.epochs",
    "train.batch_size", "train.lr",
    "train.scheduler", "data.mixup_alpha", "data.cutmix_alpha", "data.randaugment",
    "train.label_smoothing", "train.grad_clip", "train.optimizer", "train.ema_decay",
    "train.teacher", "train.precision", "train.strategy", "train.devices", "train.on_nan",
    "train.seed", "train.init_from", "train.pretrained", "train.freeze_until", "data.skip_broken",
    "model.pre_activation",
)  # fmt: skip
OPPOSITES = {
    "model.pre_activation": "--post-activation",
    "train.pretrained": "--no-pretrained",
}
FLAGS = {key.partition(".")[2]: key for key in KEYS}


def configuration_options(function: Callable) -> Callable:
    """Add the argument PRESET, an option for each of ``KEYS``, and --set.

    The function gets the argument as ``preset``, and the values of all options as ``settings``, a
    list of ``section.key=value``.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, **given: Any) -> Any:
        return function(*args, settings=settings_of(given), **given)

    decorated: Callable = set_option(wrapper)
    for key in reversed(KEYS):
        section, _, field = key.partition(".")
        option = section_option(SECTIONS[section], field, key, OPPOSITES.get(key, ""))
        decorated = option(decorated)
    return click.argument(
        "preset", required=False, type=ExpandedPath(), metavar="[PRESET, FILE.yaml or FOLDER]"
    )(decorated)


def settings_of(given: dict[str, Any]) -> list[str]:
    """Remove the options of the configuration from ``given``; return ``section.key=value`` each."""
    values = {key: given.pop(name) for name, key in FLAGS.items()}
    settings = [f"{key}={value}" for key, value in values.items() if value is not None]
    return [*settings, *given.pop("overrides")]
