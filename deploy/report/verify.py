"""What an artifact lost: its answers against the checkpoint's, on held-out images."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from tfresnet.deploy.plan import INTEGER
from tfresnet.tasks import task as tasks
from tfresnet.tasks.headings import HEADINGS
from tfresnet.tasks.task import Task

FLOAT_TOLERANCE = {"float32": 1e-4, "float16": 1e-2}  # largest difference of a probability
TOP = 5


@dataclass(frozen=True)
class Reference:
    """The checkpoint's answers, and what is true.

    Attributes:
        probabilities: float32 [n, classes].
        classes: the true class of each image, int [n], or 1 for each that it has, [n, classes].
        task: which of the two.
        activation: what made the probabilities.
    """

    probabilities: np.ndarray
    classes: np.ndarray
    task: Task = tasks.SINGLE_LABEL
    activation: str = "softmax"

    @property
    def headline(self) -> dict:
        """What a report says of the checkpoint: ``checkpoint_top1``.

        That is None where an image has any number of labels, beside ``checkpoint_map``.
        """
        primary = self.task.primary
        return {"checkpoint_top1": None, f"checkpoint_{primary}": self.scores[primary]}

    @cached_property
    def scores(self) -> dict:
        """What the task has for numbers of the checkpoint."""
        return measure(self.probabilities, self)


def measure(probabilities: np.ndarray, reference: Reference) -> dict:
    """Return what the task has for numbers, of answers to the reference's images.

    ``top5`` is None where there are no more than 5 classes.
    """
    found = reference.task.scores(probabilities, reference.classes, reference.activation)
    if "top5" in found and probabilities.shape[1] <= TOP:
        found["top5"] = None
    return found


def compare(probabilities: np.ndarray, reference: Reference) -> dict:
    """Return what :func:`measure` does, and how far the answers are from the reference's.

    ``metric`` is the name of the number that files are judged by and ``value`` that number,
    ``drop`` how many points it is lower, ``agreement`` the share of equal decisions and
    ``max_abs_error`` the largest difference of a probability.
    """
    task, found = reference.task, measure(probabilities, reference)
    same = task.decisions(probabilities) == task.decisions(reference.probabilities)
    return found | {
        "metric": task.primary,
        "value": found[task.primary],
        "drop": 100 * (reference.scores[task.primary] - found[task.primary]),
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
        heading = HEADINGS[artifact["metric"]]
        found.append(f"{heading} dropped {artifact['drop']:.2f} points, more than {max_drop:g}")
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
