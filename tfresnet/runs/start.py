"""Choose the weights on the hub that a training starts from, if it asks for some. No TensorFlow."""

from collections.abc import Sequence
from pathlib import Path

from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.models import hub_weights
from tfresnet.models.hub_weights import HubWeights
from tfresnet.runs import hub, shipped
from tfresnet.runs.run_directory import open_run


def chosen(config: RunConfig, model: ModelConfig | None = None) -> HubWeights | None:
    """Return the weights on the hub that a configuration asks for; None if it starts otherwise.

    Args:
        config: of the training.
        model: the network, where the configuration has settings that may be given up for weights.

    Raises:
        InputError: ``train.pretrained`` is true, and there are no such weights.
    """
    wanted = config.train.pretrained
    if config.train.init_from or not wanted:
        return hub_weights.named(config.train.init_from)
    if wanted == "auto":
        row = hub_weights.default_for(model or config.model)
        return row if row and hub.available(row) else None
    return hub_weights.required_for(model or config.model)


def image_size(settings: Sequence[str]) -> int | None:
    """Return the size of the images that the weights to start from were trained for, in pixels.

    None without weights, or if they are a file, which does not say so.

    Args:
        settings: ``section.key=value``.
    """
    key = "train.init_from="
    given = next((s.removeprefix(key) for s in reversed(settings) if s.startswith(key)), None)
    if row := hub_weights.named(given):
        return row.size
    if not given or not shipped.located(given).is_dir():
        return None
    return min(open_run(Path(given)).spec.shape[:2])


def settled(config: RunConfig) -> RunConfig:
    """Return the configuration with the weights that ``train.pretrained`` means as ``init_from``.

    Where ``auto`` finds none it stays. An architecture that is left open is that of the weights.

    Raises:
        InputError: see :func:`chosen`.
    """
    row = chosen(config)
    if row is None:
        return config
    model = config.model
    if "arch" not in model.model_fields_set:
        model = model.model_copy(update={"arch": row.arch})
    training = config.train.model_copy(update={"init_from": row.name})
    return config.model_copy(update={"model": model, "train": training})


def recorded(config: RunConfig) -> RunConfig:
    """Return a settled configuration as a run records it: with what ``auto`` has come to."""
    if config.train.pretrained != "auto":
        return config
    found = hub_weights.named(config.train.init_from) is not None
    training = config.train.model_copy(update={"pretrained": found})
    return config.model_copy(update={"train": training})


def described(config: RunConfig) -> str | None:
    """Return the line of a training's header about weights; None if it asks for none.

    Args:
        config: settled; ``train.pretrained`` is still ``auto`` if it found none.
    """
    training = config.train
    if row := hub_weights.named(training.init_from):
        return f"{row.name}, {row.top1:.1f} % of ImageNet, {row.license}"
    if training.init_from:
        return training.init_from
    if training.pretrained != "auto":
        return None
    rows = hub_weights.of_architecture(config.model.arch)
    if not rows:
        return f"none, as {config.model.arch} has none on the hub; --pretrained explains"
    if not any(map(hub.available, rows)):
        return "none, the hub can't be reached; --pretrained explains"
    return "none, as the network has other settings; --pretrained explains"
