"""The gate: decide whether a measured file may be used."""

from collections.abc import Sequence

from tfresnet.config.formats import QUANTIZATIONS
from tfresnet.runs.result import ArtifactRecord
from tfresnet.tasks.headings import heading


def failures(
    artifact: ArtifactRecord,
    max_drop: float,
    float_operations: Sequence[str] | None,
    fine_tuned: bool = False,
    clusters: int = 0,
    least_agreement: float = 0.0,
) -> list[str]:
    """Return the reasons why a file must not be used; an empty list if it passes.

    Args:
        artifact: the measured values of the file.
        max_drop: largest loss of the primary metric against the checkpoint, in percentage points.
        float_operations: operations that compute in float; None where the format does not say.
        fine_tuned: whether the network was trained after the checkpoint: the probabilities of a
            float file may then differ from the checkpoint's.
        clusters: the most different weights that a kernel of a clustered network may have; 0 for
            any number.
        least_agreement: smallest share of decisions that are the checkpoint's, 0 to 1; it replaces
            the tolerance of probabilities in tasks that have one.
    """
    kind, found = QUANTIZATIONS[artifact.quantization], []
    if not artifact.drop <= max_drop:  # also if it is not a number
        name = heading(artifact.metric)
        found.append(f"{name} dropped {artifact.drop:.2f} points, more than {max_drop:g}")
    tolerance = None if fine_tuned or least_agreement else kind.tolerance
    if tolerance and not artifact.max_abs_error <= tolerance:
        found.append(
            f"a probability differs by {artifact.max_abs_error:.1e}, more than {tolerance:g}"
        )
    if least_agreement and not fine_tuned and not artifact.agreement >= least_agreement:
        found.append(
            f"{artifact.agreement:.2%} of the decisions are the checkpoint's, less than "
            f"{least_agreement:.0%}"
        )
    if kind.integer and float_operations:
        shown = ", ".join(float_operations[:3])
        found.append(f"{len(float_operations)} operations are not integer: {shown}")
    unique = artifact.unique_weights
    if clusters and unique is not None and unique > clusters:
        found.append(f"a kernel has {unique} different weights, more than {clusters}")
    if (packed := artifact.packed) and not packed.same_weights:
        found.append("unpacked, its packed weights are not the same")
    if packed and packed.same_answers is False:
        found.append("with packed weights, TFLite Micro gives other answers")
    return found
