"""Load weights of other libraries by name: PyTorch state dicts and keras.applications files.

Reading a file gives plain arrays; code in a file is never executed. If a tensor does not fit, the
error lists it and nothing is loaded.
"""

import difflib
import re
import textwrap
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.keras2 import keras
from tfresnet.models import state_dict, torch_file
from tfresnet.models.functional import functional
from tfresnet.models.names import KERAS_APPLICATIONS, Convention, variable_kind
from tfresnet.models.network import Network
from tfresnet.models.torch_pickle import Refused
from tfresnet.runtime import probe
from tfresnet.runtime.errors import InputError

Arrays = dict[str, np.ndarray]


def read(path: Path, arch: str | None = None, entry: str | None = None) -> Arrays:
    """Return the arrays of a weights file, under the names that they have there.

    Args:
        path: a file with a suffix of ``names.LIBRARIES``.
        arch: the architecture, which a ``.weights.h5`` does not name.
        entry: which of several dicts of weights in a file of PyTorch, as ``state_dict_ema``.

    Raises:
        InputError: the file is truncated, of another kind, or has code in it.
    """
    try:
        if path.suffix == ".h5":
            return _read_keras(path, arch)
        if path.suffix == ".safetensors":
            return state_dict.plain(_read_safetensors(path))
        return state_dict.plain(state_dict.arrays(torch_file.read(path), entry))
    except InputError:
        raise
    except Refused as refused:
        raise InputError(f"{path}: expected whole weights without code, got {refused}") from None
    except Exception as error:  # each library has exceptions of its own for a damaged file
        reason = textwrap.shorten(f"{type(error).__name__}: {error}", 120, placeholder=" ...")
        raise InputError(f"{path}: expected whole weights without code: {reason}") from None


def load(
    model: Network,
    image_shape: tuple,
    arrays: Arrays,
    convention: Convention,
    with_head: bool = True,
) -> None:
    """Load a file's arrays into ``model``, all of them or none.

    Without ``with_head`` the model keeps its own head, and the file's may have any shape.

    Raises:
        InputError: names the tensors that are missing, unexpected, or of another shape.
    """
    found = fit(model, image_shape, arrays, convention, with_head)
    if found.problems():
        raise InputError(f"the weights do not fit {model.name}: {found.problems()}")
    for variable, array in found.pairs:
        variable.assign(array.astype(np.float32))


@dataclass(frozen=True)
class Fit:
    """What of a file's arrays fits a network.

    Attributes:
        pairs: the network's variables, and the arrays that are for them, in our layout.
        missing: the names that the file lacks.
        unexpected: the names that the network lacks.
        misfits: the names of arrays of another shape, with both shapes.
    """

    pairs: list[tuple[Any, np.ndarray]]
    missing: list[str]
    unexpected: list[str]
    misfits: list[str]

    def problems(self) -> str:
        """Return in words what does not fit, with the nearest names; empty if everything does."""
        near = [_nearest(name, self.unexpected) for name in self.missing]
        lists = {"missing": near, "unexpected": self.unexpected, "of another shape": self.misfits}
        return "; ".join(f"{len(v)} {k}: {_some(v)}" for k, v in lists.items() if v)


def fit(
    model: Network,
    image_shape: tuple,
    arrays: Arrays,
    convention: Convention,
    with_head: bool = True,
) -> Fit:
    """Compare a file's arrays with ``model``; the arguments are those of :func:`load`."""
    pairs, missing, misfits = [], [], []
    own = () if with_head else model.head.layers
    left = {name for name in arrays if not re.search(convention.ignored, name)}
    for layer in functional(model, image_shape).layers:
        for variable in layer.variables:
            names = convention.candidates(layer.name, variable_kind(variable))
            name = next((n for n in names if n in left), names[0])
            left.discard(name)
            if layer in own:
                continue
            if name not in arrays:
                missing.append(name)
                continue
            array, shape = arrays[name], tuple(variable.shape)
            if array.ndim == len(shape):
                array = turned(array, convention, layer.name)
            pairs.append((variable, array))
            if array.shape != shape:
                misfits.append(f"{name} (expected {shape}, got {array.shape})")
    return Fit(pairs, missing, sorted(left), misfits)


def _nearest(name: str, others: list[str]) -> str:
    close = difflib.get_close_matches(name, others, n=1, cutoff=0.7)
    return f"{name} (there is {close[0]})" if close else name


def turned(array: np.ndarray, convention: Convention, layer: str) -> np.ndarray:
    """Transpose an array of a file to the layout of our ``layer`` (PyTorch has outputs first)."""
    if convention.library == "torch" and array.ndim > 1:
        return np.moveaxis(array, (0, 1), (-1, -2))
    if convention.bgr and layer == "stem_conv" and array.ndim == 4:
        return array[:, :, ::-1]
    return array


def not_finite(arrays: Arrays) -> list[str]:
    """Return the names of arrays that hold NaN or infinity."""
    return [name for name, array in arrays.items() if not np.isfinite(array).all()]


def _some(names: list[str], most: int = 4) -> str:
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def _read_safetensors(path: Path) -> Arrays:
    from safetensors.numpy import load_file

    return {
        name: array.astype(np.float32) if array.dtype.name == "bfloat16" else array
        for name, array in load_file(path).items()  # bfloat16 as TensorFlow adds it to NumPy
    }


def _read_keras(path: Path, arch: str | None) -> Arrays:
    """Read either of Keras's formats, without biases that our networks don't have.

    ResNet's convolutions have biases there. They are subtracted from the moving mean of the batch
    normalization that follows, which has the same effect.
    """
    import h5py

    probe.check(path, ("-m", "tfresnet.models.hdf5_trial"))
    with h5py.File(path, "r") as file:
        legacy = file.get("model_weights", file)
        arrays = _legacy(legacy) if "layer_names" in legacy.attrs else None
        head = file.get("layers/dense/vars/0")
        classes = head.shape[-1] if head is not None else None
    if arrays is None:
        arrays = _named(path, arch, classes)
    for name in [n for n in arrays if n.endswith("_conv/bias")]:
        mean = name.replace("_conv/bias", "_bn/moving_mean")
        if mean in arrays:
            arrays[mean] = arrays[mean] - arrays.pop(name)
    return arrays


def _legacy(file: Any) -> Arrays:
    """Read a file of ``save_weights("x.h5")``, which names every layer."""
    return {
        f"{layer}/{weight.rpartition('/')[2].partition(':')[0]}": np.asarray(file[layer][weight])
        for layer in map(_text, file.attrs["layer_names"])
        for weight in map(_text, file[layer].attrs["weight_names"])
    }


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def _named(path: Path, arch: str | None, classes: int | None) -> Arrays:
    """Read a file of ``save_weights("x.weights.h5")``, which numbers layers instead of naming them.

    Keras's own network loads it, and gives the names of the layers.
    """
    if arch is None:
        raise InputError(f"{path} does not name its layers: give the architecture with --arch")
    if classes is None:
        raise InputError(f"{path}: expected weights of a classifier, found no dense layer")
    theirs = getattr(keras.applications, KERAS_APPLICATIONS[arch])(weights=None, classes=classes)
    theirs.load_weights(str(path))
    return {
        f"{layer.name}/{variable_kind(variable)}": variable.numpy()
        for layer in theirs.layers
        for variable in layer.variables
    }
