"""Draw the figures of a report and of an evaluation, for a page (SVG text) or a file."""

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.colors import LinearSegmentedColormap, to_hex
from matplotlib.figure import Figure
from PIL import Image
from sklearn.metrics import confusion_matrix

from tfresnet.config.formats import FORMATS, TFLITE
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.colors import palette
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks.headings import heading

matplotlib.rcParams["svg.hashsalt"] = "tfresnet"  # the same figure gives the same text
Predictions = Mapping[str, Any]  # of each file for the held-out images, by its path
Section = tuple[str, str]  # a heading of a page, as text, and the HTML below it
COSTS = {"bytes": (1000, "size (kB)"), "latency_ms": (1, "one image on one thread (ms)")}
MOST_CLASSES = 30  # that a confusion matrix can show
SHARE = LinearSegmentedColormap.from_list("share", ["#08519c00", "#08519cff"])
INK = "#000000"  # what matplotlib draws text, axes and ticks with


def trade_off(artifacts: Sequence[ArtifactRecord]) -> list[Figure]:
    """Draw accuracy over size and over latency, each with its Pareto front."""
    return [_trade_off(artifacts, key) for key in COSTS]


def _trade_off(artifacts: Sequence[ArtifactRecord], key: str) -> Figure:
    figure = Figure(figsize=(4.8, 3.4), layout="constrained")
    axis = figure.subplots()
    scale, name = COSTS[key]
    points = [(getattr(a, key) / scale, 100 * a.value, a) for a in artifacts]
    front = pareto([(x, y) for x, y, _ in points])
    axis.plot(*zip(*front, strict=True), color="0.55", zorder=1)
    for (x, y, a), color in zip(points, colors(len(points)), strict=True):
        axis.scatter(x, y, 60, color=color, marker=FORMATS[a.format].marker[0], alpha=0.8, zorder=2)
    values = [y for _, y, _ in points]
    # Half a point of room: what is less than that is noise.
    bottom, top = min(values) - 0.5, min(100.2, max(values) + 0.5)
    axis.set(xlim=(0, 1.05 * max(x for x, _, _ in points)), ylim=(bottom, top))
    axis.set(xlabel=name, ylabel=f"{heading(artifacts[0].metric)} (%)")
    axis.grid(alpha=0.3)
    return figure


def has_front(artifacts: Sequence[ArtifactRecord]) -> bool:
    """Tell whether a Pareto front of :func:`trade_off` is a line: of more than one file."""
    fronts = (pareto([(getattr(a, key), a.value) for a in artifacts]) for key in COSTS)
    return any(len(front) > 1 for front in fronts)


def colors(count: int) -> list[str]:
    """Return ``count`` colors, ``#rrggbb``, that can be told apart; above 20 they repeat."""
    palette = matplotlib.colormaps["tab10" if count <= 10 else "tab20"]
    return [to_hex(palette(i % palette.N)) for i in range(count)]


def label(artifact: ArtifactRecord) -> str:
    """Return a file's short name: ``int8``, ``int8 (onnx)``, ``int8_qat``."""
    stem = artifact.path.rpartition("/")[2].partition(".")[0].removeprefix("model_")
    plain = FORMATS[artifact.format] is TFLITE
    return stem if plain or stem == artifact.format else f"{stem} ({artifact.format})"


