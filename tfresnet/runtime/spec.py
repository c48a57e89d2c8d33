"""The contract of a model: what it expects of an image, and what its outputs mean.

This is the one place where preprocessing numbers live. Both specs are written into every
run directory and into every exported file, where the device's runtime reads them.
Standard library only.
"""

import json
import math
from dataclasses import asdict, dataclass
from typing import Any

INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos")
CLASSIFICATION = "classification"  # exactly one of the labels is true of a picture
MULTI_LABEL = "multi_label"  # any number of the labels is
TASKS = (CLASSIFICATION, MULTI_LABEL)
# From train.loss to the activation that turns logits into probabilities.
ACTIVATIONS = {"cross_entropy": "softmax", "bce": "sigmoid"}


@dataclass(frozen=True)
class InputSpec:
    """What a model expects of a picture.

    A picture is turned upright (EXIF), converted to RGB
    (or to grey, where ``mean`` and ``std`` have one entry), cropped in its center to
    the largest box of the model's aspect ratio times ``crop_fraction``, resized to
    ``height`` x ``width`` (``interpolation``, antialiased), and normalized as
    ``(pixel - mean) / std`` per channel, with pixel, mean and std on the 0-255 scale.

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

    def __post_init__(self) -> None:
        sizes = (self.height, self.width)
        if not all(isinstance(size, int) and size > 0 for size in sizes):
            raise ValueError(f"expected a positive height and width, got {sizes}")
        if len(self.mean) not in (1, 3) or len(self.std) != len(self.mean) or 0 in self.std:
            raise ValueError(
                f"expected mean and std of 1 or 3 channels, got {self.mean}, {self.std}"
            )
        if self.interpolation not in INTERPOLATIONS:
            raise ValueError(f"expected one of {INTERPOLATIONS}, got {self.interpolation!r}")

    @property
    def shape(self) -> tuple[int, int, int]:
        """Height, width and channels (3, RGB, or 1, grey) of the model's input."""
        return self.height, self.width, len(self.mean)

    @property
    def decoded_side(self) -> int:
        """The shorter side, in pixels, at which an image has twice the detail that is needed.

        The device's runtime repeats this arithmetic, as that of :meth:`crop_box`.
        """
        return math.ceil(2 * max(self.height, self.width) / self.crop_fraction)

    def crop_box(self, width: int, height: int) -> tuple[int, int, int, int]:
        """Return (left, top, right, bottom) in pixels of the center crop of a width x height image.

        The device's runtime repeats this arithmetic; a test holds the two equal.
        """
        scale = min(width / self.width, height / self.height) * self.crop_fraction
        crop_width = min(width, max(1, round(self.width * scale)))
        crop_height = min(height, max(1, round(self.height * scale)))
        left, top = (width - crop_width) // 2, (height - crop_height) // 2
        return left, top, left + crop_width, top + crop_height

    def to_dict(self) -> dict[str, Any]:
        """Return a dictionary of JSON types."""
        return json.loads(json.dumps(asdict(self)))


@dataclass(frozen=True)
class OutputSpec:
    """What the outputs of a model mean.

    Attributes:
        task: ``classification`` (one label a picture) or ``multi_label`` (any number of them).
        labels: the name of each class; output i is that of ``labels[i]``.
        activation: ``softmax`` or ``sigmoid``, which turns the logits into probabilities; it goes
            with the loss that the model was trained with.

    Raises:
        ValueError: a value is none of those.
    """

    task: str
    labels: tuple[str, ...]
    activation: str = "softmax"

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise ValueError(f"expected a task of {TASKS}, got {self.task!r:.80}")
        if len(self.labels) < 2 or not all(isinstance(label, str) for label in self.labels):
            raise ValueError(f"expected at least 2 labels, got {self.labels!r:.80}")
        if self.activation not in ACTIVATIONS.values():
            raise ValueError(f"expected softmax or sigmoid, got {self.activation!r:.80}")

    @property
    def multi_label(self) -> bool:
        """Whether any number of labels may be true of a picture."""
        return self.task == MULTI_LABEL


def to_flat(spec: InputSpec, output: OutputSpec) -> dict[str, Any]:
    """Return both specs as one dictionary of JSON types, as ``spec.json`` holds them."""
    described = asdict(spec) | {
        "labels": output.labels,
        "activation": output.activation,
        "multi_label": output.multi_label,
    }
    return json.loads(json.dumps(described))


def from_flat(values: dict[str, Any]) -> tuple[InputSpec, OutputSpec]:
    """Return the specs that :func:`to_flat` described; keys that have a default may be missing.

    Raises:
        ValueError, TypeError: the values are not those of two specs.
    """
    if not isinstance(values, dict):
        raise ValueError(f"expected an input spec, got {values!r:.40}")
    rest: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in values.items()
    }
    if "labels" not in rest:
        raise ValueError("expected labels, got none")
    task = MULTI_LABEL if rest.pop("multi_label", False) else CLASSIFICATION
    output = OutputSpec(task, rest.pop("labels"), rest.pop("activation", "softmax"))
    return InputSpec(**rest), output
