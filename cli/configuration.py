"""The options by which a command names a run's configuration; train and preview share them."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import click

from tfresnet.cli.common import ExpandedPath, set_option

if TYPE_CHECKING:
    from tfresnet.config.sections import RunConfig


class Flag(NamedTuple):
    """An option with a key of its own in the configuration."""

    key: str
    help: str
    metavar: str = "TEXT"


OPTIONS = {
    "arch": Flag("model.arch", "Architecture; see tfresnet models."),
    "dataset": Flag("data.dataset", "digits, a TFDS name (cifar10), or a folder of images."),
    "data_dir": Flag("data.data_dir", "Where TFDS keeps its data (default: $TFDS_DATA_DIR)."),
    "epochs": Flag("train.epochs", "Times that all images are seen.", "N"),
    "batch_size": Flag("train.batch_size", "Over all replicas together.", "N"),
    "lr": Flag("train.lr", "Peak learning rate.", "RATE"),
    "scheduler": Flag("train.scheduler", "cosine, step, linear, one_cycle, ...", "NAME"),
    "mixup_alpha": Flag("data.mixup_alpha", "0 is off.", "A"),
    "cutmix_alpha": Flag("data.cutmix_alpha", "0 is off.", "A"),
    "randaugment": Flag("data.randaugment", "Operations on each image; 0 is off.", "N"),
    "label_smoothing": Flag("train.label_smoothing", "0 is off.", "E"),
    "grad_clip": Flag("train.grad_clip", "0 is off.", "NORM"),
    "optimizer": Flag("train.optimizer", "sgd, adamw or lion.", "NAME"),
    "ema_decay": Flag("train.ema_decay", "Moving average of the weights; 0 is off.", "D"),
    "teacher": Flag("train.teacher", "A run whose answers are to be matched.", "RUN"),
    "precision": Flag("train.precision", "float32, mixed_bfloat16, mixed_float16 or auto.", "NAME"),
    "strategy": Flag("train.strategy", "auto, one, mirrored or multiworker.", "NAME"),
    "devices": Flag("train.devices", "Replicas of mirrored (default: all GPUs).", "N"),
    "on_nan": Flag("train.on_nan", "When the loss is lost: stop (default) or rollback.", "DO"),
    "seed": Flag("train.seed", "The same one gives the same weights.", "N"),
    "init_from": Flag("train.init_from", "Start from its weights.", "RUN|WEIGHTS"),
    "freeze_until": Flag("train.freeze_until", "Do not train stem, stage1, ... up to it.", "STAGE"),
}
FLAGS = {name: flag.key for name, flag in OPTIONS.items()}


def configuration_options(function: Callable) -> Callable:
    """Add PRESET, a flag for each common key, and --set.

    The function gets the argument as ``preset``, and as ``settings`` what was given besides, as
    ``section.key=value``.
    """

    @functools.wraps(function)
    def wrapper(*args: Any, overrides: tuple[str, ...], **given: Any) -> Any:
        flags = {name: given.pop(name) for name in FLAGS}
        before, skip_broken = given.pop("pre_activation"), given.pop("skip_broken")
        settings = [f"{FLAGS[name]}={value}" for name, value in flags.items() if value is not None]
        if skip_broken:
            settings.append("data.skip_broken=true")
        if before is not None:
            settings.append(f"model.pre_activation={before}")
        return function(*args, settings=[*settings, *overrides], **given)

    decorated = set_option(wrapper)
    decorated = click.option(
        "--pre-activation/--post-activation", default=None, help="Norm and ReLU before or after."
    )(decorated)
    decorated = click.option(
        "--skip-broken", is_flag=True, help="Leave out a folder's pictures that can't be read."
    )(decorated)
    for name, flag in reversed(OPTIONS.items()):
        option = f"--{name.replace('_', '-')}"
        decorated = click.option(option, name, metavar=flag.metavar, help=flag.help)(decorated)
    return click.argument(
        "preset", required=False, type=ExpandedPath(), metavar="[PRESET, FILE.yaml or FOLDER]"
    )(decorated)


def configuration(preset: str | None, settings: list[str]) -> "RunConfig":
    """Return the configuration that the options name; without any, the quickstart preset.

    For a folder of pictures, named as the argument or by ``data.dataset``, it is chosen by what is
    in it; the description says how.

    Raises:
        InputError: no such preset, file or folder, an unknown key, or a bad value.
    """
    from tfresnet.config import loading
    from tfresnet.data import folder_recipe
    from tfresnet.system.files import expanded

    datasets = [s.partition("=")[2] for s in settings if s.startswith("data.dataset=")]
    dataset = datasets[-1] if datasets else None
    if preset and folder_recipe.is_folder(preset):
        # As a whole path, so that a folder digits is not taken for the embedded digits.
        dataset = dataset or str(Path(preset).absolute())
        preset = None
    if not preset and dataset and dataset != "digits" and folder_recipe.is_folder(dataset):
        return folder_recipe.for_folder(expanded(dataset), settings)
    if not preset and dataset:
        # Quickstart's recipe is for digits: other data start from the defaults.
        return loading.from_overrides(settings, name="custom")
    return loading.load(preset or "quickstart", settings)