def pareto(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Return the points for which no other one has less cost (x) and at least the gain (y)."""
    front: list[tuple[float, float]] = []
    for x, y in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or y > front[-1][1]:
            front.append((x, y))
    return front


def confusion(
    classes: np.ndarray, predicted: np.ndarray, labels: Sequence[str], title: str
) -> Figure | None:
    """Draw the confusion matrix of a model's predictions; None if there are too many classes.

    Args:
        classes: the true ones, int [n].
        predicted: the predicted ones, int [n].
        labels: the names of the classes.
        title: of the figure.
    """
    if len(labels) > MOST_CLASSES:
        return None
    side = max(4.8, 1.5 + 0.28 * len(labels))
    figure = Figure(figsize=(side, side), layout="constrained")
    axis = figure.subplots()
    counts = confusion_matrix(classes, predicted, labels=range(len(labels)))
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    axis.imshow(shares, cmap=SHARE, vmin=0, vmax=1)
    axis.set_title(title, parse_math=False, fontsize=10)
    axis.set(xlabel="predicted class", ylabel="true class")
    ticks = range(len(labels))
    axis.set_xticks(ticks, labels, rotation=90, fontsize=8, parse_math=False)
    axis.set_yticks(ticks, labels, fontsize=8, parse_math=False)
    for i, j in zip(*counts.nonzero(), strict=True):
        color = "white" if shares[i, j] > 0.6 else "black"
        axis.text(j, i, str(counts[i, j]), ha="center", va="center", fontsize=7, color=color)
    return figure


def reliability(bins: Sequence[tuple[float, float, float]], name: str) -> Figure:
    """Draw accuracy over confidence, for the bins that ``calibration_error.reliability`` gives.

    A calibrated model is on the diagonal; below the diagonal it is overconfident.

    Args:
        bins: of each bin the mean confidence, the accuracy and the share of the images, 0 to 1.
        name: of the model.
    """
    sure, right, share = np.array(bins).T
    figure = Figure(figsize=(5, 5.4), layout="constrained")
    axis = figure.subplots()
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", label="calibrated")
    axis.scatter(sure, right, 20 + 400 * share, color="tab:blue", alpha=0.8)
    axis.scatter([], [], 60, color="tab:blue", alpha=0.8, label="share of the images (area)")
    axis.plot(sure, right, color="tab:blue", alpha=0.5)
    error = float((abs(sure - right) * share).sum())
    axis.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1.03), ylim=(0, 1.03))
    axis.set_title(f"{name}\nexpected calibration error {error:.2%}", parse_math=False)
    axis.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=2)
    return figure


def side_by_side(drawn: Sequence[Figure]) -> str:
    """Return the HTML of figures next to each other."""
    inside = "".join(f"<figure>{svg(figure)}</figure>" for figure in drawn)
    return f'<div class="figures">{inside}</div>'


def class_table(output: OutputSpec, columns: Mapping[str, Mapping[str, float | None]]) -> str:
    """Return the HTML of a table with a row for each class, with its color.

    Args:
        output: of the model.
        columns: by their headings, the number of each class, a fraction of 1; None for none.
    """
    head = "".join(f"<th>{escape(name)}</th>" for name in ("class", *columns))
    rows = ""
    for label, color in zip(output.labels, palette(output), strict=True):
        square = f'<span class="square" style="background: #{bytes(color).hex()}"></span>'
        values = (numbers[label] for numbers in columns.values())
        cells = "".join("<td>-</td>" if v is None else f"<td>{v:.2%}</td>" for v in values)
        rows += f"<tr><td>{square}{escape(label)}</td>{cells}</tr>"
    return f'<div class="scroll"><table><tr>{head}</tr>{rows}</table></div>'


def chosen_images(
    batches: tf.data.Dataset, indices: np.ndarray
) -> Iterator[tuple[int, np.ndarray]]:
    """Yield the number and the pixels, uint8 [H, W, C], of some images of batches.

    Args:
        batches: uint8 images, truth and weights.
        indices: int [k]; the images come in the order of the batches.
    """
    wanted, start = {int(i) for i in indices}, 0
    for images, _, weights in batches:
        for i in sorted(wanted & set(range(start, start + len(images)))):
            yield i, images[i - start].numpy()
        start += int((weights.numpy() > 0).sum())
        if not wanted or start > max(wanted):
            return


def picture(pixels: np.ndarray, size: int = 96) -> str:
    """Return an image, uint8 [H, W, C], as the ``src`` of an HTML image ``size`` pixels high."""
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    width = max(1, round(size * image.width / image.height))
    image = image.resize((width, size), Image.Resampling.NEAREST)
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode()


def svg(figure: Figure) -> str:
    """Return a figure as SVG text for a page; the same figure gives the same text.

    The background is transparent, and black becomes the page's color of text, so that the figure
    can be read in a dark page too. Text stays text, in the page's font.
    """
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", metadata={"Date": None}, transparent=True)
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace("<svg ", '<svg fill="currentColor" ', 1)
    return text.replace(f"stroke: {INK}", "stroke: currentColor")
