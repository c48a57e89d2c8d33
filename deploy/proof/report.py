"""The table that an export ends with."""

from rich.table import Table


def table(artifacts: list[dict], checkpoint_top1: float, n: int) -> Table:
    """Return the measurements of all artifacts, a row each, as a rich table."""
    result = Table(
        title=f"On {n:,} held-out images; the checkpoint has {checkpoint_top1:.2%}",
        title_justify="left",
    )
    for heading in ("file", "kB", "top-1", "drop", "agreement", "max error", "ms/image"):
        result.add_column(heading, justify="left" if heading == "file" else "right")
    for a in artifacts:
        latency = "-" if a["latency_ms"] is None else f"{a['latency_ms']:.3f}"
        result.add_row(
            a["path"].rpartition("/")[2],
            f"{a['bytes'] / 1000:,.1f}",
            f"{a['top1']:.2%}",
            f"{a['drop']:+.2f}",
            f"{a['agreement']:.2%}",
            f"{a['max_abs_error']:.1e}",
            latency,
            style="red" if a["failures"] else None,
        )
    return result
