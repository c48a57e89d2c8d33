"""Read weights that another library wrote, and what they tell about their network.

``tfresnet convert-weights`` makes a run of them, ``train.init_from`` starts a training from them.
"""

from dataclasses import dataclass
from pathlib import Path

from tfresnet.backend import keras
from tfresnet.models import names, pretrained, zoo
from tfresnet.runtime.errors import InputError


@dataclass(frozen=True)
class WeightsFile:
    """The arrays of a file, under the names that they have there.

    Attributes:
        path: the file.
        arch: the architecture that they are of.
        arrays: NumPy arrays by name, shaped as the other library has them.
        convention: how that library names weights, and normalizes pixels.
        settings: what names and shapes tell about the network, as ``model.key=value``.
    """

    path: Path
    arch: str
    arrays: pretrained.Arrays
    convention: names.Convention
    settings: tuple[str, ...]

    def classes(self) -> int:
        """Return the number of classes of the head.

        Raises:
            InputError: there is no head, or one with fewer than two classes.
        """
        kernel = self.convention.head_kernel
        if kernel not in self.arrays:
            raise InputError(f"the weights do not fit {self.arch}: 1 missing: {kernel}")
        shape = self.arrays[kernel].shape
        classes = self.convention.classes(shape) if len(shape) == 2 else 0
        if classes < 2:
            raise InputError(
                f"{self.path}: expected a head of 2 classes or more, got a kernel of {shape}"
            )
        return classes

    def load_into(
        self, model: keras.Model, image_shape: tuple[int, int, int], with_head: bool
    ) -> None:
        """Put all weights into a model of the same structure; its head keeps its own if wished.

        Raises:
            InputError: names the arrays that are missing, unexpected, or of another shape.
        """
        pretrained.load(model, image_shape, self.arrays, self.convention, with_head)


def read(path: Path, arch: str) -> WeightsFile:
    """Return the weights in a file, for a network of an architecture; no code in it is run.

    Raises:
        InputError: no such file or architecture, a library that has no such network, or a file
            that is cut short, of another kind, or with code in it.
    """
    row = zoo.architecture(arch)
    convention = names.convention(names.library(path), arch, row.family)
    arrays = pretrained.read(path, arch)
    return WeightsFile(path, arch, arrays, convention, _settings(arrays, convention, row))


def numbered_labels(classes: int) -> tuple[str, ...]:
    """Return ``0``, ``1``, ... as the names of classes, padded so that they sort in order."""
    digits = len(str(classes - 1))
    return tuple(f"{i:0{digits}}" for i in range(classes))


def _settings(
    arrays: pretrained.Arrays, convention: names.Convention, row: zoo.Row
) -> tuple[str, ...]:
    settings = {"stem": "imagenet", "padding": convention.padding}
    if row.family == "resnet":
        settings["variant"] = "d" if "conv1.6.weight" in arrays else convention.variant
        if any(".se.fc1." in name for name in arrays):
            settings["attention"] = "se"
        if any(name.endswith(".se.conv.weight") for name in arrays):
            settings["attention"] = "eca"
    if "conv1.weight" in arrays and arrays["conv1.weight"].shape[2:] == (3, 3):
        settings["stem"] = "cifar"
    return tuple(f"model.{key}={value}" for key, value in settings.items())
