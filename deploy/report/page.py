"""One self-contained page about an export: what each file costs, what it lost, and where."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from tfresnet.config.formats import FORMATS, ONNX, QUANTIZATIONS, TFLITE
from tfresnet.config.loading import dataset_name
from tfresnet.deploy import inspect
from tfresnet.deploy.context import ExportContext
from tfresnet.deploy.formats import table
from tfresnet.deploy.formats.delegates import DELEGATES
from tfresnet.deploy.report import console, figures
from tfresnet.tasks.headings import judged_by

SHOWN = 24  # pictures on which a file disagrees
EXAMINED = 20  # calibration images for the error of each layer
MOST_FAILED = 3  # failed files that are looked into
WHERE = {"all": "yes", "part": "in part"}
Decisions = Mapping[str, np.ndarray]  # of each file, by its path
Section = tuple[str, str]  # a heading, as text, and the HTML below it


def html(context: ExportContext, report: dict[str, Any], decisions: Decisions) -> str:
    """Return the page of a finished export."""
    artifacts, name = report["artifacts"], context.run.directory.resolve().name
    sections = [
        ("Files", _table(artifacts, report["checkpoint"])),
        ("Accuracy, size and latency", _costs(artifacts)),
    ]
    looked_into = examined(artifacts, report.get("chosen"))
    if looked_into and not context.run.output.multi_label:  # where one class is taken for another
        sections.append(("Confusion", _confusion(context, decisions, looked_into)))
    sections += [_disagreement(context, decisions, artifact) for artifact in looked_into]
    if not context.config.features:
        sections += _layers(context, looked_into + quantized(artifacts))
    sections.append(("Where they run", _where(artifacts)))
    sections.append(("How to run them", _how_to_run(artifacts)))
    body = "".join(f"<h2>{escape(heading)}</h2>\n{content}\n" for heading, content in sections)
    style = (resources.files("tfresnet.deploy.report") / "report.css").read_text(encoding="utf-8")
    dataset = dataset_name(context.data.dataset)
    what = f"{context.result.arch} on {dataset}, {len(context.run.output.labels)} classes"
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(name)}: {escape(what)}</title><style>\n{style}</style></head><body>\n"
        f'<h1>{escape(name)}</h1><p class="quiet">{escape(what)}</p>\n'
        f"{_verdict(artifacts)}{_facts(context, report, dataset)}{body}</body></html>\n"
    )


def _facts(context: ExportContext, report: dict[str, Any], dataset: str) -> str:
    result, calibration = context.result, report["calibration"]
    metric, value = judged_by(report, "checkpoint_")
    preset = "settings of its own" if result.preset == "custom" else result.preset
    facts = {
        "Run": context.run.directory.resolve().name,
        "Data": f"{dataset}; measured on {report['n']:,} held-out images",
        "Exported": f"{datetime.now().astimezone():%Y-%m-%d %H:%M %Z}",
        "Trained": f"with {preset}, seed {result.seed}, {result.epochs} epochs, "
        f"commit {result.commit or 'unknown'}",
        "Checkpoint": f"{value:.2%} {metric}",
    }
    if drawn := calibration["count"]:
        facts["Integer ranges"] = f"of {drawn} training images (seed {calibration['seed']})"
    if report["processor"]:
        facts["Latency"] = f"on {report['processor']}"
    items = (f"<dt>{key}</dt><dd>{escape(value)}</dd>" for key, value in facts.items())
    return f'<dl class="facts">{"".join(items)}</dl>\n'


def _verdict(artifacts: Sequence[dict]) -> str:
    """Say which files failed, and why, before anything else."""
    failed = [a for a in artifacts if a["failures"]]
    if not failed:
        return f"<p>All {len(artifacts)} files passed their checks.</p>\n"
    reasons = "".join(
        f"<li>{escape(figures.label(a))}: {escape('; '.join(a['failures']))}</li>" for a in failed
    )
    count = f"{len(failed)} of {len(artifacts)} files failed:"
    return f'<div class="failed"><p>{count}</p><ul>{reasons}</ul></div>\n'


def examined(artifacts: Sequence[dict], chosen: str | None = None) -> list[dict]:
    """Return the files that the page looks into: those that failed, the largest drop first.

    The one that ``--auto`` chose comes before them; if none failed, it is the integer TFLite file
    that lost least.
    """
    failed = sorted((a for a in artifacts if a["failures"]), key=lambda a: -a["drop"])
    found = [a for a in artifacts if a["path"] == chosen] + failed[:MOST_FAILED]
    return found or quantized(artifacts)[:1]


def quantized(artifacts: Sequence[dict]) -> list[dict]:
    """Return the integer TFLite files, the one that lost least first."""
    files = [a for a in artifacts if FORMATS[a["format"]] is TFLITE]
    integer = [a for a in files if QUANTIZATIONS[a["quantization"]].integer]
    return sorted(integer, key=lambda a: (a["drop"], a["bytes"]))


def _costs(artifacts: Sequence[dict]) -> str:
    """Return accuracy over size and latency, and a legend for both."""
    colors = figures.colors(len(artifacts))
    signs = [
        f'<li><span style="color: {color}">{FORMATS[a["format"]].marker[1]}</span> '
        f"{escape(figures.label(a))}</li>"
        for a, color in zip(artifacts, colors, strict=True)
    ]
    if figures.has_front(artifacts):
        signs.append('<li><span class="quiet">―</span> Pareto front</li>')
    return f'{_figures(figures.trade_off(artifacts))}<ul class="legend">{"".join(signs)}</ul>'


def _figures(drawn: Sequence[Figure]) -> str:
    inside = "".join(f"<figure>{figures.svg(figure)}</figure>" for figure in drawn)
    return f'<div class="figures">{inside}</div>'


def _confusion(context: ExportContext, decisions: Decisions, artifacts: Sequence[dict]) -> str:
    """Return the confusion matrices of the checkpoint and of files, next to each other."""
    reference, labels = context.reference, context.run.output.labels
    answers = {"checkpoint": reference.probabilities.argmax(axis=1)}
    answers |= {figures.label(a): decisions[a["path"]] for a in artifacts}
    drawn = [figures.confusion(reference.classes, x, labels, name) for name, x in answers.items()]
    if None in drawn:
        return f"<p>{len(labels)} classes are too many for a picture.</p>"
    return _figures([figure for figure in drawn if figure])


def _disagreement(context: ExportContext, decisions: Decisions, artifact: dict) -> Section:
    """Return the held-out images to which a file and the checkpoint give different labels."""
    name = figures.label(artifact)
    exact = context.task.decisions(context.reference.probabilities)
    found = decisions[artifact["path"]]
    changed = (exact != found).reshape(len(exact), -1)
    different = np.flatnonzero(changed.any(axis=1))
    shown = "".join(_pictures(context, different[:SHOWN], exact, found))
    return (
        f"Where {name} disagrees with the checkpoint: {len(different):,} of {len(exact):,} images",
        f'<div class="pictures">{shown}</div>' if shown else "<p>Nowhere.</p>",
    )


def _layers(context: ExportContext, candidates: Sequence[dict]) -> list[Section]:
    """Return where files err, layer by layer, against the float32 files of the same networks.

    Of the candidates that failed; if none can be compared, of the first one that can be.
    """
    found: dict[str, Section] = {}
    for artifact in candidates:
        path = Path(artifact["path"])
        if FORMATS[artifact["format"]] is not TFLITE or artifact["path"] in found:
            continue
        if found and not artifact["failures"]:
            continue
        floating = inspect.partner(path)
        images = context.calibration.images[:EXAMINED]
        if floating is None or not len(images):
            continue
        layers = inspect.layer_errors(path.read_bytes(), floating.read_bytes(), images)
        if layers:
            title = f"of each layer of {figures.label(artifact)}, against float32"
            found[artifact["path"]] = (f"Signal to quantisation noise {title}", _bars(layers))
    return list(found.values())


def _bars(layers: Sequence[inspect.LayerError]) -> str:
    """Return the SQNR of each layer as a list with bars, in the order of the network."""
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


def _pictures(
    context: ExportContext, indices: np.ndarray, exact: np.ndarray, found: np.ndarray
) -> Iterator[str]:
    classes = context.reference.classes
    wanted, start = {int(i) for i in indices}, 0
    for images, _, weights in context.held_out:
        for i in sorted(wanted & set(range(start, start + len(images)))):
            true, before, after = (
                escape(context.task.name_of(part[i])) for part in (classes, exact, found)
            )
            yield (
                f'<figure><img src="{figures.picture(images[i - start].numpy())}" alt="image {i}">'
                f"{true}<br>{before} &rarr; {after}</figure>"
            )
        start += int((weights.numpy() > 0).sum())
        if not wanted or start > max(wanted):
            return


def _table(artifacts: list[dict], checkpoint: dict) -> str:
    accuracy = console.headings(checkpoint)
    headings = ("file", "kB", "gzip kB", *accuracy, "max error", "ms", "integer")
    measured = "".join(f"<td>{console.cell(checkpoint, heading)}</td>" for heading in accuracy)
    rows = [f"<tr><td>checkpoint</td><td></td><td></td>{measured}<td></td><td></td><td></td></tr>"]
    for a in artifacts:
        cells = (
            figures.label(a),
            f"{a['bytes'] / 1000:,.1f}",
            "-" if a["gzip_bytes"] is None else f"{a['gzip_bytes'] / 1000:,.1f}",
            *(console.cell(a, heading) for heading in accuracy),
            f"{a['max_abs_error']:.1e}",
            f"{a['latency_ms']:.3f}",
            "-" if FORMATS[a["format"]] is ONNX else "yes" if a["fully_integer"] else "no",
        )
        mark = ' class="failed"' if a["failures"] else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
        rows += [
            f'<tr class="failed"><td class="reason" colspan="{len(headings)}">'
            f"<span>{escape(failure)}</span></td></tr>"
            for failure in a["failures"]
        ]
    head = "".join(f"<th>{h}</th>" for h in headings)
    table = f"<table><tr>{head}</tr>{''.join(rows)}</table>"
    return f'<div class="scroll">{table}</div><p class="quiet">Drop in percentage points.</p>'


def _where(artifacts: list[dict]) -> str:
    """Return which processors take the TFLite files, by their operations and numbers."""
    files = [a for a in artifacts if a.get("delegates")]
    if not files:
        return '<p class="quiet">There is no TFLite file.</p>'
    head = "".join(f"<th>{escape(h)}</th>" for h in ("file", *(d.processor for d in DELEGATES)))
    rows = ""
    for artifact in files:
        found = (WHERE.get(artifact["delegates"][d.name], d.refusal) for d in DELEGATES)
        cells = "".join(f"<td>{escape(x)}</td>" for x in (figures.label(artifact), *found))
        rows += f"<tr>{cells}</tr>"
    hint = "tfresnet inspect FILE names what stays on the CPU, and what to export instead."
    table = f"<table><tr>{head}</tr>{rows}</table>"
    return f'<div class="scroll">{table}</div><p class="quiet">{hint}</p>'


def _how_to_run(artifacts: list[dict]) -> str:
    lines = []
    for a in artifacts:
        name = escape(a["path"].rpartition("/export/")[2])
        lines.append(
            f"<p>{name}</p><pre>{escape(table.format_of(FORMATS[a['format']]).command(name))}</pre>"
        )
    return "".join(lines)
