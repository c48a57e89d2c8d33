"""Check the options of an architecture; loads no TensorFlow."""

from tfresnet.config.sections import ModelConfig
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, MULTI_LABEL, POINTS, SEGMENTATION

COMMON = frozenset({"arch", "stem", "num_classes", "width", "dropout", "head"})
# Further options, by family: the architectures whose layers have the same names.
RESNET = frozenset(ModelConfig.model_fields) - COMMON
FAMILIES = {
    "resnet": RESNET,
    "resnet_v2": RESNET,
    "pyramidnet": frozenset({"padding", "attention", "stochastic_depth", "zero_gamma"}),
    "resnet9": frozenset({"padding", "attention"}),
    "densenet": frozenset({"padding"}),
    "efficientnet": frozenset({"padding", "stochastic_depth", "zero_gamma"}),
}

# Keys that must be the same for weights to mean the same.
STRUCTURE = (
    "arch", "variant", "pre_activation", "shortcut", "padding", "attention", "width", "stem",
    "inner_widths",
)  # fmt: skip

# The families that have a stem, where not all have it.
STEMS = {"cifar_pool": ("resnet", "resnet_v2", "densenet"), "whitened": ("resnet9",)}

# Values of model.head, by task; the first is what ``auto`` means.
HEADS = {
    CLASSIFICATION: ("linear",),
    MULTI_LABEL: ("linear",),
    SEGMENTATION: ("unet", "lraspp"),
    DETECTION: ("center", "points"),  # the latter is of the next task, see task()
    POINTS: ("points",),
}


def same_structure(config: ModelConfig, theirs: ModelConfig) -> bool:
    """Return whether weights of one network fit another in all that its configuration sets."""
    given = config.model_dump(include=config.model_fields_set & set(STRUCTURE))
    return all(value in ("auto", getattr(theirs, key)) for key, value in given.items())


def task(config: ModelConfig, of_data: str) -> str:
    """Return the task of a network: that of its data, but ``points`` with the head of that name."""
    finds_points = of_data == DETECTION and config.head in HEADS[POINTS]
    return POINTS if finds_points else of_data


def head(config: ModelConfig, task: str) -> str:
    """Return the name of the configured head, which is not ``auto``.

    Raises:
        InputError: it is one of another task.
    """
    known = HEADS[task]
    if config.head == "auto":
        return known[0]
    if config.head not in known:
        others = [other for other, names in HEADS.items() if config.head in names]
        raise InputError(
            f"model.head: expected {' or '.join(('auto', *known))} for {task}, got {config.head}, "
            f"which is for {others[0]}"
        )
    return config.head


def check(config: ModelConfig, family: str) -> None:
    """Raise an ``InputError`` for an option that an architecture of ``family`` does not have."""
    if family not in STEMS.get(config.stem, (family,)):
        others = [stem for stem, families in STEMS.items() if family in families]
        stems = ", ".join(["auto", "cifar", *others])
        raise InputError(
            f"model.stem: expected {stems} or imagenet for {config.arch}, got {config.stem}"
        )
    known = FAMILIES[family] | COMMON
    for key, value in config.model_dump(exclude_defaults=True).items():
        if key not in known:
            takes = ", ".join(sorted(known - {"arch"}))
            default = ModelConfig.model_fields[key].default
            raise InputError(
                f"model.{key}: expected {default}, as {config.arch} has no such option (it takes "
                f"{takes}), got {value}"
            )


def check_slim(arch: str, family: str) -> None:
    """Raise an ``InputError`` unless channels can be removed inside the blocks of a network."""
    if "inner_widths" not in FAMILIES[family]:
        raise InputError(
            f"slim: expected a ResNet, whose blocks can have fewer channels inside, got {arch}"
        )
