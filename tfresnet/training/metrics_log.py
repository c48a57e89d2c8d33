"""Log the metrics of each epoch: ``metrics.jsonl``, TensorBoard, and ``curves.png``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf

from tfresnet.runtime.errors import InputError
from tfresnet.system.files import read_json_lines, write_text
from tfresnet.tasks.headings import Headings

if TYPE_CHECKING:
    from matplotlib.figure import Figure


IMAGES = 16  # of a batch, for TensorBoard
CURVES = ("training (accuracy: of augmented images)", "held-out")
WIDE, SPIKE = 20, 10  # see scale_losses


class MetricsLog:
    """A log with one record an epoch.

    Args:
        directory: of the run.
        first_epoch: epochs that are done; a resumed run drops the records of later ones.
        score: the key by which epochs are compared; higher is better.

    Raises:
        InputError: the folder for TensorBoard can't be written.
    """

    def __init__(self, directory: Path, first_epoch: int, score: str = "held_out_top1"):
        self.score = score
        self.path = directory / "metrics.jsonl"
        self.records = [r for r in read_json_lines(self.path) if r["epoch"] <= first_epoch]
        write_text(self.path, "".join(json.dumps(r) + "\n" for r in self.records))
        try:
            self.writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
        except tf.errors.OpError as error:
            raise InputError(
                f"expected a folder, {directory}/tensorboard: {error.message}"
            ) from None

    def is_best(self, record: dict) -> bool:
        """Return whether a new record was evaluated and is better than all before it."""
        return self.score in record and record[self.score] > max(
            (r[self.score] for r in self.records if self.score in r), default=-1.0
        )

    def add_images(self, step: int, images: np.ndarray) -> None:
        """Log training images of a step, uint8 NHWC, for TensorBoard."""
        with self.writer.as_default(step=step):
            tf.summary.image("training images", images, max_outputs=IMAGES)

    def add(self, record: dict) -> None:
        """Append a record with ``epoch``, ``step`` and any number of scalars."""
        self.records.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        with self.writer.as_default(step=record["step"]):
            for name, value in record.items():
                if name not in ("epoch", "step"):
                    tf.summary.scalar(name, value)
        self.writer.flush()


def plot(records: list[dict], title: str, path: Path, headings: Headings) -> None:
    """Draw loss, accuracy and learning rate over the epochs as a PNG."""
    curves(records, title, headings).savefig(path, dpi=120)


def curves(records: list[dict], title: str, headings: Headings) -> "Figure":
    """Return loss, accuracy and learning rate over the epochs as a matplotlib figure."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    score = f"held_out_{headings.primary}"
    evaluated = [r for r in records if score in r]
    figure = Figure(figsize=(12, 3.8), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    for axes, keys, factor in (
        (loss, ("loss", "held_out_loss"), 1),
        (accuracy, (headings.fit, score), 100),
    ):
        for part, key, label in zip((records, evaluated), keys, CURVES, strict=True):
            if not all(key in r for r in part):  # not every task has a held-out loss
                continue
            values = [factor * r[key] for r in part]
            axes.plot([r["epoch"] for r in part], values, label=label, marker=_marker(part))
    rate.plot(
        [r["epoch"] for r in records], [r["learning_rate"] for r in records],
        color="tab:green", marker=_marker(records),
    )  # fmt: skip
    held_out = [r["held_out_loss"] for r in evaluated if "held_out_loss" in r]
    scale_losses(loss, [r["loss"] for r in records], held_out)
    for axes, name in ((loss, "loss"), (accuracy, headings.axis), (rate, "learning rate")):
        axes.set(xlabel="epoch", ylabel=name)
        axes.set_xlim(records[0]["epoch"] - 0.5, records[-1]["epoch"] + 0.5)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True, steps=[1, 2, 5, 10], min_n_ticks=1))
        axes.grid(alpha=0.3)
    figure.legend(
        *accuracy.get_legend_handles_labels(), loc="outside lower center", ncols=len(CURVES)
    )
    figure.suptitle(title, parse_math=False)
    return figure


def _marker(points: list) -> str:
    """Return the marker of a curve: a single point has no line."""
    return "o" if len(points) == 1 else ""


def scale_losses(axes: Any, *curves: list[float]) -> None:
    """Scale the axis of losses so that neither a wide range nor a spike hides the rest.

    It is logarithmic if the largest is more than ``WIDE`` times the smallest. A loss of one epoch
    that is more than ``SPIKE`` times the running median is cut off, with a note.
    """
    lasting = [m for curve in curves for m in _lasting([v for v in curve if np.isfinite(v)])]
    values = [v for curve in curves for v in curve if np.isfinite(v)]
    if not values:
        return
    least, most, top = min(values), max(values), max(lasting)
    cut = most > SPIKE * top > 0
    if least > 0 and (top if cut else most) > WIDE * least:
        axes.set_yscale("log")
    if cut:
        axes.set_ylim(least / 1.5, 2 * top)
        note = f"cut off: up to {most:.3g}"
        axes.text(0.98, 0.97, note, ha="right", va="top", transform=axes.transAxes, fontsize=8)


def _lasting(values: list[float]) -> list[float]:
    """Return the running median of three; a spike at the end has no influence."""
    padded = [np.inf, *values, -np.inf]
    return [sorted(padded[i : i + 3])[1] for i in range(len(values))]
