"""One self-contained page about an export: what each file costs, what it lost, and where."""

from collections.abc import Iterator
from html import escape
from pathlib import Path
from typing import Any

import numpy as np

from tfresnet.deploy.plan import INTEGER
from tfresnet.deploy.proof import figures, inspect
from tfresnet.deploy.workshop import Workshop

SHOWN = 24  # pictures on which the files disagree
EXAMINED = 20  # calibration images for the error of each layer
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem;
       color: #222; }
table { border-collapse: collapse; } td, th { padding: .25rem .75rem; text-align: right; }
td:first-child, th:first-child { text-align: left; } tr:nth-child(even) { background: #f4f4f4; }
.failed { color: #b00; } figure { display: inline-block; margin: .5rem; font-size: 12px; }
figure img { display: block; } code, pre { background: #f4f4f4; padding: .1rem .3rem; }
svg { max-width: 100%; height: auto; }
"""
HEADINGS = ("file", "kB", "gzip kB", "top-1", "drop", "agree", "max error", "ms", "integer")


def html(workshop: Workshop, report: dict[str, Any]) -> str:
    """Return the page of a finished export."""
    spec, sections = workshop.run.spec, []
    artifacts = report["artifacts"]
    compared = quantized(artifacts)
    pairs = ((a, inspect.partner(Path(a["path"]))) for a in compared)
    examined, floating = next((pair for pair in pairs if pair[1]), (None, None))
    sections.append(("Files", _table(artifacts)))
    sections.append(("Accuracy, size and latency", figures.svg(figures.trade_off(artifacts))))
    if compared:
        sections += list(_comparison(workshop, compared[0]))
    if examined and floating and not workshop.options.features:
        sections += list(_layers(workshop, examined, floating))
    sections.append(("How to run them", _how_to_run(artifacts)))
    result = workshop.run.result
    title = f"{result['arch']}, {len(spec.labels)} classes"
    preset = "settings of its own" if result["preset"] == "custom" else result["preset"]
    facts = (
        f"Trained with {preset}, seed {result['seed']}, {result['epochs']} epochs, "
        f"commit {result['commit'] or 'unknown'}. Measured on {report['n']:,} held-out images; the "
        f"checkpoint has {report['checkpoint_top1']:.2%}."
    )
    if drawn := report["calibration"]["count"]:
        seed = report["calibration"]["seed"]
        facts += f" Integer ranges are of {drawn} training images (seed {seed})."
    body = "".join(f"<h2>{heading}</h2>\n{content}\n" for heading, content in sections)
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title>'
        f"<style>{STYLE}</style><h1>{escape(title)}</h1><p>{escape(facts)}</p>{body}</html>"
    )


def quantized(artifacts: list[dict]) -> list[dict]:
    """Return the integer files that the page may look into, the one that lost least first."""
    integer = [a for a in artifacts if a["quantization"] in INTEGER and a["format"] == "tflite"]
    return sorted(integer, key=lambda a: (a["drop"], a["bytes"]))


def _comparison(workshop: Workshop, artifact: dict) -> Iterator[tuple[str, str]]:
    """Yield how a quantised file differs from the checkpoint: by class, and by picture."""
    reference, labels = workshop.reference, workshop.run.spec.labels
    name = figures.label(artifact)
    exact, found = reference.probabilities.argmax(axis=1), workshop.predicted[artifact["path"]]
    answers = {"checkpoint": exact, name: found}
    matrices = figures.confusion(reference.classes, answers, labels)
    yield (
        "Confusion: the checkpoint's and the quantised file's",
        figures.svg(matrices)
        if matrices
        else f"<p>{len(labels)} classes are too many for a picture.</p>",
    )
    different = np.flatnonzero(exact != found)
    yield (
        f"Where {name} disagrees with the checkpoint: {len(different):,} of {len(exact):,} images",
        "".join(_pictures(workshop, different[:SHOWN], exact, found)) or "<p>Nowhere.</p>",
    )


def _layers(workshop: Workshop, artifact: dict, floating: Path) -> Iterator[tuple[str, str]]:
    """Yield where a quantised file errs, layer by layer, against the ``floating`` one."""
    layers = inspect.layer_errors(
        Path(artifact["path"]).read_bytes(),
        floating.read_bytes(),
        workshop.calibration.images[:EXAMINED],
    )
    if layers:
        yield (
            f"Signal to quantisation noise of each layer of {figures.label(artifact)}, against "
            "float32",
            figures.svg(figures.layer_errors(layers)),
        )


def _pictures(
    workshop: Workshop, indices: np.ndarray, exact: np.ndarray, found: np.ndarray
) -> Iterator[str]:
    labels, classes = workshop.run.spec.labels, workshop.reference.classes
    wanted, start = {int(i) for i in indices}, 0
    for images, _, weights in workshop.held_out:
        for i in sorted(wanted & set(range(start, start + len(images)))):
            true, before, after = (escape(labels[part[i]]) for part in (classes, exact, found))
            yield (
                f'<figure><img src="{figures.picture(images[i - start].numpy())}" alt="image {i}">'
                f"{true}<br>{before} &rarr; {after}</figure>"
            )
        start += int((weights.numpy() > 0).sum())
        if not wanted or start > max(wanted):
            return


def _table(artifacts: list[dict]) -> str:
    rows = []
    for a in artifacts:
        cells = (
            figures.label(a),
            f"{a['bytes'] / 1000:,.1f}",
            "-" if a["gzip_bytes"] is None else f"{a['gzip_bytes'] / 1000:,.1f}",
            f"{a['top1']:.2%}",
            f"{a['drop']:+.2f}",
            f"{a['agreement']:.2%}",
            f"{a['max_abs_error']:.1e}",
            f"{a['latency_ms']:.3f}",
            "-" if a["format"] == "onnx" else "yes" if a["fully_integer"] else "no",
        )
        mark = ' class="failed"' if a["failures"] else ""
        rows.append(f"<tr{mark}>" + "".join(f"<td>{escape(c)}</td>" for c in cells) + "</tr>")
        rows += [f'<tr class="failed"><td colspan="9">{escape(f)}</td></tr>' for f in a["failures"]]
    head = "".join(f"<th>{h}</th>" for h in HEADINGS)
    return f"<table><tr>{head}</tr>{''.join(rows)}</table><p>Drop in percentage points.</p>"


def _how_to_run(artifacts: list[dict]) -> str:
    lines = []
    for a in artifacts:
        name = escape(a["path"].rpartition("/export/")[2])
        lines.append(f"<p>{name}</p><pre>{escape(command(a, name))}</pre>")
    return "".join(lines)


def command(artifact: dict, name: str) -> str:
    """Return what runs a file, from a shell."""
    if artifact["format"] == "saved_model":
        # It looks for versions, folders with a number for a name.
        return (
            f"mkdir -p serve/model && cp -r {name} serve/model/1 && "
            'tensorflow_model_server --model_name=model --model_base_path="$PWD/serve/model"'
        )
    if artifact["format"] == "tflm":
        return '#include "model.h"  // beside model.cc, with TFLite Micro'
    needs = "  # pip install onnxruntime" if artifact["format"] == "onnx" else ""
    return f"python bundle/classify.py {name} photo.jpg{needs}"
