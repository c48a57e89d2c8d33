"""Read weights that another library wrote, and what they tell about their network.

``tfresnet convert-weights`` makes a run of them, ``train.init_from`` starts a training from them.
"""

from dataclasses import dataclass
from pathlib import Path

from tfresnet.keras2 import keras
from tfresnet.models import architectures, names, pretrained, structure, zoo
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

    def has_head(self) -> bool:
        """Return whether the file has the weights of a classifier, not only of its features."""
        return self.convention.found(self.arrays, "head") is not None

    def classes(self) -> int:
        """Return the number of classes of the head.

        Raises:
            InputError: there is no head, or one with fewer than two classes.
        """
        kernel = self.convention.found(self.arrays, "head")
        if kernel is None:
            expected = self.convention.candidates("head", "kernel")[0]
            raise InputError(
                f"the weights do not fit {self.arch}: 1 missing: {expected}; without a head of "
                "theirs, give the number of classes of a new one with --new-head"
            )
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


def read(
    path: Path,
    arch: str | None = None,
    overrides: tuple[str, ...] = (),
    entry: str | None = None,
) -> WeightsFile:
    """Return the weights in a file, and what they tell of their network; no code in it is run.

    Args:
        path: the file.
        arch: the architecture; None to find the one that fits.
        overrides: ``model.key=value`` of the network, such as its width, to find it by.
        entry: which of several dicts of weights in a file of PyTorch, as ``state_dict_ema``.

    Raises:
        InputError: no such file or architecture, a library that has no such network, none or
            several that fit, or a file that is cut short, of another kind, or with code in it.
    """
    library = names.library(path)
    arrays = pretrained.read(path, arch, entry)
    arch = arch or architectures.find(path, arrays, library, overrides)
    row = zoo.architecture(arch)
    convention = names.convention(library, arch, row.family)
    return WeightsFile(path, arch, arrays, convention, structure.settings(arrays, convention, row))


def numbered_labels(classes: int) -> tuple[str, ...]:
    """Return ``0``, ``1``, ... as the names of classes, padded so that they sort in order."""
    digits = len(str(classes - 1))
    return tuple(f"{i:0{digits}}" for i in range(classes))
