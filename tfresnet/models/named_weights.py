"""The weights that are fetched by name, with what each is for. Loads no TensorFlow."""

from tfresnet.config.loading import is_hub_name
from tfresnet.config.sections import ModelConfig
from tfresnet.models import hub_weights, keras_weights
from tfresnet.models.options import STRUCTURE
from tfresnet.models.weights_row import NamedWeights
from tfresnet.runtime.errors import InputError, unknown

# The first row that fits a configuration is its default.
TABLE: dict[str, NamedWeights] = {row.name: row for row in (*hub_weights.ROWS, *keras_weights.ROWS)}


def named(start: str | None) -> NamedWeights | None:
    """Return the row of ``train.init_from``; None if it is a path that exists, or empty.

    Raises:
        InputError: a name of weights on the hub that is not in the table; with the closest one.
    """
    if not start or not is_hub_name(start):
        return None
    if start not in TABLE:
        raise unknown("weights", start, TABLE, "a name that tfresnet models lists, a run or a file")
    return TABLE[start]


def of_architecture(arch: str) -> list[NamedWeights]:
    """Return all rows of an architecture, the preferred one first."""
    return [row for row in TABLE.values() if row.arch == arch]


def default_for(config: ModelConfig) -> NamedWeights | None:
    """Return the preferred weights for a network; None if there are none.

    Keys that the configuration leaves at their defaults, and those that do not change what weights
    mean, such as dropout, do not matter.
    """
    return next((row for row in of_architecture(config.arch) if row.fits(config)), None)


def required_for(config: ModelConfig) -> NamedWeights:
    """Return the preferred weights for a network.

    Raises:
        InputError: there are none; names the architectures that have some, or what is in the way.
    """
    if found := default_for(config):
        return found
    rows = of_architecture(config.arch)
    if not rows:
        known = ", ".join(dict.fromkeys(row.arch for row in TABLE.values()))
        raise InputError(
            f"train.pretrained: expected an architecture that has weights on the hub ({known}), "
            f"got {config.arch}"
        )
    keys = sorted(config.model_fields_set & set(STRUCTURE[1:]))
    got = ", ".join(f"model.{key}={getattr(config, key)}" for key in keys)
    raise InputError(
        f"train.pretrained: expected the structure of {rows[0].name} or another that "
        f"tfresnet models lists for {config.arch}, got {got}; leave those out"
    )
