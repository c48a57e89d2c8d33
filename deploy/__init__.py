"""From a run to files on a device, and the numbers to trust them."""

import importlib
from typing import TYPE_CHECKING, Any

__all__ = ["Classifier", "Detector", "Embedder", "PointDetector", "Segmenter"]

if TYPE_CHECKING:
    from tfresnet.runtime.predictor import (
        Classifier,
        Detector,
        Embedder,
        PointDetector,
        Segmenter,
    )


def __getattr__(name: str) -> Any:
    """Import the device's runtime, which needs no TensorFlow, when it is first asked for."""
    if name in __all__:
        return getattr(importlib.import_module("tfresnet.runtime.predictor"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
