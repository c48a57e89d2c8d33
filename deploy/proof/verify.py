"""What an artifact lost: its answers against the checkpoint's, on held-out images."""

from dataclasses import dataclass

import numpy as np

from tfresnet import metrics
from tfresnet.deploy.plan import INTEGER

FLOAT_TOLERANCE = {"float32": 1e-4, "float16": 1e-2}  # largest difference of a probability
TOP = 5


@dataclass(frozen=True)
class Reference:
    """The checkpoint's probabilities, float32 [n, classes], and the true classes, int [n]."""

    probabilities: np.ndarray
    classes: np.ndarray

    @property
    def top1(self) -> float:
        """Accuracy as a fraction of 1."""
        return measure(self.probabilities, self.classes)["top1"]


def measure(probabilities: np.ndarray, classes: np.ndarray) -> dict:
    """Return ``top1``, ``top5``, ``loss`` and ``ece`` as ``metrics.summary`` does.

    ``top5`` is None where there are no more than 5 classes.
    """
    top1 = float((probabilities.argmax(1) == classes).mean())
    found: dict = {"top1": top1, **metrics.confidence(probabilities, classes)}
    return found | {"top5": found["top5"] if probabilities.shape[1] > TOP else None}


def compare(probabilities: np.ndarray, reference: Reference) -> dict:
    """Return what :func:`measure` does, and how far the answers are from the reference's.

    ``drop`` of top-1 is in points, ``agreement`` a fraction of 1, ``max_abs_error`` the largest
    difference of a probability.
    """
    found = measure(probabilities, reference.classes)
    same = probabilities.argmax(1) == reference.probabilities.argmax(1)
    return found | {
        "drop": 100 * (reference.top1 - found["top1"]),
        "agreement": float(same.mean()),
        "max_abs_error": float(np.abs(probabilities - reference.probabilities).max()),
    }


def failures(
    artifact: dict,
    max_drop: float,
    float_operations: list[str] | None,
    fine_tuned: bool = False,
    clusters: int = 0,
) -> list[str]:
    """Return why an artifact must not be trusted; empty if it may be.

    One that was fine-tuned is another network: in float, too, its answers may differ. A clustered
    one has at most ``clusters`` different weights in a kernel.
    """
    kind, found = artifact["quantization"], []
    if not artifact["drop"] <= max_drop:
        found.append(f"top-1 dropped {artifact['drop']:.2f} points, more than {max_drop:g}")
    tolerance = None if fine_tuned else FLOAT_TOLERANCE.get(kind)
    if tolerance and not artifact["max_abs_error"] <= tolerance:
        found.append(
            f"a probability differs by {artifact['max_abs_error']:.1e}, more than {tolerance:g}"
        )
    if kind in INTEGER and float_operations:
        shown = ", ".join(float_operations[:3])
        found.append(f"{len(float_operations)} operations are not integer: {shown}")
    unique = artifact.get("unique_weights")
    if clusters and unique is not None and unique > clusters:
        found.append(f"a kernel has {unique} different weights, more than {clusters}")
    return found
