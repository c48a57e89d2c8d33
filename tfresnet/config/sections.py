"""The sections of a configuration: each key with its type, default, range, and description.

The command line's options are made from them, see ``tfresnet.cli.section_options``.
"""

from typing import Annotated, Any, Literal

import yaml
from pydantic import BaseModel, ConfigDict, Field, field_validator


class Section(BaseModel):
    """Base of all sections: no unknown keys, no silent conversion, no change after creation."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class ModelConfig(Section):
    """The network."""

    arch: str = Field("resnet20", description="Architecture: a name that `tfresnet models` lists.")
    stem: Literal["auto", "cifar", "cifar_pool", "whitened", "imagenet"] = Field(
        "auto",
        description="First layers. cifar: 3x3 convolution, stride 1; cifar_pool: the same and max "
        "pooling (ResNet, DenseNet); whitened: 2x2, not trained but computed from the images "
        "(ResNet-9); imagenet: 7x7, stride 2, and max pooling; auto: cifar for images of up to 64 "
        "pixels.",
    )
    num_classes: int | None = Field(
        None, ge=2, description="Number of outputs. Default: the dataset's classes."
    )
    variant: Literal["v1", "v1.5", "d", "t"] = Field(
        "v1.5",
        description="v1: stride in the 1x1 convolution of a bottleneck; v1.5: in the 3x3; d: v1.5 "
        "with a deep stem and pooled shortcuts; t: d whose stem grows (24, 32, 64 channels).",
    )
    pre_activation: bool | None = Field(
        None,
        description="Batch normalization and ReLU before each convolution (v2). Default: the "
        "architecture's.",
    )
    shortcut: Literal["auto", "A", "B"] = Field(
        "auto",
        description="A: zero padding, no parameters; B: 1x1 projection; auto: the architecture's.",
    )
    padding: Literal["same", "symmetric"] = Field(
        "same",
        description="Padding of strided convolutions: same as TensorFlow's, symmetric as "
        "PyTorch's.",
    )
    attention: Literal["none", "se", "eca"] = Field(
        "none",
        description="Channel attention in every block: squeeze-and-excitation or efficient channel "
        "attention.",
    )
    width: float = Field(1.0, gt=0, description="Factor on the channels of every stage.")
    inner_widths: list[Annotated[int, Field(ge=1)]] = Field(
        [],
        description="Channels of each convolution inside a block, all but the block's last one, "
        "in order, as `tfresnet export --slim` chooses them (ResNet). Default: the "
        "architecture's.",
    )
    stochastic_depth: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Drop rate of the last block; it grows linearly from 0 at the first.",
    )
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout rate before the head.")
    block_dropout: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Dropout rate between the convolutions of a basic block (Wide ResNet).",
    )
    zero_gamma: bool = Field(
        False,
        description="Start each block as the identity: gamma of its last batch normalization is 0.",
    )
    head: Literal["auto", "linear", "lraspp", "unet", "center", "points"] = Field(
        "auto",
        description="Last layers. linear: a class an image; lraspp, unet: a class a pixel; center: "
        "boxes; points: the centers of boxes; auto: linear, unet or center, by the task.",
    )
    output_stride: Literal[8, 16, 32] = Field(
        32,
        description="Pixels of the image for one of the last feature map; below 32 the last stages "
        "are dilated instead of strided.",
    )


def _is_number(text: Any) -> bool:
    try:
        float(text)
    except (TypeError, ValueError):
        return False
    return True


Pixels = Annotated[int, Field(ge=8)]


class DataConfig(Section):
    """The images, and how they are augmented in training."""

    dataset: str = Field(
        "digits",
        min_length=1,
        description="digits, a TFDS name, or a folder of images: one folder per class, a "
        "labels.csv with any number of labels for each image, images/ beside masks/, or boxes in "
        "the format of Pascal VOC, COCO or YOLO.",
    )
    task: Literal["auto", "classify", "segment", "detect"] = Field(
        "auto",
        description="What is learned: classes of images, of pixels, or boxes; auto: what the data "
        "have.",
    )
    data_dir: str | None = Field(
        None, description="Folder of TFDS's datasets. Default: $TFDS_DATA_DIR, then TFDS's own."
    )
    labels: str | None = Field(
        None,
        description="Text file with the class names of a folder, one a line, in the order of the "
        "model's outputs. Default: sorted by name.",
    )
    skip_broken: bool = Field(
        False, description="Leave out images of a folder that can't be read, instead of stopping."
    )
    cache: Literal["auto", "memory", "disk"] = Field(
        "auto",
        description="memory: keep a split's decoded images; disk: decode them when needed; auto: "
        "in "
        "memory up to 8 GiB or a quarter of the machine's.",
    )
    service: Annotated[str, Field(pattern=r"^grpc://[^/\s]+:\d+$")] | None = Field(
        None,
        description="Address grpc://HOST:PORT of a dispatcher of tf.data service, whose workers "
        "read and augment the training images: a folder of images with labels.",
    )
    train_split: str = Field(
        "train",
        description="Training split, in TFDS's slicing syntax; of a folder of masks or boxes one "
        "of its parts, or several: train+val.",
    )
    eval_split: str = Field(
        "test",
        description="Held-out split, in TFDS's slicing syntax; of a folder of masks or boxes one "
        "of its parts, or several.",
    )
    eval_fraction: float = Field(
        0.2, gt=0, lt=1, description="Held-out share of a dataset that comes without a split."
    )
    validation_fraction: float = Field(
        0.0,
        ge=0,
        le=0.5,
        description="Share of the training images that nothing is learned from: train.patience and "
        "train.keep=best look at them, so that the held-out images choose nothing; 0 is none.",
    )
    split_seed: int = Field(0, ge=0, lt=2**31, description="Seed that chooses these shares.")
    image_size: Pixels | Annotated[list[Pixels], Field(min_length=2, max_length=2)] | None = Field(
        None,
        description="Side in pixels (8 or more), or [height, width]. Default: the dataset's, else "
        "the architecture's.",
    )
    channels: Literal[1, 3] = Field(3, description="3: RGB, 1: gray; all images are converted.")
    crop_fraction: float | None = Field(
        None,
        gt=0,
        le=1,
        description="Share of the sides that the center crop keeps. Default: 0.875 above 64 "
        "pixels, "
        "else 1.",
    )
    progressive: dict[float, int] = Field(
        {},
        description="Smaller images at first, as {share of the epochs: pixels}: {0.3: 20, 0.6: "
        "24}.",
    )
    repeats: int = Field(
        1, gt=0, description="Copies of an image in a batch, each augmented differently."
    )
    crop_padding: int = Field(
        4, ge=0, description="Padding in pixels for random crops of images with labels; 0 is off."
    )
    crop_mode: Literal["reflect", "zero"] = Field(
        "reflect", description="Content of that padding: the mirrored image, or black."
    )
    random_resized_crop: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Smallest area of random resized crops, instead of crop_padding; 0 is off.",
    )
    flip: Literal[False, True, "alternating"] = Field(
        True,
        description="Horizontal flips. true: of a random half of the images; alternating: of each "
        "image in every second epoch.",
    )
    scale: list[Annotated[float, Field(gt=0)]] = Field(
        [1.0, 1.0],
        min_length=2,
        max_length=2,
        description="Smallest and largest factor by which an image with masks or boxes is enlarged "
        "before a crop of its old size at a random place.",
    )
    color: float = Field(
        0.0,
        ge=0,
        le=1,
        description="Random brightness, contrast and saturation, each changed by this share at "
        "most; 0 is off.",
    )
    policy: Literal["none", "trivialaugment", "autoaugment"] = Field(
        "none",
        description="Augmentation policy; autoaugment is the one found for CIFAR-10. Not with "
        "randaugment.",
    )
    randaugment: int = Field(
        0, ge=0, description="Number of RandAugment operations on each image; 0 is off."
    )
    randaugment_magnitude: float = Field(
        9.0, ge=0, le=30, description="Magnitude of all operations; 30 is the strongest."
    )
    cutout: int = Field(
        0, ge=0, description="Side in pixels of a gray square on each image; 0 is off."
    )
    erasing: float = Field(
        0.0, ge=0, le=1, description="Share of images with a random box of noise; 0 is off."
    )
    mixup_alpha: float = Field(
        0.0, ge=0, description="Alpha of mixup's Beta(alpha, alpha); 0 is off."
    )
    cutmix_alpha: float = Field(
        0.0, ge=0, description="Alpha of cutmix's Beta(alpha, alpha); 0 is off."
    )

    @property
    def height_and_width(self) -> tuple[int, int] | None:
        """``image_size`` in pixels; None if the data or the architecture decide."""
        size = self.image_size
        if isinstance(size, list):
            return size[0], size[1]
        return None if size is None else (size, size)

    @field_validator("progressive", mode="before")
    @classmethod
    def _with_numbers(cls, value: Any) -> Any:
        """Accept numbers as text: the keys of a JSON object are text."""
        numbers = isinstance(value, dict) and all(_is_number(key) for key in value)
        return {float(key): size for key, size in value.items()} if numbers else value


class TrainConfig(Section):
    """The training."""

    epochs: int = Field(
        60, gt=0, le=100_000, description="Number of passes over the training images."
    )
    batch_size: int = Field(128, gt=0, description="Images per batch, over all replicas together.")
    lr: float = Field(0.1, gt=0, description="Peak learning rate, for the whole batch.")
    optimizer: Literal["sgd", "adamw", "lion", "muon"] = Field(
        "sgd",
        description="adamw, lion and muon need a much smaller lr, and a larger weight_decay. muon: "
        "steps of convolutions are orthogonal matrices; adamw for the rest.",
    )
    scheduler: Literal["cosine", "step", "constant", "linear", "constant_linear", "one_cycle"] = (
        Field(
            "cosine",
            description="Learning rate after the warmup. step: divided by 10 at 1/2 and 3/4 of the "
            "training; constant_linear: linear to 0 in the second half; one_cycle: as "
            "PyTorch's OneCycleLR.",
        )
    )
    warmup_epochs: float = Field(
        5.0,
        ge=0,
        description="Epochs in which the learning rate grows from 0 to lr; at most half of all.",
    )
    momentum: float = Field(0.9, ge=0, lt=1, description="Momentum of sgd and muon.")
    nesterov: bool = Field(True, description="Nesterov momentum for sgd.")
    weight_decay: float = Field(
        5e-4,
        ge=0,
        description="Weight decay of convolution and dense kernels. sgd: L2 added to the "
        "gradients; "
        "adamw, lion, muon: decoupled, times the learning rate.",
    )
    loss: Literal["cross_entropy", "bce"] = Field(
        "cross_entropy",
        description="bce: binary cross-entropy of each class by itself; exported files end in "
        "sigmoids. The loss for a labels.csv.",
    )
    class_weights: Literal["none", "balanced", "median_frequency"] = Field(
        "none",
        description="balanced: weight each image's loss by the inverse of its class's frequency; 1 "
        "on average. median_frequency: the same for pixels with a class each.",
    )
    dice: float = Field(
        0.0, ge=0, le=1, description="Share of the Dice loss in that of pixels with a class each."
    )
    label_smoothing: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Share of the target that is spread over all classes; with a labels.csv, by "
        "how "
        "much 0 and 1 move towards 1/2.",
    )
    grad_clip: float = Field(
        0.0, ge=0, description="Largest global norm of the gradients; 0 is off."
    )
    accumulate: int = Field(
        1,
        gt=0,
        description="Gradient accumulation: the parts that a batch is split into, to save memory.",
    )
    ema_decay: float = Field(
        0.0,
        ge=0,
        lt=1,
        description="Decay of the weights' moving average, which is evaluated and exported; 0 is "
        "off.",
    )
    teacher: str | None = Field(
        None,
        description="Run, or shipped network, whose predictions are to be matched (distillation).",
    )
    distillation: float = Field(
        0.9, ge=0, le=1, description="Weight of the teacher's predictions in the loss."
    )
    temperature: float = Field(
        4.0, gt=0, description="Temperature of the softmaxes that distillation compares."
    )
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16", "auto"] = Field(
        "float32",
        description="Precision of the computation; auto: the fastest that this machine has "
        "instructions for.",
    )
    sync_batch_norm: bool = Field(
        False,
        description="Batch normalization over the whole batch, not over each replica's share of "
        "it.",
    )
    xla: bool = Field(False, description="Compile the training step with XLA; slower on a CPU.")
    strategy: Literal["auto", "one", "mirrored", "multiworker", "tpu"] = Field(
        "auto",
        description="auto: all GPUs, else one CPU device; mirrored: see devices; multiworker: the "
        "processes that TF_CONFIG, SLURM or Kubernetes names; tpu: the TPU of this machine, or "
        "$TPU_NAME.",
    )
    devices: int | None = Field(
        None,
        gt=0,
        description="Number of mirrored replicas; on a CPU, logical devices. Default: all.",
    )
    seed: int = Field(
        0,
        ge=0,
        lt=2**31,
        description="Seed of the initial weights, the order of the images, and their augmentation.",
    )
    init_from: str | None = Field(
        None,
        description="Run, file of weights, network that ships with tfresnet (`cifar10-resnet20`), "
        "or name on the hub (`timm/resnet18.a1_in1k`), to start from; with other classes the head "
        "is new.",
    )
    pretrained: Literal[False, True, "auto"] = Field(
        False,
        description="Start from the architecture's weights on the hub, trained on ImageNet, or "
        "(resnet20) from those that ship with tfresnet, unless init_from is set; auto: where they "
        "are in the cache or the hub can be reached.",
    )
    backbone_lr_factor: float = Field(
        1.0,
        gt=0,
        le=1,
        description="Factor of the learning rate for all weights but the head's: below 1 where "
        "they start from weights that are good already. Only with sgd and muon.",
    )
    bias_lr_factor: float = Field(
        1.0,
        gt=0,
        description="Factor of the learning rate for biases and the shifts of batch "
        "normalizations, which a short training moves too little. Only with sgd and muon.",
    )
    freeze_norms: bool = Field(
        False,
        description="Keep the batch normalizations of the weights to start from as they are, "
        "statistics included: a batch of few pictures has no good ones of its own.",
    )
    freeze_until: str | None = Field(
        None, description="Last part of the network that is not trained: stem, stage1, stage2, ..."
    )
    eval_every: int = Field(
        1, gt=0, description="Epochs between evaluations; the last epoch always has one."
    )
    patience: int = Field(
        0,
        ge=0,
        description="Stop after this many evaluations without improvement, on the validation part "
        "(data.validation_fraction) or else the held-out images; 0 is off.",
    )
    keep: Literal["last", "best"] = Field(
        "last",
        description="Epoch whose weights the run keeps; best: on the validation part "
        "(data.validation_fraction) or else the held-out images.",
    )
    on_nan: Literal["stop", "rollback"] = Field(
        "stop",
        description="When the loss is NaN or infinite; rollback: to the last checkpoint, at half "
        "the learning rate.",
    )


class RunConfig(Section):
    """The whole configuration of a run: with the data, all that is needed to repeat it."""

    name: str = Field(
        "run",
        pattern=r"^[\w.-]*\w[\w.-]*$",
        max_length=100,
        description="Preset or file that the configuration is from.",
    )
    description: str = Field("", description="One line, shown by `tfresnet presets`.")
    model: ModelConfig = Field(default_factory=ModelConfig)
    data: DataConfig = Field(default_factory=DataConfig)
    train: TrainConfig = Field(default_factory=TrainConfig)

    def to_yaml(self) -> str:
        """Return the complete configuration as YAML."""
        return yaml.safe_dump(self.model_dump(), sort_keys=False)
