"""Write report.html: what each exported file costs, what it lost, and where it lost it.

The page is one file that loads nothing.
"""

import os
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timezone
from html import escape
from importlib import resources
from pathlib import Path

import numpy as np

from tfresnet.config.formats import FORMATS, ONNX, QUANTIZATIONS, TFLITE
from tfresnet.config.loading import dataset_name
from tfresnet.deploy import inspect
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.formats.delegates import DELEGATES
from tfresnet.deploy.records import CalibrationRecord, Report
from tfresnet.deploy.report import console, figures, of_boxes, of_labels, of_pixels, of_search
from tfresnet.deploy.report.console import packed_lines, slower_line
from tfresnet.deploy.report.figures import Predictions, Section
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, MULTI_LABEL, POINTS, SEGMENTATION
from tfresnet.tasks.headings import judged_by

EXAMINED = 20  # calibration images for the error of each layer
MOST_FAILED = 3  # failed files that are examined in detail
WHERE = {"all": "yes", "part": "in part"}
Artifacts = Sequence[ArtifactRecord]
# Of each task, where a file loses something: sections of the files that are examined in detail.
LOSSES: dict[str, Callable[[ExportContext, Predictions, Artifacts], list[Section]]] = {
    CLASSIFICATION: of_labels.sections,
    MULTI_LABEL: of_labels.sections,
    SEGMENTATION: of_pixels.sections,
    DETECTION: of_boxes.sections,
    POINTS: of_boxes.sections,
}


def html(context: ExportContext, report: Report, predictions: Predictions) -> str:
    """Return the page of a finished export.

    Args:
        context: of the export.
        report: its results.
        predictions: of each file, by its path, for the held-out images.
    """
    artifacts, name = report.artifacts, context.run.directory.resolve().name
    sections = [
        ("Files", _table(artifacts, report.checkpoint) + _packed(report)),
        ("Accuracy, size and latency", _costs(artifacts)),
        *of_search.sections(report),
    ]
    in_detail = examined(artifacts, report.chosen)
    sections += LOSSES[context.run.output.task](context, predictions, in_detail)
    if not context.config.features:
        sections += _layers(context.calibration.images, in_detail + quantized(artifacts))
    sections.append(("Where they run", _where(artifacts)))
    sections += _microcontrollers(artifacts)
    sections.append(("How to run them", _how_to_run(artifacts)))
    body = "".join(f"<h2>{escape(heading)}</h2>\n{content}\n" for heading, content in sections)
    style = (resources.files("tfresnet.deploy.report") / "report.css").read_text(encoding="utf-8")
    dataset = dataset_name(context.data.dataset)
    classes = context.task.headings.classes.format(len(context.run.output.labels))
    what = f"{context.result.arch} on {dataset}, {classes}"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: {escape(what)}</title><style>\n{style}</style></head><body>\n"
        f'<h1>{escape(name)}</h1><p class="quiet">{escape(what)}</p>\n'
        f"{_verdict(artifacts)}{_facts(context, report, dataset)}{body}</body></html>\n"
    )


