"""95 % confidence intervals: of a share, and of a mean over seeds."""

import math
import statistics
from collections.abc import Sequence

LEVEL = 0.95
Z = statistics.NormalDist().inv_cdf((1 + LEVEL) / 2)  # 1.96


def share(value: float, n: int) -> tuple[float, float]:
    """Return the Wilson score interval of a share (Wilson 1927, doi:10.2307/2276774).

    It is the uncertainty of an accuracy that was measured on ``n`` images. It is written out here
    since SciPy takes longer to load than everything that shows intervals.

    Args:
        value: the measured share, 0 to 1.
        n: number of samples.
    """
    scale = 1 + Z**2 / n
    center = (value + Z**2 / (2 * n)) / scale
    reach = Z / scale * math.sqrt(value * (1 - value) / n + Z**2 / (4 * n**2))
    return max(0.0, center - reach), min(1.0, center + reach)


def mean(values: Sequence[float]) -> tuple[float, float] | None:
    """Return Student's t interval of the mean of several runs; None for a single one.

    It assumes that the results of seeds are normally distributed.
    """
    if len(values) < 2:
        return None
    from scipy.special import stdtrit

    center = statistics.fmean(values)
    quantile = float(stdtrit(len(values) - 1, (1 + LEVEL) / 2))
    reach = quantile * statistics.stdev(values) / math.sqrt(len(values))
    return center - reach, center + reach


def shown(interval: Sequence[float]) -> str:
    """Format an interval of fractions of 1 in percent: ``92.08 to 93.11``."""
    low, high = interval
    return f"{100 * low:.2f} to {100 * high:.2f}"
