"""The configuration of a run: three sections, read from YAML and written back to YAML.

``RunConfig`` is complete (every value is in the run's ``config.yaml``); a preset or
a user's file says only what differs from the defaults here.
"""

import re
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path
from typing import Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from tfresnet.errors import UserError, unknown
from tfresnet.files import read_text


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversion, no change after creation."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """Which network."""

    arch: str = Field("resnet20", description="A name that `tfresnet models` lists.")
    stem: Literal["auto", "cifar", "imagenet"] = Field(
        "auto",
        description="cifar: 3x3, stride 1; imagenet: 7x7, stride 2 and max pool; auto: by size.",
    )
    num_classes: int | None = Field(
        None, ge=2, description="Outputs. Taken from the dataset when empty."
    )
    variant: Literal["v1", "v1.5", "d"] = Field(
        "v1.5",
        description="v1: stride on the 1x1; v1.5: on the 3x3; d: deep stem, pooled shortcut.",
    )
    pre_activation: bool | None = Field(
        None, description="Norm and ReLU before the convolutions (v2). Default: the architecture's."
    )
    shortcut: Literal["auto", "A", "B"] = Field(
        "auto", description="A: no parameters, B: projection; auto: the architecture's."
    )
    padding: Literal["same", "symmetric"] = Field(
        "same", description="At strides of 2: same as TensorFlow pads, symmetric as PyTorch does."
    )
    attention: Literal["none", "se", "eca"] = "none"
    width: float = Field(1.0, gt=0, description="Times the channels of every stage.")
    stochastic_depth: float = Field(
        0.0, ge=0, lt=1, description="Drop rate of the last block; linear from 0 at the first."
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Rate before the head.")
    block_dropout: float = Field(
        0.0, ge=0, lt=1, description="Rate between a basic block's convolutions (Wide ResNet)."
    )
    zero_gamma: bool = Field(
        False, description="Start each block as the identity: its last batch norm's gamma is 0."
    )


class DataConfig(Section):
    """Which images, and how they are varied in training."""

    dataset: str = Field(
        "digits", min_length=1, description="digits, a TFDS name, or a folder of images."
    )
    data_dir: str | None = Field(
        None, description="Where TFDS keeps its data. Default: TFDS_DATA_DIR, then TFDS's own."
    )
    train_split: str = Field("train", description="Split to train on, in TFDS's slicing syntax.")
    eval_split: str = Field("test", description="Held-out split, in TFDS's slicing syntax.")
    eval_fraction: float = Field(
        0.2, gt=0, lt=1, description="Held-out share of a dataset that comes without a split."
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="Chooses that share.")
    image_size: int | None = Field(
        None, ge=8, description="Height and width. Default: the dataset's, else the architecture's."
    )
    channels: Literal[1, 3] = Field(3, description="3: RGB, 1: grey; all images are converted.")
    crop_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Centre share that is seen. Default: 0.875 above 64 px, else 1.",
    )
    crop_padding: int = Field(4, ge=0, description="Pixels added around a random crop; 0 is off.")
    crop_mode: Literal["reflect", "zero"] = Field(
        "reflect", description="What is added: the mirrored image, or black."
    )
    random_resized_crop: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Smallest area of a crop that is enlarged, in place of crop_padding; 0 is off.",
    )
    flip: Literal[False, True, "alternating"] = Field(
        True, description="Mirror left to right: half of the images; alternating: every 2nd epoch."
    )
    policy: Literal["none", "trivialaugment", "autoaugment"] = Field(
        "none", description="autoaugment: the policy found for CIFAR-10. Not with randaugment."
    )
    randaugment: int = Field(0, ge=0, description="Operations in a row on each image; 0 is off.")
    randaugment_magnitude: float = Field(9.0, ge=0, le=30, description="Of all of them.")
    cutout: int = Field(0, ge=0, description="Side of a grey square, in pixels; 0 is off.")
    erasing: float = Field(
        0.0, ge=0, le=1, description="Share of images with a random box of noise; 0 is off."
    )
    mixup_alpha: float = Field(0.0, ge=0, description="Beta(alpha, alpha) of mixup; 0 is off.")
    cutmix_alpha: float = Field(0.0, ge=0, description="Beta(alpha, alpha) of cutmix; 0 is off.")


class TrainConfig(Section):
    """How the weights are found."""

    epochs: int = Field(60, gt=0, le=100_000)
    batch_size: int = Field(128, gt=0, description="Over all replicas together.")
    lr: float = Field(0.1, gt=0, description="Peak learning rate for the whole batch.")
    optimizer: Literal["sgd", "adamw", "lion"] = "sgd"
    scheduler: Literal["cosine", "step", "constant", "linear", "constant_linear", "one_cycle"] = (
        Field(
            "cosine",
            description="After the warmup. step: a tenth at 1/2 and again at 3/4; constant_linear: "
            "linear to 0 in the second half; one_cycle: cosine up in the warmup and down after it.",
        )
    )
    warmup_epochs: float = Field(5.0, ge=0, description="From 0 to lr.")
    momentum: float = Field(0.9, ge=0, lt=1)
    nesterov: bool = True
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="Of convolution and dense kernels. sgd: L2 added to the gradients; adamw, "
        "lion: decoupled, times the learning rate.",
    )
    loss: Literal["cross_entropy", "bce"] = "cross_entropy"
    label_smoothing: float = Field(0.0, ge=0, lt=1)
    grad_clip: float = Field(0.0, ge=0, description="Largest norm of all gradients; 0 is off.")
    accumulate: int = Field(
        1, gt=0, description="Parts of a batch that are computed in turn, to save memory."
    )
    ema_decay: float = Field(
        0.0, ge=0, lt=1, description="Moving average of all weights, which is what is deployed."
    )
    teacher: str | None = Field(None, description="A run whose answers are to be matched.")
    distillation: float = Field(0.9, ge=0, le=1, description="Share of the teacher in the loss.")
    temperature: float = Field(4.0, gt=0, description="Of the softmaxes that are compared.")
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    xla: bool = Field(False, description="Compile the step with XLA; on a CPU that is slower.")
    strategy: Literal["auto", "one", "mirrored", "multiworker"] = Field(
        "auto",
        description="auto: all GPUs, else one CPU device; mirrored: see devices; multiworker: the "
        "processes that TF_CONFIG names.",
    )
    devices: int | None = Field(
        None, gt=0, description="Replicas of mirrored; on a CPU, logical devices. Default: all."
    )
    seed: int = Field(0, ge=0, lt=2**31)
    init_from: str | None = Field(
        None, description="A run, or a file of weights, to start from; other classes, new head."
    )
    freeze_until: str | None = Field(
        None, description="Last part that is not trained: stem, stage1, stage2, ..."
    )
    eval_every: int = Field(1, gt=0, description="Epochs between evaluations; the last has one.")


class RunConfig(Section):
    """Everything needed to repeat a run, given the data."""

    name: str = Field(
        "run", pattern=r"^[\w.-]*\w[\w.-]*$", description="Preset or file that the run came from."
    )
    description: str = ""
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    def to_yaml(self) -> str:
        """Return the complete configuration as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)


