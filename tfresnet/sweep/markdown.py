"""Tables of results as Markdown."""

import statistics
from collections.abc import Sequence


def table(rows: Sequence[dict[str, str]]) -> str:
    """Return rows with the same keys as a Markdown table, the first column left, others right."""
    from tabulate import tabulate

    align = ["left", *["right"] * (len(rows[0]) - 1)]
    return tabulate(
        [[cell.replace("|", "\\|") for cell in row.values()] for row in rows],
        list(rows[0]),
        "pipe",
        disable_numparse=True,
        colalign=align,
    )


def percent(values: Sequence[float]) -> str:
    """Return fractions of 1 as their mean in percent, with the deviation if there are several."""
    mean = f"{100 * statistics.fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * statistics.stdev(values):.2f}"
