"""The contract of a model: what it expects of an image, and what its outputs mean.

This is the one place where preprocessing numbers live. Both specs are written into every
run directory and into every exported file, where the device's runtime reads them.
Standard library only.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import asdict, dataclass
from typing import Any

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CLASSIFICATION = "classification"  # exactly one of the labels is true of a picture
MULTI_LABEL = "multi_label"  # any number of the labels is
SEGMENTATION = "segmentation"  # each pixel has one of the labels
DETECTION = "detection"  # there are boxes, each with one of the labels
POINTS = "points"  # of the boxes only the centers are found
TASKS = (CLASSIFICATION, MULTI_LABEL, SEGMENTATION, DETECTION, POINTS)
OF_OBJECTS = (DETECTION, POINTS)
FITS = ("crop", "stretch")
VOID = 255  # the class of a pixel that has none
LARGEST_SIDE = 2**14  # pixels
FORMAT_VERSION = 2  # of spec.json and of a file's metadata
# From train.loss to the activation that turns logits into probabilities.
ACTIVATIONS = {"cross_entropy": "softmax", "bce": "sigmoid"}


@dataclass(frozen=True)
class InputSpec:
    """What a model expects of a picture.

    A picture is turned upright (EXIF), converted to RGB
    (or to gray, where ``mean`` and ``std`` have one entry), cropped in its center to
    the largest box of the model's aspect ratio times ``crop_fraction``, resized to
    ``height`` x ``width`` (``interpolation``, antialiased), and normalized as
    ``(pixel - mean) / std`` per channel, with pixel, mean and std on the 0-255 scale.
    With ``fit="stretch"`` nothing is cropped: the whole picture is resized, whatever its
    aspect ratio, so that every place of the picture has one in the model's output.

    The default, mean = std = 128, maps bytes to [-1, 127/128], so that an int8
    model's input tensor holds the very bytes of the image (scale 1/128, zero point
    128 as uint8).

    Raises:
        ValueError: a value is out of range.
    """

    height: int
    width: int
    mean: tuple[float, ...] = (128.0, 128.0, 128.0)
    std: tuple[float, ...] = (128.0, 128.0, 128.0)
    crop_fraction: float = 1.0
    interpolation: str = "bilinear"
    fit: str = "crop"

    def __post_init__(self) -> None:
        sizes = (self.height, self.width)
        if not all(isinstance(size, int) and 0 < size <= LARGEST_SIDE for size in sizes):
            raise ValueError(
                f"expected a height and width from 1 to {LARGEST_SIDE}, got {sizes!r:.80}"
            )
        if not (_are_numbers(self.mean) and _are_numbers(self.std)) or (
            len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or 0 in self.std
        ):
            raise ValueError(
                f"expected mean and std of 1 or 3 channels, got {(self.mean, self.std)!r:.80}"
            )
        if not _are_numbers((self.crop_fraction,)) or not 0 < self.crop_fraction <= 1:
            raise ValueError(
                f"expected a crop_fraction above 0, at most 1, got {self.crop_fraction!r:.80}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"expected one of {INTERPOLATIONS}, got {self.interpolation!r:.80}")
        if self.fit not in FITS:
            raise ValueError(f"expected a fit of {FITS}, got {self.fit!r:.80}")
        if self.fit == "stretch" and self.crop_fraction != 1:
            raise ValueError(
                f"expected a crop_fraction of 1 with fit=stretch, got {self.crop_fraction!r:.80}"
            )

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels (3, RGB, or 1, grey) of the model's input."""
        return self.height, self.width, len(self.mean)

    @property
    def decoded_side(self) -> int:
        """The shorter side, in pixels, at which an image has twice the detail that is needed."""
        return math.ceil(2 * max(self.height, self.width) / self.crop_fraction)

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return the part of a picture that is seen, (left, top, right, bottom) in pixels."""
        if self.fit == "stretch":
            return 0, 0, width, height
        scale = min(width / self.width, height / self.height) * self.crop_fraction
        crop_width = min(width, max(1, round(self.width * scale)))
        crop_height = min(height, max(1, round(self.height * scale)))
        left, top = (width - crop_width) // 2, (height - crop_height) // 2
        return left, top, left + crop_width, top + crop_height

    @classmethod
    def from_dict(cls, values: Any) -> InputSpec:
        """Return the spec with these keys, of which those with a default may be missing.

        Raises:
            ValueError, TypeError: the values are not those of an input spec.
        """
        return cls(**_with_tuples(values, "an input spec"))


@dataclass(frozen=True)
class OutputSpec:
    """What the outputs of a model mean.

    Attributes:
        task: ``classification`` (one label a picture), ``multi_label`` (any number of them),
            ``segmentation`` (one label a pixel), ``detection`` (boxes with a label each) or
            ``points`` (their centers).
        labels: the name of each class; output i is that of ``labels[i]``.
        activation: ``softmax`` or ``sigmoid``, which turns the logits into probabilities; it goes
            with the loss that the model was trained with.
        colors: to draw each class in, as ``#rrggbb``; none where the data have none.

    Raises:
        ValueError: a value is none of those.
    """

    task: str
    labels: tuple[str, ...]
    activation: str = "softmax"
    colors: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"expected a task of {TASKS}, got {self.task!r:.80}")
        if (
            not isinstance(self.labels, tuple)
            or len(self.labels) < (1 if self.task in OF_OBJECTS else 2)
            or not all(isinstance(label, str) for label in self.labels)
        ):
            raise ValueError(f"expected at least 2 labels, got {self.labels!r:.80}")
        if self.activation not in ACTIVATIONS.values():
            raise ValueError(f"expected softmax or sigmoid, got {self.activation!r:.80}")
        if self.colors != () and not (
            isinstance(self.colors, tuple)
            and len(self.colors) == len(self.labels)
            and all(re.fullmatch("#[0-9a-f]{6}", str(color)) for color in self.colors)
        ):
            raise ValueError(f"expected a color #rrggbb of each label, got {self.colors!r:.80}")

    @property
    def multi_label(self) -> bool:
        """Whether any number of labels may be true of a picture."""
        return self.task == MULTI_LABEL

    @classmethod
    def from_dict(cls, values: Any) -> OutputSpec:
        """Return the spec with these keys, of which those with a default may be missing.

        Raises:
            ValueError, TypeError: the values are not those of an output spec.
        """
        return cls(**_with_tuples(values, "an output spec"))


def specs_to_dict(spec: InputSpec, output: OutputSpec) -> dict[str, Any]:
    """Return both specs as a dictionary of JSON types, as a run's ``spec.json`` holds them."""
    values = {"format_version": FORMAT_VERSION, "input": asdict(spec), "output": asdict(output)}
    return json.loads(json.dumps(values))


