"""Weights from elsewhere: PyTorch state dicts and keras.applications files, by name.

Reading a file gives plain arrays; nothing in a file is ever executed. A mapping says under which
name each of our variables stands in the file and how it is turned; whatever does not fit is
listed, and then nothing is loaded.
"""

import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import tf_keras as keras

from tfresnet.errors import UserError
from tfresnet.models.functional import functional

Arrays = dict[str, np.ndarray]


class Source(NamedTuple):
    """Where a variable stands in a file, and how it becomes ours."""

    name: str
    turned: Callable[[np.ndarray], np.ndarray]


@dataclass(frozen=True)
class Convention:
    """How a library names and stores the weights of a ResNet.

    Attributes:
        source: from our layer's and variable's names to the file's.
        ignored: names in a file that are no weights.
        head: the name of the last layer's kernel.
        classes: from the shape of that kernel to the number of classes.
    """

    source: Callable[[str, str, int], Source]
    ignored: str
    head: str
    classes: Callable[[tuple[int, ...]], int]


def read(path: Path) -> tuple[Arrays, Convention]:
    """Return the arrays of a weights file, and the convention that they follow.

    ``.safetensors`` and ``.pth``, ``.pt``, ``.bin`` are PyTorch's (the latter need torch, which
    reads them with ``weights_only=True``), ``.h5`` is keras.applications'.

    Raises:
        UserError: no such file, cut short, another kind, or with code in it.
    """
    if not path.is_file():
        raise UserError(f"expected a file of weights, {path} does not exist")
    if path.suffix not in READERS:
        raise UserError(f"expected weights in {', '.join(READERS)}, got {path}")
    reader, convention = READERS[path.suffix]
    try:
        return reader(path), convention
    except UserError:
        raise
    except Exception as error:  # each library has exceptions of its own for a damaged file
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 120, placeholder=" ...")
        raise UserError(f"{path}: expected whole weights without code: {reason}") from None


def load(model: keras.Model, image_shape: tuple, arrays: Arrays, convention: Convention) -> None:
    """Put a file's arrays into ``model``, all of them or none.

    Raises:
        UserError: names the tensors that are missing, unexpected, or of another shape.
    """
    pairs, missing, misfits = [], [], []
    left = {name for name in arrays if not re.search(convention.ignored, name)}
    for layer in functional(model, image_shape).layers:
        for variable in layer.variables:
            kind = variable.name.rpartition("/")[2].partition(":")[0]
            source = convention.source(layer.name, kind, len(variable.shape))
            if source.name not in arrays:
                missing.append(source.name)
                continue
            left.discard(source.name)
            array = arrays[source.name]
            if array.ndim == len(variable.shape):
                array = source.turned(array)
            pairs.append((variable, array))
            if array.shape != tuple(variable.shape):
                expected = tuple(variable.shape)
                misfits.append(f"{source.name} (expected {expected}, got {array.shape})")
    problems = {"missing": missing, "unexpected": sorted(left), "of another shape": misfits}
    found = [f"{len(v)} {k}: {_some(v)}" for k, v in problems.items() if v]
    if found:
        raise UserError(f"the weights do not fit {model.name}: {'; '.join(found)}")
    for variable, array in pairs:
        variable.assign(array)


def not_finite(arrays: Arrays) -> list[str]:
    """Return the names of arrays that hold NaN or infinity."""
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _read_safetensors(path: Path) -> Arrays:
    from safetensors.numpy import load_file

    return load_file(path)


def _read_torch(path: Path) -> Arrays:
    try:
        import torch
    except ImportError:
        raise UserError(
            f"{path} needs PyTorch to be read (pip install torch), or save it as .safetensors"
        ) from None
    state = torch.load(path, map_location="cpu", weights_only=True)
    for key in ("state_dict", "model"):
        state = state.get(key, state)
    return {name: tensor.float().numpy() for name, tensor in state.items()}


TORCH_LAYERS = [
    (r"stem_(conv|bn)", lambda m: f"{m[1]}1"),
    (r"head", lambda m: "fc"),
    (r"stage(\d)_block(\d+)_(conv|bn)(\d)", lambda m: f"layer{m[1]}.{int(m[2]) - 1}.{m[3]}{m[4]}"),
    (
        r"stage(\d)_block(\d+)_shortcut_(conv|bn)",
        lambda m: f"layer{m[1]}.{int(m[2]) - 1}.downsample.{int(m[3] == 'bn')}",
    ),
]
TORCH_VARIABLES = {
    "kernel": "weight", "gamma": "weight", "beta": "bias", "bias": "bias",
    "moving_mean": "running_mean", "moving_variance": "running_var",
}  # fmt: skip


def _torch_source(layer: str, variable: str, rank: int) -> Source:
    """Map to torchvision's names, which timm shares; kernels are stored output first."""
    turns = {4: lambda a: a.transpose(2, 3, 1, 0), 2: lambda a: a.T, 1: lambda a: a}
    return Source(f"{_renamed(layer, TORCH_LAYERS)}.{TORCH_VARIABLES[variable]}", turns[rank])


def _renamed(layer: str, rules: list) -> str:
    for pattern, name in rules:
        if match := re.fullmatch(pattern, layer):
            return name(match)
    return layer  # then it is missing in the file, and named so


def _read_keras(path: Path) -> Arrays:
    """Read a legacy ``.h5`` of keras.applications' ResNet 50, 101 or 152 into what we have.

    Its convolutions have biases, which the norm behind each takes up: a bias before a norm is a
    shift of the norm's mean. Its input is BGR, so the first kernel's channels are reversed.
    """
    import h5py

    arrays: Arrays = {}
    with h5py.File(path, "r") as file:
        groups = file.get("model_weights", file)

        def collect(_: str, item: object) -> None:
            if isinstance(item, h5py.Dataset):
                # .../conv1_conv/conv1_conv/kernel:0
                layer, variable = item.name.split("/")[-2:]
                arrays[f"{layer}/{variable.partition(':')[0]}"] = np.asarray(item, np.float32)

        groups.visititems(collect)
    for name in [n for n in arrays if n.endswith("_conv/bias")]:
        mean = name.replace("_conv/bias", "_bn/moving_mean")
        if mean in arrays:
            arrays[mean] = arrays[mean] - arrays.pop(name)
    if "conv1_conv/kernel" in arrays:
        arrays["conv1_conv/kernel"] = arrays["conv1_conv/kernel"][:, :, ::-1]
    return arrays


KERAS_LAYERS = [
    (r"stem_(conv|bn)", lambda m: f"conv1_{m[1]}"),
    (r"head", lambda m: "predictions"),
    (
        r"stage(\d)_block(\d+)_(conv|bn)(\d)",
        lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_{m[4]}_{m[3]}",
    ),
    (
        r"stage(\d)_block(\d+)_shortcut_(conv|bn)",
        lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_0_{m[3]}",
    ),
]


def _keras_source(layer: str, variable: str, rank: int) -> Source:
    return Source(f"{_renamed(layer, KERAS_LAYERS)}/{variable}", lambda a: a)


TORCH = Convention(_torch_source, r"num_batches_tracked$", "fc.weight", lambda shape: shape[0])
KERAS = Convention(_keras_source, r"^$", "predictions/kernel", lambda shape: shape[1])
READERS = {
    ".safetensors": (_read_safetensors, TORCH),
    ".pth": (_read_torch, TORCH),
    ".pt": (_read_torch, TORCH),
    ".bin": (_read_torch, TORCH),
    ".h5": (_read_keras, KERAS),
}
