"""The names that other libraries give to the weights of our networks, and their preprocessing.

A :class:`Convention` is that of a library for one family. Each rule turns the name of one of our
layers into the names that it may have there; the one that is in the file is taken.
"""

import re
from collections.abc import Callable, Container
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tfresnet.runtime.errors import InputError

if TYPE_CHECKING:
    import tensorflow as tf

Rule = tuple[str, Callable[[re.Match], list[str]]]

TORCH_VARIABLES = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


class Pixels(NamedTuple):
    """Mean and standard deviation of the pixels that a network expects, on the 0-255 scale."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


@dataclass(frozen=True)
class Convention:
    """A library's names for the weights of one family of networks, and its input.

    Attributes:
        library: ``torch`` or ``keras``: the layout of arrays and the names of variables.
        rules: from our layers' names to the library's.
        pixels: mean and standard deviation of its preprocessing.
        bgr: its networks take channels in the order blue, green, red.
        variant: the usual ``model.variant`` there.
        padding: of its strided convolutions, as ``model.padding``.
        ignored: a pattern of names in a file that are no weights.
    """

    library: str
    rules: tuple[Rule, ...]
    pixels: Pixels
    padding: str = "symmetric"
    bgr: bool = False
    variant: str = "v1.5"
    ignored: str = r"num_batches_tracked$|^normalization(_\d+)?/"

    def candidates(self, layer: str, variable: str) -> list[str]:
        """Return the names that a variable of our ``layer`` may have in a file."""
        for pattern, names in self.rules:
            if match := re.fullmatch(pattern, layer):
                return [self._joined(name, variable) for name in names(match)]
        return [self._joined(layer, variable)]  # then it is missing in the file, and named so

    def found(self, names: Container[str], layer: str, variable: str = "kernel") -> str | None:
        """Return the name among ``names`` of a variable of our ``layer``, or None."""
        return next((name for name in self.candidates(layer, variable) if name in names), None)

    def classes(self, kernel_shape: tuple[int, ...]) -> int:
        """Return the number of classes of a head's kernel as it is in the file."""
        return kernel_shape[0 if self.library == "torch" else 1]

    def _joined(self, layer: str, variable: str) -> str:
        if self.library == "torch":
            return f"{layer}.{TORCH_VARIABLES[variable]}"
        return f"{layer}/{variable}"


def _torch(m: re.Match, *rests: str) -> list[str]:
    return [f"layer{m[1]}.{int(m[2]) - 1}.{rest}" for rest in rests]


def _numbered(m: re.Match, rest: str) -> str:
    """Return a name in stages that are called after the convolutions of He et al.'s table 1."""
    return f"conv{int(m[1]) + 1}_x.{int(m[2]) - 1}.{rest}"


def _wide(m: re.Match, rest: str) -> str:
    return f"block{m[1]}.layer.{int(m[2]) - 1}.{rest}"