def specs_from_dict(values: Any, activation: str = "softmax") -> tuple[InputSpec, OutputSpec]:
    """Return the specs that :func:`specs_to_dict` described, also those of version 1.

    Version 1 had the keys of both beside each other, and ``multi_label`` instead of ``task``.

    Args:
        values: from JSON; keys that have a default may be missing.
        activation: of a version 1 that did not record it yet.

    Raises:
        ValueError, TypeError: the values are not those of two specs, or the version is newer.
    """
    if not isinstance(values, dict):
        raise ValueError(f"expected an input spec, got {values!r:.40}")
    if checked_version(values) == 1:
        return _version_1(values, activation)
    missing = [key for key in ("input", "output") if key not in values]
    if missing:
        raise ValueError(f"expected input and output, got no {' and no '.join(missing)}")
    return InputSpec.from_dict(values["input"]), OutputSpec.from_dict(values["output"])


def checked_version(values: dict[str, Any]) -> int:
    """Return the ``format_version`` of what was read from JSON; 1 if it has none.

    Raises:
        ValueError: this version of tfresnet does not know it.
    """
    version = values.get("format_version", 1)
    if type(version) is not int or version < 1:
        raise ValueError(f"expected a format_version from 1 on, got {version!r:.40}")
    if version > FORMAT_VERSION:
        raise ValueError(
            f"expected format_version {FORMAT_VERSION} at most, got {version}: a newer tfresnet "
            "wrote it; update this one"
        )
    return version


def _version_1(values: dict[str, Any], activation: str) -> tuple[InputSpec, OutputSpec]:
    rest = _with_tuples(values, "an input spec")
    rest.pop("format_version", None)
    if "labels" not in rest:
        raise ValueError("expected labels, got none")
    task = MULTI_LABEL if rest.pop("multi_label", False) else CLASSIFICATION
    output = OutputSpec(task, rest.pop("labels"), rest.pop("activation", activation))
    return InputSpec(**rest), output


def _with_tuples(values: Any, what: str) -> dict[str, Any]:
    """Return a dictionary from JSON, its lists as tuples."""
    if not isinstance(values, dict):
        raise ValueError(f"expected {what}, got {values!r:.40}")
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def _are_numbers(values: Any) -> bool:
    """Tell whether all of ``values`` are finite numbers."""
    return isinstance(values, tuple) and all(
        isinstance(v, (int, float)) and math.isfinite(v) for v in values
    )
