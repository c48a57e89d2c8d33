"""The sections of a run's configuration: every key, its default, its range and what it means."""

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator


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
    attention: Literal["none", "se", "eca"] = Field(
        "none", description="Of channels, in every block: squeeze-and-excitation, or efficient."
    )
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


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


Pixels = Annotated[int, Field(ge=8)]


class DataConfig(Section):
    """Which images, and how they are varied in training."""

    dataset: str = Field(
        "digits",
        min_length=1,
        description="digits, a TFDS name, or a folder of images: one folder a class, or a "
        "labels.csv with any number of labels for each.",
    )
    data_dir: str | None = Field(
        None, description="Where TFDS keeps its data. Default: TFDS_DATA_DIR, then TFDS's own."
    )
    labels: str | None = Field(
        None,
        description="File with a folder's classes, one a line, in the order that they are to have. "
        "Default: the order of their names.",
    )
    skip_broken: bool = Field(
        False, description="Leave a folder's pictures out that can't be read, instead of stopping."
    )
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="Where a split's decoded images are kept: in memory, or nowhere, and decoded "
        "when needed; auto: in memory up to 8 GiB or a quarter of the machine's.",
    )
    train_split: str = Field("train", description="Split to train on, in TFDS's slicing syntax.")
    eval_split: str = Field("test", description="Held-out split, in TFDS's slicing syntax.")
    eval_fraction: float = Field(
        0.2, gt=0, lt=1, description="Held-out share of a dataset that comes without a split."
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="Chooses that share.")
    image_size: Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="Side in pixels (8 or more), or [height, width]. Default: the dataset's, else "
        "the architecture's.",
    )
    channels: Literal[1, 3] = Field(3, description="3: RGB, 1: grey; all images are converted.")
    crop_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Centre share that is seen. Default: 0.875 above 64 px, else 1.",
    )
    progressive: dict[float, int] = Field(
        {},
        description="Smaller images at first: share of the epochs up to which, and pixels; "
        "{0.3: 20, 0.6: 24}.",
    )
    repeats: int = Field(
        1, gt=0, description="Times that an image is in a batch, varied differently each time."
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
    randaugment_magnitude: float = Field(9.0, ge=0, le=30, description="Of all; 30 is most.")
    cutout: int = Field(0, ge=0, description="Side of a grey square, in pixels; 0 is off.")
    erasing: float = Field(
        0.0, ge=0, le=1, description="Share of images with a random box of noise; 0 is off."
    )
    mixup_alpha: float = Field(0.0, ge=0, description="Beta(alpha, alpha) of mixup; 0 is off.")
    cutmix_alpha: float = Field(0.0, ge=0, description="Beta(alpha, alpha) of cutmix; 0 is off.")

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """``image_size`` in pixels; None if it is left open."""
        size = self.image_size
        if isinstance(size, list):
            return size[0], size[1]
        return None if size is None else (size, size)

    @field_validator("progressive", mode="before")
    @classmethod
    def _with_numbers(cls, value: Any) -> Any:
        """Take keys that are numbers in text too: JSON has no others."""
        numbers = isinstance(value, dict) and all(_is_number(key) for key in value)
        return {float(key): size for key, size in value.items()} if numbers else value


class TrainConfig(Section):
    """How the weights are found."""

    epochs: int = Field(60, gt=0, le=100_000, description="Times that all images are seen.")
    batch_size: int = Field(128, gt=0, description="Over all replicas together.")
    lr: float = Field(0.1, gt=0, description="Peak learning rate for the whole batch.")
    optimizer: Literal["sgd", "adamw", "lion"] = Field(
        "sgd", description="adamw and lion want a much smaller lr, and a larger weight_decay."
    )
    scheduler: Literal["cosine", "step", "constant", "linear", "constant_linear", "one_cycle"] = (
        Field(
            "cosine",
            description="After the warmup. step: a tenth at 1/2 and again at 3/4; constant_linear: "
            "linear to 0 in the second half; one_cycle: as PyTorch's OneCycleLR.",
        )
    )
    warmup_epochs: float = Field(5.0, ge=0, description="From 0 to lr; half of the run at most.")
    momentum: float = Field(0.9, ge=0, lt=1, description="Of sgd.")
    nesterov: bool = Field(True, description="Of sgd: look ahead along the momentum.")
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="Of convolution and dense kernels. sgd: L2 added to the gradients; adamw, "
        "lion: decoupled, times the learning rate.",
    )
    loss: Literal["cross_entropy", "bce"] = Field(
        "cross_entropy",
        description="bce: binary cross-entropy, each class for itself; files then end in sigmoids. "
        "The one for a labels.csv.",
    )
    class_weights: Literal["none", "balanced"] = Field(
        "none",
        description="balanced: an image's loss is weighted by the inverse of its class's share of "
        "the training images; 1 on average.",
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of a label that is spread over all classes; with a labels.csv, by which "
        "0 and 1 are drawn to 1/2.",
    )
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
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"] = Field(
        "float32", description="auto: the fastest that this machine has instructions for."
    )
    sync_batch_norm: bool = Field(
        False, description="Batch norms see the whole batch, not each replica's share of it."
    )
    xla: bool = Field(False, description="Compile the step with XLA; on a CPU that is slower.")
    strategy: Literal["auto", "one", "mirrored", "multiworker"] = Field(
        "auto",
        description="auto: all GPUs, else one CPU device; mirrored: see devices; multiworker: the "
        "processes that TF_CONFIG names.",
    )
    devices: int | None = Field(
        None, gt=0, description="Replicas of mirrored; on a CPU, logical devices. Default: all."
    )
    seed: int = Field(0, ge=0, lt=2**31, description="Of the first weights and of all chance.")
    init_from: str | None = Field(
        None, description="A run, or a file of weights, to start from; other classes, new head."
    )
    freeze_until: str | None = Field(
        None, description="Last part that is not trained: stem, stage1, stage2, ..."
    )
    eval_every: int = Field(1, gt=0, description="Epochs between evaluations; the last has one.")
    patience: int = Field(
        0, ge=0, description="Stop after this many evaluations without a better one; 0 is off."
    )
    keep: Literal["last", "best"] = Field(
        "last", description="Which epoch's weights are the run's; best: on the held-out images."
    )
    on_nan: Literal["stop", "rollback"] = Field(
        "stop",
        description="When the loss is lost; rollback: to the last checkpoint, at half the rate.",
    )


class RunConfig(Section):
    """Everything needed to repeat a run, given the data."""

    name: str = Field(
        "run",
        pattern=r"^[\w.-]*\w[\w.-]*$",
        max_length=100,
        description="Preset or file that the run came from.",
    )
    description: str = Field("", description="One line, for `tfresnet presets`.")
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    def to_yaml(self) -> str:
        """Return the complete configuration as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)