BLOCK = r"stage(\d)_block(\d+)"
HEADS = ["fc", "linear", "classifier", "head.fc", "head", "last_linear"]
# torchvision's names, which timm and most networks for CIFAR share; timm's deep stems, pooled
# shortcuts and attention; the usual names of Wide ResNet's (bn1) and PyramidNet's (bn_final) last
# norm. Others: conv1.0, conv2_x.0.residual_function.0 (github.com/weiaicunzai/pytorch-cifar100);
# shortcut.0 (that and github.com/kuangliu/pytorch-cifar); block1.layer.0.convShortcut
# (github.com/xternalz/WideResNet-pytorch).
TORCH_RESNET: tuple[Rule, ...] = (
    (r"stem_conv", lambda m: ["conv1", "conv1.6", "conv1.0"]),
    (r"stem_bn", lambda m: ["bn1", "conv1.1"]),
    (r"stem_(conv|bn)([12])", lambda m: [f"conv1.{3 * int(m[2]) - 3 + (m[1] == 'bn')}"]),
    (
        BLOCK + r"_((conv|bn)(\d))",
        lambda m: [
            *_torch(m, m[3]),
            _numbered(m, f"residual_function.{3 * int(m[5]) - 3 + (m[4] == 'bn')}"),
            _wide(m, m[3]),
        ],
    ),
    (
        BLOCK + r"_shortcut_conv",
        lambda m: [
            *_torch(m, "downsample.0", "downsample.1", "shortcut.0", "downsample", "shortcut"),
            _numbered(m, "shortcut.0"),
            _wide(m, "convShortcut"),
        ],
    ),
    (
        BLOCK + r"_shortcut_bn",
        lambda m: [
            *_torch(m, "downsample.1", "downsample.2", "shortcut.1"),
            _numbered(m, "shortcut.1"),
        ],
    ),
    (BLOCK + r"_se_reduce", lambda m: _torch(m, "se.fc1")),
    (BLOCK + r"_se_expand", lambda m: _torch(m, "se.fc2")),
    (BLOCK + r"_eca_conv", lambda m: _torch(m, "se.conv")),
    (r"final_bn", lambda m: ["bn1", "bn_final"]),
    (r"head", lambda m: HEADS),
)
# torchvision's; its oldest files have another dot before the numbers.
TORCH_DENSENET: tuple[Rule, ...] = (
    (r"stem_conv", lambda m: ["features.conv0"]),
    (r"stem_bn", lambda m: ["features.norm0"]),
    (
        BLOCK + r"_(conv|bn)(\d)",
        lambda m: [
            f"features.denseblock{m[1]}.denselayer{m[2]}.{m[3].replace('bn', 'norm')}{dot}{m[4]}"
            for dot in ("", ".")
        ],
    ),
    (
        r"stage(\d)_transition_(conv|bn)",
        lambda m: [f"features.transition{int(m[1]) - 1}.{m[2].replace('bn', 'norm')}"],
    ),
    (r"final_bn", lambda m: ["features.norm5"]),
    (r"head", lambda m: ["classifier", *HEADS]),
)


def _keras(m: re.Match, rest: str) -> list[str]:
    return [f"conv{int(m[1]) + 1}_block{m[2]}_{rest}"]


KERAS_RESNET: tuple[Rule, ...] = (
    (r"stem_(conv|bn)", lambda m: [f"conv1_{m[1]}"]),
    (BLOCK + r"_(conv|bn)(\d)", lambda m: _keras(m, f"{m[4]}_{m[3]}")),
    (BLOCK + r"_shortcut_(conv|bn)", lambda m: _keras(m, f"0_{m[3]}")),
    (r"head", lambda m: ["predictions"]),
)
KERAS_RESNET_V2: tuple[Rule, ...] = (
    (BLOCK + r"_bn1", lambda m: _keras(m, "preact_bn")),
    (BLOCK + r"_bn(\d)", lambda m: _keras(m, f"{int(m[3]) - 1}_bn")),
    (r"final_bn", lambda m: ["post_bn"]),
    *KERAS_RESNET,
)
KERAS_DENSENET: tuple[Rule, ...] = (
    (r"stem_(conv|bn)", lambda m: [f"conv1/{m[1]}"]),
    (BLOCK + r"_conv(\d)", lambda m: _keras(m, f"{m[3]}_conv")),
    (BLOCK + r"_bn(\d)", lambda m: _keras(m, f"{int(m[3]) - 1}_bn")),
    (r"stage(\d)_transition_(conv|bn)", lambda m: [f"pool{m[1]}_{m[2]}"]),
    (r"final_bn", lambda m: ["bn"]),
    (r"head", lambda m: ["predictions"]),
)


