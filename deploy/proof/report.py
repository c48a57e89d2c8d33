"""The table that an export ends with."""

from pathlib import Path

from rich import box
from rich.table import Table


def table(artifacts: list[dict], checkpoint_top1: float, n: int, directory: Path) -> Table:
    """Return the measurements of all artifacts in ``directory``, a row each, as a rich table.

    The drop is in percentage points, the largest error is of a probability, and the time is
    one image's on one thread.
    """
    result = Table(
        title=f"On {n:,} held-out images; the checkpoint has {checkpoint_top1:.2%}",
        title_justify="left",
        box=box.SIMPLE_HEAD,  # 80 columns are enough for it
        padding=(0, 1, 0, 0),
    )
    for heading in ("file", "kB", "top-1", "drop", "agree", "max error", "ms"):
        result.add_column(heading, justify="right", no_wrap=True)
    result.columns[0].justify = "left"
    for a in artifacts:
        latency = "-" if a["latency_ms"] is None else f"{a['latency_ms']:.3f}"
        result.add_row(
            Path(a["path"]).relative_to(directory).as_posix(),
            f"{a['bytes'] / 1000:,.1f}",
            f"{a['top1']:.2%}",
            f"{a['drop']:+.2f}",
            f"{a['agreement']:.2%}",
            f"{a['max_abs_error']:.1e}",
            latency,
            style="red" if a["failures"] else None,
        )
    return result
