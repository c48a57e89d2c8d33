"""The table that an export ends with."""

from pathlib import Path

from rich import box
from rich.table import Table

from tfresnet.tasks.headings import judged_by

# Heading, key of a record, and form of the numbers that say how good a file's answers are.
ACCURACY = {
    "top-1": ("top1", "{:.2%}"),
    "mAP": ("map", "{:.2%}"),
    "drop": ("drop", "{:+.2f}"),
    "top-5": ("top5", "{:.1%}"),
    "F1": ("micro_f1", "{:.1%}"),
    "exact": ("exact_match", "{:.1%}"),
    "loss": ("loss", "{:.3f}"),
    "ECE": ("ece", "{:.1%}"),
    "agree": ("agreement", "{:.1%}"),
}
OF_FILES = ("drop", "agree")  # against the checkpoint, which has none


def table(report: dict, directory: Path) -> Table:
    """Return what a report says of the checkpoint and of each file in ``directory``, a row each.

    The drop is in percentage points, the loss in nats, the time one image's on one thread. It fits
    80 columns if files have no longer names than ``model_float32.tflite``.
    """
    artifacts, checkpoint = report["artifacts"], report["checkpoint"]
    result = Table(
        title=f"On {report['n']:,} held-out images; the checkpoint has "
        f"{judged_by(checkpoint)[1]:.2%}",
        title_justify="left",
        box=box.SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )
    columns = headings(checkpoint)
    for heading in ("file", "kB", *columns, "ms"):
        result.add_column(heading, justify="right", no_wrap=True)
    result.columns[0].justify = "left"
    result.add_row("checkpoint", "", *(cell(checkpoint, c) for c in columns), "")
    for a in artifacts:
        result.add_row(
            Path(a["path"]).relative_to(directory).as_posix(),
            f"{a['bytes'] / 1000:,.1f}",
            *(cell(a, c) for c in columns),
            "-" if a["latency_ms"] is None else f"{a['latency_ms']:.3f}",
            style="red" if a["failures"] else None,
        )
    return result


def headings(checkpoint: dict) -> tuple[str, ...]:
    """Return the columns about accuracy: those that the checkpoint has numbers for."""
    return tuple(
        heading
        for heading, (key, _) in ACCURACY.items()
        if heading in OF_FILES or checkpoint.get(key) is not None
    )


def cell(measured: dict, heading: str) -> str:
    """Return a number of a file, or of the checkpoint, as text; empty if it has none."""
    key, form = ACCURACY[heading]
    return form.format(measured[key]) if measured.get(key) is not None else ""
