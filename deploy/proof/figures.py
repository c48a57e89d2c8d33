"""The pictures of a report and of an evaluation; as SVG text, which a page can hold, or as PNG."""

import base64
import io
from collections.abc import Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from PIL import Image

matplotlib.rcParams["svg.hashsalt"] = "tfresnet"  # the same figure gives the same text
MARKERS = {"tflite": "o", "onnx": "s", "saved_model": "^", "tflm": "D"}
MOST_CLASSES = 30  # that a confusion matrix can show


def trade_off(artifacts: Sequence[dict]) -> Figure:
    """Return accuracy over size and over latency, with the Pareto front of each."""
    figure = Figure(figsize=(11, 4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    for axis, (key, unit) in zip(axes, [("bytes", "kB"), ("latency_ms", "ms")], strict=True):
        scale = 1000 if key == "bytes" else 1
        points = [(a[key] / scale, 100 * a["top1"], a) for a in artifacts]
        front = pareto([(x, y) for x, y, _ in points])
        axis.plot(*zip(*front, strict=True), color="0.6", zorder=1, label="Pareto front")
        for x, y, a in points:
            axis.scatter(x, y, 60, marker=MARKERS[a["format"]], alpha=0.8, zorder=2, label=label(a))
        axis.set_xlim(0, 1.05 * max(x for x, _, _ in points))
        axis.set_xlabel(f"{'size' if key == 'bytes' else 'one image on one thread'} ({unit})")
        axis.grid(alpha=0.3)
    top1 = [100 * a["top1"] for a in artifacts]
    axes[0].set_ylim(min(top1) - 0.5, min(100.2, max(top1) + 0.5))  # half a point: less is noise
    axes[0].set_ylabel("top-1 (%)")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", fontsize=8)
    return figure


def label(artifact: dict) -> str:
    """Return a file's short name: ``int8``, ``int8 (onnx)``, ``int8_qat``."""
    stem = artifact["path"].rpartition("/")[2].partition(".")[0].removeprefix("model_")
    plain = artifact["format"] == "tflite"
    return stem if plain or stem == artifact["format"] else f"{stem} ({artifact['format']})"


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points that no other one beats: less cost (x) and at least the gain (y)."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def confusion(
    classes: np.ndarray, answers: dict[str, np.ndarray], labels: Sequence[str]
) -> Figure | None:
    """Return the confusion matrices of several models side by side; None for too many classes."""
    if len(labels) > MOST_CLASSES:
        return None
    figure = Figure(figsize=(5 * len(answers) + 1, 5), layout="constrained")
    axes = figure.subplots(1, len(answers), squeeze=False)[0]
    for axis, (title, predicted) in zip(axes, answers.items(), strict=True):
        counts = np.zeros((len(labels), len(labels)), int)
        np.add.at(counts, (classes, predicted), 1)
        shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
        axis.imshow(shares, cmap="Blues", vmin=0, vmax=1)
        axis.set_title(title, parse_math=False)
        axis.set_xlabel("answer")
        axis.set_ylabel("class")
        ticks = range(len(labels))
        axis.set_xticks(ticks, labels, rotation=90, fontsize=8, parse_math=False)
        axis.set_yticks(ticks, labels, fontsize=8, parse_math=False)
        for i, j in zip(*counts.nonzero(), strict=True):
            colour = "white" if shares[i, j] > 0.5 else "black"
            axis.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color=colour)
    return figure


def reliability(bins: Sequence[tuple[float, float, float]]) -> Figure:
    """Return accuracy over confidence, for the bins that ``metrics.reliability`` gives.

    A calibrated model is on the diagonal; below it, it is surer than it should be.
    """
    sure, right, share = np.array(bins).T
    figure = Figure(figsize=(5, 5), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
    axis.scatter(sure, right, 20 + 400 * share, alpha=0.8, label="share of the images (area)")
    axis.plot(sure, right, alpha=0.5)
    error = float((abs(sure - right) * share).sum())
    axis.set(
        xlabel="confidence", ylabel="accuracy", xlim=(0, 1.03), ylim=(0, 1.03),
        title=f"expected calibration error {error:.2%}",
    )  # fmt: skip
    axis.grid(alpha=0.3)
    axis.legend(loc="upper left")
    return figure


def layer_errors(layers: Sequence[Any]) -> Figure:
    """Return the SQNR of each layer as bars, in the order of the network."""
    figure = Figure(figsize=(11, 3.5), layout="constrained")
    axis = figure.subplots()
    names = [layer.tensor.rpartition(";")[2].split("/")[-2] for layer in layers]
    axis.bar(range(len(layers)), [min(layer.sqnr_db, 100) for layer in layers])
    axis.set_xticks(range(len(layers)), names, rotation=90, fontsize=7)
    axis.set_ylabel("SQNR (dB)")
    return figure


def picture(pixels: np.ndarray, size: int = 96) -> str:
    """Return uint8 pixels [H, W, C] as the source of an HTML image, enlarged to ``size``."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image = image.resize((size, size), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def svg(figure: Figure) -> str:
    """Return a figure as SVG text; the same figure gives the same text."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
