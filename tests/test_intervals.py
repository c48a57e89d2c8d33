"""Confidence intervals against SciPy's and against published values."""

import pytest
from scipy import stats

from tfresnet.tasks import intervals


@pytest.mark.parametrize(
    ("correct", "n"), [(0, 10), (1, 10), (5, 10), (10, 10), (355, 360), (9479, 10_000)]
)
def test_the_interval_of_a_share_is_wilsons(correct, n):
    expected = stats.binomtest(correct, n).proportion_ci(0.95, method="wilson")
    assert intervals.share(correct / n, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


def test_the_interval_of_a_mean_is_students():
    """Of two seeds the quantile is 12.71: 85.2 and 85.6 say little about a third."""
    low, high = intervals.mean([0.852, 0.856])
    assert (low, high) == pytest.approx((0.854 - 12.706 * 0.002, 0.854 + 12.706 * 0.002), abs=1e-5)
    values = [0.91, 0.93, 0.92, 0.915]
    expected = stats.t.interval(0.95, 3, loc=0.91875, scale=stats.sem(values))
    assert intervals.mean(values) == pytest.approx(expected)
    assert intervals.mean([0.9]) is None


def test_an_interval_is_printed_in_percent():
    assert intervals.shown((0.92081, 0.9311)) == "92.08 to 93.11"
