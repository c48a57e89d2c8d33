"""The table that an export prints at its end."""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from rich import box
from rich.table import Table

from tfresnet.deploy import choice
from tfresnet.deploy.records import Report
from tfresnet.tasks.headings import judged_by

# Heading, key of a record, and format of the numbers that say how good predictions are.
ACCURACY = {
    "top-1": ("top1", "{:.2%}"),
    "mAP50": ("map50", "{:.2%}"),
    "mAP": ("map", "{:.2%}"),
    "mIoU": ("miou", "{:.2%}"),
    "drop": ("drop", "{:+.2f}"),
    "top-5": ("top5", "{:.1%}"),
    "F1": ("micro_f1", "{:.1%}"),
    "F1 (0.3)": ("f1", "{:.1%}"),  # of points with at least that score
    "pixels": ("pixel_accuracy", "{:.1%}"),
    "exact": ("exact_match", "{:.1%}"),
    "loss": ("loss", "{:.3f}"),
    "ECE": ("ece", "{:.1%}"),
    "agree": ("agreement", "{:.1%}"),
}
OF_FILES = ("drop", "agree")  # compare a file with the checkpoint, which has none of them


def table(report: Report, directory: Path) -> Table:
    """Return a table with a row for the checkpoint and for each file.

    The drop is in percentage points, the loss in nats, the time that of one image on one thread. It
    fits 80 columns if no file has a longer name than ``model_float32.tflite``.

    Args:
        report: of an export.
        directory: folder of the files, which are named by their paths in it.
    """
    result = Table(
        title=f"On {report.n:,} held-out images; the checkpoint has "
        f"{judged_by(report.checkpoint)[1]:.2%}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = headings(report.checkpoint)
    for heading in ("file", "kB", *columns, "ms"):
        result.add_column(heading, justify="right", no_wrap=True)
    result.columns[0].justify = "left"
    result.add_row("checkpoint", "", *(cell(report.checkpoint, c) for c in columns), "")
    for artifact in report.artifacts:
        scores, latency = artifact.to_dict(), artifact.latency_ms
        result.add_row(
            Path(artifact.path).relative_to(directory).as_posix(),
            f"{artifact.bytes / 1000:,.1f}",
            *(cell(scores, c) for c in columns),
            "-" if math.isnan(latency) else f"{latency:.3f}",
            style="red" if artifact.failures else None,
        )
    return result


def packed_lines(report: Report) -> Iterator[str]:
    """Yield a line for each file that there is with packed weights too: what that changes."""
    for artifact in report.artifacts:
        if packed := artifact.packed:
            share = packed.bytes / packed.unpacked_bytes
            checked = "weights and answers" if packed.same_answers else "weights"
            yield (
                f"{packed.path.rpartition('/export/')[2]}: the same {checked} in {share:.0%} of "
                f"the flash ({packed.bytes / 1000:,.1f} instead of "
                f"{packed.unpacked_bytes / 1000:,.1f} kB); RAM {packed.arena_bytes / 1000:,.1f} "
                f"instead of {packed.unpacked_arena_bytes / 1000:,.1f} kB"
            )


def slower_line(report: Report) -> str | None:
    """Return which integer files are slower than float32 on this machine; None if none are."""
    found = [
        f"{artifact.path.rpartition('/export/')[2]} ({1 / artifact.speedup:.2f} x its time)"
        for artifact in choice.slower(report.artifacts)
        if artifact.speedup
    ]
    return f"Slower than float32 on this machine: {', '.join(found)}" if found else None


def headings(checkpoint: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the columns about accuracy: those that the checkpoint has numbers for."""
    return tuple(
        heading
        for heading, (key, _) in ACCURACY.items()
        if heading in OF_FILES or checkpoint.get(key) is not None
    )


def cell(scores: Mapping[str, Any], heading: str) -> str:
    """Return a number of a file, or of the checkpoint, as text; empty if there is none."""
    key, form = ACCURACY[heading]
    return form.format(scores[key]) if scores.get(key) is not None else ""
