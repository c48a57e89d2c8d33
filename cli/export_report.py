"""Print what an export does and what it came to."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from tfresnet.deploy.records import Report, SpeedRecord


def bar() -> Any:
    """Return the bar that shows on stderr what an export is doing."""
    from rich import progress
    from rich.console import Console

    return progress.Progress(
        progress.SpinnerColumn(),
        progress.BarColumn(bar_width=20),
        progress.MofNCompleteColumn(),
        progress.TimeElapsedColumn(),
        progress.TextColumn("{task.description}"),
        console=Console(stderr=True),
        transient=True,
    )


def show(report: "Report", run: Path, features: bool) -> None:
    """Print the table of an export and what to know of it.

    Args:
        report: of the export.
        run: the run directory.
        features: whether the files give the embedding.
    """
    from rich.console import Console

    from tfresnet.deploy.report.console import packed_lines, slower_line, table

    directory = run / "export" / ("features" if features else "")
    console = Console(width=None if sys.stdout.isatty() else 120)
    console.print(table(report, directory))
    for line in packed_lines(report):
        click.echo(line)
    if report.processor_note:
        click.echo(f"Of the ms: {report.processor_note}")
    if slower := slower_line(report):
        click.echo(slower)
    if selection := report.selection:
        click.echo(
            f"Chosen on {selection['n']:,} training images that nothing was set or tuned with:"
        )
    for tried in report.ladder or []:
        click.echo(f"  {tried.rung}: {'; '.join(tried.misses) or 'within the budget'}")
    if slim := report.slim:
        click.echo(
            f"Slim network: {slim.run}/, a run with {slim.parameters:,} parameters and "
            f"{slim.macs:,} multiply-adds"
        )
    if report.speed:
        click.echo(_speed(report.speed))
    bundle = f", for the device: {report.bundle}/" if report.bundle else ""
    where = f"{directory}/"
    click.echo(f"Files: {where}{bundle}\nWhat was lost, and where: {where}report.html")
    if report.bundle_reason:
        click.echo(f"In the bundle: {report.bundle_reason}")


def _speed(found: "SpeedRecord") -> str:
    """Return which of int8 and dynamic ranges is faster here."""
    where = f"{found.static_ms:.3f} ms with int8, {found.dynamic_ms:.3f} with dynamic ranges"
    if found.faster != "dynamic":
        return f"Faster here: {'int8' if found.faster == 'static' else 'neither'} ({where})"
    verdict = "; ".join(found.misses) or "within the budget"
    return f"Faster here: dynamic ({where}); {found.path}: {verdict}"