def _facts(context: ExportContext, report: Report, dataset: str) -> str:
    result, calibration = context.result, report.calibration
    metric, value = judged_by(report.checkpoint)
    preset = "settings of its own" if result.preset == "custom" else result.preset
    facts = {
        "Run": context.run.directory.resolve().name,
        "Data": f"{dataset}; measured on {report.n:,} held-out images",
        "Exported": f"{_now():%Y-%m-%d %H:%M %Z}",
        "Trained": f"with {preset}, seed {result.seed}, {result.epochs} epochs, "
        f"commit {result.commit or 'unknown'}",
        "Checkpoint": f"{value:.2%} {metric}",
    }
    if calibration.count:
        facts["Integer ranges"] = (
            f"of {calibration.count} training images (seed {calibration.seed}), by "
            f"{calibration.method}{_rivals(calibration)}"
        )
    if report.processor:
        where = "; ".join(filter(None, (f"on {report.processor}", report.processor_note)))
        facts["Latency"] = ". ".join(filter(None, (where, slower_line(report))))
    if report.bundle_reason:
        facts["Bundle"] = report.bundle_reason
    items = (f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f'<dl class="facts">{"".join(items)}</dl>\n'


def _now() -> datetime:
    """Return the time, or that of $SOURCE_DATE_EPOCH, by which builds can be repeated."""
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    if epoch.isdecimal() and len(epoch) < 12:
        return datetime.fromtimestamp(int(epoch), timezone.utc)
    return datetime.now().astimezone()


def _rivals(calibration: CalibrationRecord) -> str:
    """Return what the method to set ranges was chosen among."""
    if not calibration.errors:
        return ""
    shown = ", ".join(f"{name} {error:.2e}" for name, error in calibration.errors.items())
    return (
        f", which is closest to the checkpoint on {calibration.chosen_on} other training images "
        f"(squared error of the outputs, as a share of their square: {shown})"
    )


def _verdict(artifacts: Artifacts) -> str:
    """Return which files failed, and why."""
    failed = [a for a in artifacts if a.failures]
    if not failed:
        return f"<p>All {len(artifacts)} files passed their checks.</p>\n"
    reasons = "".join(
        f"<li>{escape(figures.label(a))}: {escape('; '.join(a.failures))}</li>" for a in failed
    )
    count = f"{len(failed)} of {len(artifacts)} files failed:"
    return f'<div class="failed"><p>{count}</p><ul>{reasons}</ul></div>\n'


def examined(artifacts: Artifacts, chosen: str | None = None) -> list[ArtifactRecord]:
    """Return the files that the page examines in detail.

    These are the file that ``--auto`` chose and those that failed, the largest drop first; if there
    are none of either, the integer TFLite file with the smallest drop.
    """
    failed = sorted((a for a in artifacts if a.failures), key=lambda a: -a.drop)
    found = [a for a in artifacts if a.path == chosen] + failed[:MOST_FAILED]
    return found or quantized(artifacts)[:1]


def quantized(artifacts: Artifacts) -> list[ArtifactRecord]:
    """Return the integer TFLite files, the one with the smallest drop first."""
    files = [a for a in artifacts if FORMATS[a.format] is TFLITE]
    integer = [a for a in files if QUANTIZATIONS[a.quantization].integer]
    return sorted(integer, key=lambda a: (a.drop, a.bytes))


def _costs(artifacts: Artifacts) -> str:
    """Return the figures of accuracy over size and over latency, and a legend for both."""
    colors = figures.colors(len(artifacts))
    signs = [
        f'<li><span style="color: {color}">{FORMATS[a.format].marker[1]}</span> '
        f"{escape(figures.label(a))}</li>"
        for a, color in zip(artifacts, colors, strict=True)
    ]
    if figures.has_front(artifacts):
        signs.append('<li><span class="quiet">―</span> Pareto front</li>')
    drawn = figures.side_by_side(figures.trade_off(artifacts))
    return f'{drawn}<ul class="legend">{"".join(signs)}</ul>'


def _layers(images: np.ndarray, artifacts: Artifacts) -> list[Section]:
    """Return the error of each layer of files against the float32 files of the same networks.

    Shown are the first file that can be compared and all other ones that failed.

    Args:
        images: training images, uint8 [n, H, W, C].
        artifacts: a file may occur twice.
    """
    found: dict[str, Section] = {}
    for artifact in artifacts:
        if artifact.path in found or (found and not artifact.failures):
            continue
        layers = _layer_errors(artifact, images[:EXAMINED])
        if layers:
            title = f"of each layer of {figures.label(artifact)}, against float32"
            found[artifact.path] = (f"Signal to quantization noise {title}", _bars(layers))
    return list(found.values())


def _layer_errors(artifact: ArtifactRecord, images: np.ndarray) -> list[inspect.LayerError]:
    """Return the error of each layer of a file; an empty list if it can't be compared."""
    path = Path(artifact.path)
    if FORMATS[artifact.format] is not TFLITE or not len(images):
        return []
    floating = inspect.partner(path)
    if floating is None:
        return []
    return inspect.layer_errors(path.read_bytes(), floating.read_bytes(), images)


def _bars(layers: Sequence[inspect.LayerError]) -> str:
    """Return the signal to quantization noise of each layer as bars, in the network's order."""
    most = max(layer.sqnr_db for layer in layers)
    rows = []
    for layer in layers:
        name = layer.tensor.rpartition(";")[2].split("/")[-2:][0]  # without the operation
        share = 100 * max(0.0, layer.sqnr_db) / max(most, 1e-9)
        rows.append(
            f"<li><span>{escape(name)}</span>"
            f'<span class="track"><span style="width: {share:.1f}%"></span></span>'
            f'<span class="value">{layer.sqnr_db:.1f} dB</span></li>'
        )
    return f'<ul class="bars">{"".join(rows)}</ul>'


def _table(artifacts: Artifacts, checkpoint: Mapping[str, float | None]) -> str:
    """Return the table of all numbers, a row for the checkpoint and for each file."""
    accuracy = console.headings(checkpoint)
    headings = ("file", "kB", "gzip kB", *accuracy, "max error", "ms", "x float32", "integer")
    measured = "".join(f"<td>{console.cell(checkpoint, heading)}</td>" for heading in accuracy)
    rows = [f"<tr><td>checkpoint</td><td></td><td></td>{measured}{4 * '<td></td>'}</tr>"]
    for a in artifacts:
        scores = a.to_dict()
        cells = (
            figures.label(a),
            f"{a.bytes / 1000:,.1f}",
            "-" if a.gzip_bytes is None else f"{a.gzip_bytes / 1000:,.1f}",
            *(console.cell(scores, heading) for heading in accuracy),
            f"{a.max_abs_error:.1e}",
            f"{a.latency_ms:.3f}",
            "-" if a.speedup is None else f"{a.speedup:.2f}",
            "-" if FORMATS[a.format] is ONNX else "yes" if a.fully_integer else "no",
        )
        mark = ' class="failed"' if a.failures else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
        rows += [
            f'<tr class="failed"><td class="reason" colspan="{len(headings)}">'
            f"<span>{escape(failure)}</span></td></tr>"
            for failure in a.failures
        ]
    head = "".join(f"<th>{h}</th>" for h in headings)
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    note = "Drop in percentage points; x float32: how many times as fast as the float32 file here."
    return f'<div class="scroll">{table}</div><p class="quiet">{note}</p>'


def _packed(report: Report) -> str:
    """Return what packed weights change, a paragraph for each file that has them."""
    return "".join(f"<p>{escape(line)}</p>" for line in packed_lines(report))


def _where(artifacts: Artifacts) -> str:
    """Return the table of the processors that run the TFLite files."""
    files = [(a, a.delegates) for a in artifacts if a.delegates]
    if not files:
        return '<p class="quiet">There is no TFLite file.</p>'
    head = "".join(f"<th>{escape(h)}</th>" for h in ("file", *(d.processor for d in DELEGATES)))
    rows = ""
    for artifact, delegates in files:
        found = (WHERE.get(delegates[d.name], d.refusal) for d in DELEGATES)
        cells = "".join(f"<td>{escape(x)}</td>" for x in (figures.label(artifact), *found))
        rows += f"<tr>{cells}</tr>"
    hint = "tfresnet inspect FILE names what stays on the CPU, and what to export instead."
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f'<div class="scroll">{table}</div><p class="quiet">{hint}</p>'


def _microcontrollers(artifacts: Artifacts) -> list[Section]:
    """Return what the files for TFLite Micro take, and which boards have that."""
    rows = ""
    for artifact in artifacts:
        if (taken := artifact.microcontroller) is None:
            continue
        cells = (
            figures.label(artifact),
            f"{taken.flash_bytes / 1024:,.0f}",
            f"{taken.ram_bytes / 1024:,.0f}",
            ", ".join(name for name, fits in taken.boards.items() if fits) or "none",
            ", ".join(name for name, fits in taken.boards.items() if not fits) or "none",
        )
        rows += "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in cells) + "</tr>"
    if not rows:
        return []
    headings = ("file", "flash KiB", "RAM KiB", "fits", "does not fit")
    head = "".join(f"<th>{heading}</th>" for heading in headings)
    hint = "With TFLite Micro's code, which is estimated. tfresnet fit FILE has the sources."
    table = f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'
    return [("On microcontrollers", f'{table}<p class="quiet">{hint}</p>')]


def _how_to_run(artifacts: Artifacts) -> str:
    """Return a command line for each file."""
    lines = []
    for artifact in artifacts:
        name = escape(artifact.path.rpartition("/export/")[2])
        command = table.format_of(FORMATS[artifact.format]).command(name)
        lines.append(f"<p>{name}</p><pre>{escape(command)}</pre>")
    return "".join(lines)
