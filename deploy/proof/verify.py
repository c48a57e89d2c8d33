"""What an artifact lost: its answers against the checkpoint's, on held-out images."""

from dataclasses import dataclass

import numpy as np

from tfresnet.deploy.plan import INTEGER

FLOAT_TOLERANCE = {"float32": 1e-4, "float16": 1e-2}  # largest difference of a probability


@dataclass(frozen=True)
class Reference:
    """The checkpoint's probabilities, float32 [n, classes], and the true classes, int [n]."""

    probabilities: np.ndarray
    classes: np.ndarray

    @property
    def top1(self) -> float:
        """Accuracy as a fraction of 1."""
        return float((self.probabilities.argmax(1) == self.classes).mean())


def compare(probabilities: np.ndarray, reference: Reference) -> dict:
    """Return ``top1`` and ``agreement`` (fractions of 1), ``drop`` (points), ``max_abs_error``."""
    answers = probabilities.argmax(1)
    top1 = float((answers == reference.classes).mean())
    return {
        "top1": top1,
        "drop": 100 * (reference.top1 - top1),
        "agreement": float((answers == reference.probabilities.argmax(1)).mean()),
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