class _Loader(yaml.SafeLoader):
    """Safe YAML that also reads ``1e-4`` as a number, as YAML 1.2 does and PyYAML does not."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"[-+]?[0-9.]+[eE][-+]?[0-9]+$"), list("-+0123456789.")
)


def presets() -> dict[str, str]:
    """Return the YAML text of every preset that ships with tfresnet, by name."""
    folder = resources.files("tfresnet") / "presets"
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".yaml")), key=lambda f: f.name)
    return {f.name.removesuffix(".yaml"): f.read_text(encoding="utf-8") for f in files}


def load(preset_or_file: str, overrides: Iterable[str] = ()) -> RunConfig:
    """Return the configuration of a preset or YAML file with ``section.key=value`` overrides.

    Raises:
        UserError: no such preset or file, unreadable YAML, an unknown key, or a bad value.
    """
    name, text = _find(preset_or_file)
    values = _parse(text, where=preset_or_file)
    values.setdefault("name", name)
    for override in overrides:
        _set(values, override)
    return validate(values, where=preset_or_file)


def from_overrides(overrides: Iterable[str], name: str = "run") -> RunConfig:
    """Return the defaults with ``section.key=value`` overrides."""
    values: dict[str, Any] = {"name": name}
    for override in overrides:
        _set(values, override)
    return validate(values)


def with_data(config: DataConfig | Mapping[str, Any], overrides: Mapping[str, Any]) -> DataConfig:
    """Return a data section with some keys replaced, checked like any other."""
    values = config.model_dump() if isinstance(config, DataConfig) else dict(config)
    return validate({"data": values | dict(overrides)}).data


def validate(values: Mapping[str, Any], where: str = "configuration") -> RunConfig:
    """Return ``values`` as a checked ``RunConfig``, or raise a one-line ``UserError``."""
    try:
        return RunConfig.model_validate(values)
    except ValidationError as error:
        raise UserError(_explain(error, where)) from None


def read(path: Path) -> RunConfig:
    """Return the configuration that a run directory's ``config.yaml`` holds."""
    return validate(_parse(read_text(path), where=str(path)), where=str(path))