MOBILE_LAYERS = {
    "conv1": "expand_conv", "bn1": "expand_bn", "depthwise": "dwconv", "bn2": "bn",
    "conv3": "project_conv", "bn3": "project_bn", "se_reduce": "se_reduce",
    "se_expand": "se_expand",
}  # fmt: skip
KERAS_EFFICIENTNET: tuple[Rule, ...] = (
    (r"(?:stem|stage\d)_block(\d[a-z])_(\w+)", lambda m: [f"block{m[1]}_{MOBILE_LAYERS[m[2]]}"]),
    (r"final_(conv|bn)", lambda m: [f"top_{m[1]}"]),
    (r"head", lambda m: ["predictions"]),
)

TORCH_PIXELS = Pixels((123.675, 116.28, 103.53), (58.395, 57.12, 57.375))
CAFFE_PIXELS = Pixels((123.68, 116.779, 103.939), (1.0, 1.0, 1.0))
CENTRED_PIXELS = Pixels((127.5, 127.5, 127.5), (127.5, 127.5, 127.5))

CONVENTIONS = {
    ("torch", "resnet"): Convention("torch", TORCH_RESNET, TORCH_PIXELS),
    ("torch", "pyramidnet"): Convention("torch", TORCH_RESNET, TORCH_PIXELS),
    ("torch", "densenet"): Convention("torch", TORCH_DENSENET, TORCH_PIXELS),
    ("keras", "resnet"): Convention("keras", KERAS_RESNET, CAFFE_PIXELS, bgr=True, variant="v1"),
    ("keras", "resnet_v2"): Convention("keras", KERAS_RESNET_V2, CENTRED_PIXELS),
    ("keras", "densenet"): Convention("keras", KERAS_DENSENET, TORCH_PIXELS),
    ("keras", "efficientnet"): Convention(
        "keras", KERAS_EFFICIENTNET, TORCH_PIXELS, padding="same"
    ),
}


# Whose files of weights have such a name; .h5 may be .weights.h5, .tar .pth.tar, .ckpt Lightning's.
LIBRARIES = {
    ".safetensors": "torch",
    **dict.fromkeys((".pth", ".pt", ".th", ".bin", ".ckpt", ".pkl", ".tar"), "torch"),
    ".h5": "keras",
}
OURS = Convention("keras", (), CENTRED_PIXELS)  # our own names, unchanged

# Our architectures in keras.applications, each with the name of the function that builds it.
KERAS_APPLICATIONS = {
    **{f"resnet{n}{v.lower()}": f"ResNet{n}{v}" for n in (50, 101, 152) for v in ("", "V2")},
    **{f"densenet{n}": f"DenseNet{n}" for n in (121, 169)},
    **{f"efficientnet_b{n}": f"EfficientNetB{n}" for n in range(4)},
}


def library(path: Path) -> str:
    """Return the library of a weights file by its suffix: ``torch`` or ``keras``.

    Raises:
        InputError: no such file, or another ending.
    """
    if not path.is_file():
        raise InputError(f"expected a file of weights, {path} does not exist")
    if path.suffix not in LIBRARIES:
        raise InputError(f"expected weights in {', '.join(LIBRARIES)}, got {path}")
    return LIBRARIES[path.suffix]


def variable_kind(variable: "tf.Variable") -> str:
    """Return the kind of a layer's variable: ``kernel``, ``gamma``, ``moving_mean`` ..."""
    return variable.name.rpartition("/")[2].partition(":")[0]


def convention(library: str, arch: str, family: str) -> Convention:
    """Return the convention of ``library``, ``torch`` or ``keras``, for an architecture.

    Raises:
        InputError: that library has no such network, or its names are not known here.
    """
    if library == "keras" and arch not in KERAS_APPLICATIONS:
        known = ", ".join(KERAS_APPLICATIONS)
        raise InputError(f"expected one of keras.applications' networks ({known}), got {arch}")
    if (library, family) not in CONVENTIONS:
        known = ", ".join(f for lib, f in CONVENTIONS if lib == library)
        raise InputError(
            f"{arch}: expected weights of another library, got {library}'s, of which only those of "
            f"{known} are read"
        )
    return CONVENTIONS[library, family]
