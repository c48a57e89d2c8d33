"""When to end a training that no longer gets better; loads no TensorFlow."""

from collections.abc import Iterable


def stale(records: Iterable[dict], score: str, patience: int) -> bool:
    """Tell whether the last ``patience`` evaluations were no better than one before them.

    ``records`` are those of ``metrics.jsonl``, judged by the key ``score``; a patience of 0 never
    ends.
    """
    scores = [r[score] for r in records if score in r]
    return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])
