"""Read from the names and shapes of weights what their network is like."""

from collections.abc import Mapping

import numpy as np

from tfresnet.models import zoo
from tfresnet.models.names import Convention
from tfresnet.models.resnet import POOLED, ResNetRow

Arrays = Mapping[str, np.ndarray]


def settings(arrays: Arrays, convention: Convention, row: zoo.Row) -> tuple[str, ...]:
    """Return what the weights of a row's network tell about it, as ``model.key=value``."""
    found = {"stem": "imagenet", "padding": convention.padding}
    stem = _shape(arrays, convention, "stem_conv")
    if convention.library == "torch" and stem[2:] == (3, 3) and "conv1.6.weight" not in arrays:
        # The usual DenseNet for CIFAR has no norm before its first block; one with a pool has.
        pooled = row.family == "densenet" and _shape(arrays, convention, "stem_bn", "gamma")
        found["stem"] = "cifar_pool" if pooled else "cifar"
    if isinstance(row, ResNetRow):
        if row.family == "resnet":
            found["variant"] = _variant(arrays) or convention.variant
        if any(".se.fc1." in name for name in arrays):
            found["attention"] = "se"
        if any(name.endswith(".se.conv.weight") for name in arrays):
            found["attention"] = "eca"
        if convention.library == "torch":
            found |= _of_blocks(arrays, convention, row, found["variant"])
    return tuple(f"model.{key}={value}" for key, value in found.items())


def _variant(arrays: Arrays) -> str | None:
    """Return the variant with a deep stem, in PyTorch's files; None without one."""
    if "conv1.6.weight" not in arrays:
        return None
    return "t" if arrays["conv1.0.weight"].shape[0] < arrays["conv1.3.weight"].shape[0] else "d"


def _of_blocks(
    arrays: Arrays, convention: Convention, row: ResNetRow, variant: str
) -> dict[str, str]:
    """Return what the second stage's first block, which has a stride, differs in from the row's."""
    found = {}
    block = "stage2_block1"
    shortcut = "B" if convention.found(arrays, f"{block}_shortcut_conv") else "A"
    if variant not in POOLED and shortcut != row.style.shortcut and row.style.block == "basic":
        found["shortcut"] = shortcut
    outputs, inputs, *_ = (*_shape(arrays, convention, f"{block}_conv1"), 0, 0)
    (channels, *_) = (*_shape(arrays, convention, f"{block}_bn1", "gamma"), 0)
    pre_activation = channels == inputs != outputs
    if pre_activation != row.style.pre_activation and channels in (inputs, outputs) and channels:
        found["pre_activation"] = str(pre_activation).lower()
    return found


def _shape(
    arrays: Arrays, convention: Convention, layer: str, variable: str = "kernel"
) -> tuple[int, ...]:
    """Return the shape of a variable of our ``layer``, as it is in the file; empty if it lacks."""
    name = convention.found(arrays, layer, variable)
    return tuple(arrays[name].shape) if name else ()


def depths(arrays: Arrays, convention: Convention) -> tuple[int, ...]:
    """Return the number of blocks of each stage."""
    found: list[int] = []
    while not found or found[-1]:
        found.append(0)
        stage = len(found)
        while convention.found(arrays, f"stage{stage}_block{found[-1] + 1}_conv1"):
            found[-1] += 1
    return tuple(found[:-1])
