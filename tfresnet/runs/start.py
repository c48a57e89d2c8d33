"""Choose the weights by name that a training starts from, if it asks for some. No TensorFlow.

They are on the hub, or ship with tfresnet.
"""

from collections.abc import Sequence
from pathlib import Path

from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.models import named_weights
from tfresnet.models.options import same_structure
from tfresnet.runs import hub, shipped
from tfresnet.runs.run_directory import open_run

# Of an architecture for small images, which has none on the hub, the network that ships.
SHIPPED = {"resnet20": "cifar10-resnet20"}


def chosen(config: RunConfig, model: ModelConfig | None = None) -> str | None:
    """Return the name of the weights that a configuration asks for; None if it starts otherwise.

    Args:
        config: of the training.
        model: the network, where the configuration has settings that may be given up for weights.

    Raises:
        InputError: ``train.pretrained`` is true, and there are no such weights.
    """
    wanted, network = config.train.pretrained, model or config.model
    if config.train.init_from or not wanted:
        row = named_weights.named(config.train.init_from)
        return row.name if row else None
    if config.data.channels == 3 and (name := _shipped_for(network)):
        return name
    if wanted == "auto":
        row = named_weights.default_for(network)
        return row.name if row and hub.available(row) else None
    return named_weights.required_for(network).name


def _shipped_for(model: ModelConfig) -> str | None:
    """Return the name of the shipped network that has a structure; None if there is none."""
    name = SHIPPED.get(model.arch)
    if name is None:
        return None
    return name if same_structure(model, open_run(Path(name)).config.model) else None


def image_size(settings: Sequence[str]) -> int | None:
    """Return the size of the images that the weights to start from were trained for, in pixels.

    None without weights, or if they are a file, which does not say so.

    Args:
        settings: ``section.key=value``.
    """
    key = "train.init_from="
    given = next((s.removeprefix(key) for s in reversed(settings) if s.startswith(key)), None)
    if row := named_weights.named(given):
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
    name = chosen(config)
    if name is None:
        return config
    model, row = config.model, named_weights.named(name)
    if row and "arch" not in model.model_fields_set:
        model = model.model_copy(update={"arch": row.arch})
    training = config.train.model_copy(update={"init_from": name})
    return config.model_copy(update={"model": model, "train": training})


def recorded(config: RunConfig) -> RunConfig:
    """Return a settled configuration as a run records it: with what ``auto`` has come to."""
    if config.train.pretrained != "auto":
        return config
    found = config.train.init_from is not None
    training = config.train.model_copy(update={"pretrained": found})
    return config.model_copy(update={"train": training})


def described(config: RunConfig) -> str | None:
    """Return the line of a training's header about weights; None if it asks for none.

    Args:
        config: settled; ``train.pretrained`` is still ``auto`` if it found none.
    """
    training = config.train
    if row := named_weights.named(training.init_from):
        return f"{row.name}, {row.top1:.1f} % of ImageNet, {row.license}"
    if training.init_from:
        ships = ", which ships with tfresnet" if shipped.is_name(training.init_from) else ""
        return f"{training.init_from}{ships}"
    if training.pretrained != "auto":
        return None
    rows = named_weights.of_architecture(config.model.arch)
    if not rows:
        return f"none, as {config.model.arch} has none on the hub; --pretrained explains"
    if not any(map(hub.cached, rows)) and not hub.available(rows[0]):
        return "none, the hub can't be reached; --pretrained explains"
    return "none, as the network has other settings; --pretrained explains"