def differences(old: RunConfig, new: RunConfig) -> dict[str, tuple[Any, Any]]:
    """Return ``{section.key: (old, new)}`` for the keys on which the two disagree."""
    result = {}
    for section in ("model", "data", "train"):
        before, after = getattr(old, section), getattr(new, section)
        for key in type(before).model_fields:
            pair = getattr(before, key), getattr(after, key)
            if pair[0] != pair[1]:
                result[f"{section}.{key}"] = pair
    return result


def safe_name(path: Path) -> str:
    """Return a file's name without its ending as a run may be called."""
    return re.sub(r"[^\w.-]+", "-", path.stem)


def _find(preset_or_file: str) -> tuple[str, str]:
    known = presets()
    if preset_or_file in known:
        return preset_or_file, known[preset_or_file]
    path = Path(preset_or_file)
    if path.suffix not in (".yaml", ".yml"):
        raise unknown("preset", preset_or_file, known)
    return safe_name(path), read_text(path)


def _parse(text: str, where: str) -> dict[str, Any]:
    try:
        values = yaml.load(text, Loader=_Loader)
    except yaml.YAMLError as error:
        line = " ".join(str(error).split())
        raise UserError(f"{where}: expected YAML, got something else: {line}") from None
    if not isinstance(values, dict):
        raise UserError(f"{where}: expected sections model, data, train, got {text.strip()!r:.60}")
    return values


def _set(values: dict[str, Any], override: str) -> None:
    """Apply one ``section.key=value``; the value is read as YAML."""
    path, equals, text = override.partition("=")
    section, dot, key = path.partition(".")
    if not (equals and dot and section and key):
        raise UserError(f"--set: expected section.key=value (train.lr=0.1), got {override!r}")
    value = text if _is_text(section, key) else _scalar(text)
    inner = values.setdefault(section, {})
    if not isinstance(inner, dict):
        raise UserError(
            f"--set: expected section.key=value, got {override!r}: {section} is no section"
        )
    inner[key] = value


def _is_text(section: str, key: str) -> bool:
    """Tell whether a key holds free text, such as a path, which must be taken as it is."""
    model = RunConfig.model_fields.get(section)
    fields = getattr(model.annotation, "model_fields", {}) if model else {}
    return key in fields and fields[key].annotation in (str, str | None)


def _scalar(text: str) -> Any:
    """Return the value that YAML reads in ``text``; text where it reads none."""
    try:
        return yaml.load(text, Loader=_Loader)
    except yaml.YAMLError:
        return text


def _explain(error: ValidationError, where: str) -> str:
    """Turn pydantic's first error into: key, expected, got, closest match."""
    first = error.errors()[0]
    path = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return f"{where}: {unknown('key', path, _siblings(first['loc']))}"
    expected = first["msg"].removeprefix("Input should be ")
    return f"{where}: {path}: expected {expected}, got {first['input']!r}"


def _siblings(loc: tuple[int | str, ...]) -> list[str]:
    """Return the full names of the keys that are allowed where ``loc`` is not."""
    if len(loc) == 1:
        return list(RunConfig.model_fields)
    section = RunConfig.model_fields[str(loc[0])].annotation
    assert isinstance(section, type) and issubclass(section, Section)
    return [f"{loc[0]}.{key}" for key in section.model_fields]
