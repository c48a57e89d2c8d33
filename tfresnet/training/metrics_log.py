"""A run's numbers over time: ``metrics.jsonl``, TensorBoard, and ``curves.png``."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import tensorflow as tf

from tfresnet.errors import UserError
from tfresnet.files import read_json_lines, write_text

if TYPE_CHECKING:
    from tfresnet.tasks import Task

IMAGES = 16  # of a batch, for TensorBoard


class MetricsLog:
    """One record an epoch. A resumed run drops the records after its checkpoint."""

    def __init__(self, directory: Path, first_epoch: int, score: str = "held_out_top1"):
        self.score = score  # the key of records by which one epoch is better than another
        self.path = directory / "metrics.jsonl"
        self.records = [r for r in read_json_lines(self.path) if r["epoch"] <= first_epoch]
        write_text(self.path, "".join(json.dumps(r) + "\n" for r in self.records))
        try:
            self.writer = tf.summary.create_file_writer(str(directory / "tensorboard"))
        except tf.errors.OpError as error:
            raise UserError(
                f"expected a folder, {directory}/tensorboard: {error.message}"
            ) from None

    def is_best(self, record: dict) -> bool:
        """Tell whether a new record was evaluated, better than all before it."""
        return self.score in record and record[self.score] > max(
            (r[self.score] for r in self.records if self.score in r), default=-1.0
        )

    def stale(self, patience: int) -> bool:
        """Tell whether the last ``patience`` evaluations were no better than one before them."""
        scores = [r[self.score] for r in self.records if self.score in r]
        return 0 < patience < len(scores) and max(scores[-patience:]) <= max(scores[:-patience])

    def add_images(self, step: int, images: np.ndarray) -> None:
        """Show uint8 NHWC images as what the network sees at a step."""
        with self.writer.as_default(step=step):
            tf.summary.image("training images", images, max_outputs=IMAGES)

    def add(self, record: dict) -> None:
        """Write a record with ``epoch``, ``step`` and any number of scalars."""
        self.records.append(record)
        with self.path.open("a") as file:
            file.write(json.dumps(record) + "\n")
        with self.writer.as_default(step=record["step"]):
            for name, value in record.items():
                if name not in ("epoch", "step"):
                    tf.summary.scalar(name, value)
        self.writer.flush()


def plot(records: list[dict], title: str, path: Path, task: "Task") -> None:
    """Draw loss, accuracy and learning rate over the epochs as a PNG."""
    from matplotlib.figure import Figure

    epochs = [r["epoch"] for r in records]
    score = f"held_out_{task.primary}"
    evaluated = [r for r in records if score in r]
    figure = Figure(figsize=(12, 3.6), layout="constrained")
    loss, accuracy, rate = figure.subplots(1, 3)
    loss.plot(epochs, [r["loss"] for r in records], label="training")
    loss.plot([r["epoch"] for r in evaluated], [r["held_out_loss"] for r in evaluated],
              label="held-out")  # fmt: skip
    accuracy.plot(epochs, [100 * r[task.fit] for r in records], label="training (augmented)")
    accuracy.plot([r["epoch"] for r in evaluated], [100 * r[score] for r in evaluated],
                  label="held-out")  # fmt: skip
    rate.plot(epochs, [r["learning_rate"] for r in records], color="tab:green")
    for axes, name in ((loss, "loss"), (accuracy, task.axis), (rate, "learning rate")):
        axes.set(xlabel="epoch", ylabel=name)
        axes.grid(alpha=0.3)
    loss.legend()
    accuracy.legend()
    figure.suptitle(title, parse_math=False)
    figure.savefig(path, dpi=120)
