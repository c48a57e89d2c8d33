"""The section of a report about what ``--auto`` tried."""

from html import escape

from tfresnet.deploy.records import Report, TriedRecord
from tfresnet.deploy.report.figures import Section


def sections(report: Report) -> list[Section]:
    """Return the table of what was tried; none if nothing was searched."""
    if not report.ladder:
        return []
    head = "".join(f"<th>{h}</th>" for h in ("candidate", "kB", "drop", "ms", "best", "misses"))
    rows = "".join(_row(tried, report.ladder) for tried in report.ladder)
    note = (
        "The drop, in points, is that on the training images that were chosen on. Best: no other "
        "candidate has fewer bytes and a smaller drop."
    )
    table = f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
    return [("What was tried", f'{table}<p class="quiet">{note}</p>')]


def on_front(tried: TriedRecord, others: list[TriedRecord]) -> bool:
    """Tell whether no other candidate is at least as small and as accurate, and better in one."""
    if tried.bytes is None or tried.drop is None:
        return False
    return not any(
        other.bytes <= tried.bytes
        and other.drop <= tried.drop
        and (other.bytes, other.drop) != (tried.bytes, tried.drop)
        for other in others
        if other.bytes is not None and other.drop is not None
    )


def _row(tried: TriedRecord, others: list[TriedRecord]) -> str:
    cells = [
        tried.rung,
        "" if tried.bytes is None else f"{tried.bytes / 1000:,.1f}",
        "" if tried.drop is None else f"{tried.drop:+.2f}",
        "" if tried.latency_ms is None else f"{tried.latency_ms:.3f}",
        "yes" if on_front(tried, others) else "",
        "; ".join(tried.misses) or "nothing",
    ]
    return "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
