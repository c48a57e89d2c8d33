"""Check the options of an architecture; loads no TensorFlow."""

from tfresnet.config.sections import ModelConfig
from tfresnet.runtime.errors import InputError

COMMON = frozenset({"arch", "stem", "num_classes", "width", "dropout", "head"})
# Further options, by family: the architectures whose layers have the same names.
RESNET = frozenset(ModelConfig.model_fields) - COMMON
FAMILIES = {
    "resnet": RESNET,
    "resnet_v2": RESNET,
    "pyramidnet": frozenset({"padding", "attention", "stochastic_depth", "zero_gamma"}),
    "densenet": frozenset({"padding"}),
    "efficientnet": frozenset({"padding", "stochastic_depth", "zero_gamma"}),
}


def check(config: ModelConfig, family: str) -> None:
    """Raise an ``InputError`` for an option that an architecture of ``family`` does not have."""
    known = FAMILIES[family] | COMMON
    for key, value in config.model_dump(exclude_defaults=True).items():
        if key not in known:
            takes = ", ".join(sorted(known - {"arch"}))
            default = ModelConfig.model_fields[key].default
            raise InputError(
                f"model.{key}: expected {default}, as {config.arch} has no such option (it takes "
                f"{takes}), got {value}"
            )
