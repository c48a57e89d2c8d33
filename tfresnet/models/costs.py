"""The cost of every architecture, without building it: no TensorFlow is needed."""

import json
from importlib import resources
from typing import Any


def table() -> dict[str, dict[str, Any]]:
    """Return ``parameters macs image_size family`` of every architecture, by its name.

    They are those of a network for 1,000 classes, and of one for 10 for the CIFAR architectures, at
    the image size that the architecture was published for. ``python -m tfresnet.models.zoo`` writes
    the file; a test compares it with the networks that are built.
    """
    return json.loads((resources.files("tfresnet") / "models" / "costs.json").read_text())
