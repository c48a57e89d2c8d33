"""Early stopping; loads no TensorFlow."""

from collections.abc import Iterable

from tfresnet.config.sections import DataConfig


def score_key(config: DataConfig, primary: str) -> str:
    """Return the key of an epoch's record that tells how good it is.

    Args:
        config: the data section.
        primary: the number of the task, such as ``top1``.
    """
    part = "validation" if config.validation_fraction else "held_out"
    return f"{part}_{primary}"


def stale(records: Iterable[dict], score: str, patience: int) -> bool:
    """Return whether the last ``patience`` evaluations were no better than an earlier one.

    Args:
        records: of ``metrics.jsonl``.
        score: the key that they are compared by; higher is better.
        patience: evaluations; 0 never stops.
    """
    scores = [r[score] for r in records if score in r]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])
