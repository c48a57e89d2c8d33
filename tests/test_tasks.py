"""A task of another kind, defined here alone, goes through training and evaluation.

It gives a class to every pixel of synthetic images: several outputs, targets in a dictionary,
metrics that are accumulated as a confusion matrix.
"""

import json

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfresnet import evaluation, tasks
from tfresnet.config import loading
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import ArraySplit
from tfresnet.models import zoo
from tfresnet.models.functional import functional
from tfresnet.models.network import FeatureMaps
from tfresnet.runtime import spec
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks import headings, table
from tfresnet.tasks.base import Agreement, Task
from tfresnet.training.loop import Trainer

NAME, LABELS, SIZE = "pixels", ("dark", "bright"), 16


class Pyramid:
    """A map of logits at half the image's size, from two levels, and the share of each class."""

    def __init__(self, classes: int, dropout: float):
        conv = keras.layers.Conv2D
        self.lateral = conv(16, 1, name="lateral")
        self.up = keras.layers.UpSampling2D(name="up")
        self.concatenate = keras.layers.Concatenate(name="concatenate")
        self.logits = conv(classes, 1, dtype="float32", name="logits")
        self.pool = keras.layers.GlobalAveragePooling2D(name="pool")
        self.layers = [self.lateral, self.up, self.concatenate, self.logits, self.pool]

    def __call__(self, maps: FeatureMaps, training: bool | None = None) -> dict:
        fine, coarse = maps.levels["stage2"], self.up(self.lateral(maps.levels["stage3"]))
        logits = self.logits(self.concatenate([fine, coarse]))
        return {"map": logits, "shares": self.pool(logits)}


class Pixels(Task):
    """A class for every pixel."""

    headings = headings.Headings(
        primary="miou", heading="mIoU", fit="pixel_accuracy", fit_heading="pixels",
        axis="pixels; held-out: mIoU (%)", epoch="held-out mIoU {held_out_miou:.2%}",
        classes="{} classes a pixel", hub_metric="mean_iou",
        lines=lambda result: [f"mIoU {result['miou']:.2%}"], per_class="of each class",
        after_training=lambda result, epochs: f"mIoU {result['miou']:.2%}",
    )  # fmt: skip

    def head(self, config, num_classes):
        return Pyramid(num_classes, config.dropout)

    def targets(self, truth):
        one_hot = tf.one_hot(truth, len(self.output.labels))
        return {"map": one_hot, "shares": tf.reduce_mean(one_hot, [1, 2])}

    def loss(self, config, train):
        def per_image(targets, outputs, teacher=None):
            each = tf.nn.softmax_cross_entropy_with_logits(targets["map"], outputs["map"])
            return tf.reduce_mean(each, [1, 2])

        return per_image

    def correct(self, targets, outputs):
        right = keras.metrics.categorical_accuracy(targets["map"], outputs["map"])
        return tf.reduce_mean(right, [1, 2])

    def in_graph(self, outputs, spec, kind=""):
        return {"map": tf.argmax(outputs["map"], -1), "shares": tf.nn.softmax(outputs["shares"])}

    def predictions(self, outputs):
        return dict(outputs)

    def metrics(self):
        return ConfusionMatrix(len(self.output.labels))

    def decisions(self, predictions):
        return predictions["map"]

    def name_of(self, decision):
        return self.output.labels[round(float(decision.mean()))]

    def agreement(self, predictions, reference):
        equal = predictions["map"] == reference["map"]
        return Agreement(
            float(equal.mean()), float(np.abs(predictions["shares"] - reference["shares"]).max())
        )

    def unmirrored(self, predictions):
        return {"map": predictions["map"][:, :, ::-1], "shares": predictions["shares"]}


class ConfusionMatrix:
    """Counts of true and predicted classes; nothing else is kept of an image."""

    def __init__(self, classes: int):
        self.counts, self.images = np.zeros((classes, classes)), 0

    def update(self, predictions, truth):
        np.add.at(self.counts, (truth.ravel(), predictions["map"].ravel()), 1)
        self.images += len(truth)

    def scores(self):
        hits = np.diag(self.counts)
        union = self.counts.sum(0) + self.counts.sum(1) - hits
        return {
            "miou": float(np.mean(hits / union)),
            "loss": float(1 - hits.sum() / self.counts.sum()),
        }

    def result(self):
        return {**self.scores(), "n": self.images}


def squares(count: int, seed: int) -> ArraySplit:
    """Noise with a bright square somewhere, and which pixels, at a half of the size, are bright."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 80, (count, SIZE, SIZE, 3), np.uint8)
    maps = np.zeros((count, SIZE // 2, SIZE // 2), np.int64)
    for image, bright, corner in zip(images, maps, rng.integers(0, 4, (count, 2)), strict=True):
        y, x = corner
        bright[y : y + 4, x : x + 4] = 1
        image[2 * y : 2 * y + 8, 2 * x : 2 * x + 8] += 150
    return ArraySplit(images, maps)


@pytest.fixture
def dataset(monkeypatch):
    """A new task is a row of two tables."""
    monkeypatch.setattr(spec, "TASKS", (*spec.TASKS, NAME))
    monkeypatch.setitem(table.TASKS, NAME, Pixels)
    output = OutputSpec(NAME, LABELS)
    return Dataset(squares(64, 0), squares(30, 1), InputSpec(SIZE, SIZE), output)


def test_another_task_is_trained_measured_and_replayed(dataset, tmp_path):
    task = tasks.of(dataset.output)
    assert isinstance(task, Pixels)
    config = loading.load(
        "quickstart",
        ["train.epochs=4", "train.batch_size=8", "train.accumulate=2", "train.lr=0.1",
         "train.warmup_epochs=1", "data.crop_padding=0", "data.flip=false", "model.width=0.5",
         "model.stem=cifar", "train.strategy=mirrored", "train.devices=2"],
    )  # fmt: skip

    def build() -> keras.Model:
        shape = dataset.spec.shape
        return zoo.build(config.model, shape, len(LABELS), head=task.head)

    trainer = Trainer(config, dataset, tmp_path, build)
    trainer.run()
    records = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["loss"] < records[0]["loss"]
    # All dark has 0.375, by 3/4 of one class and none of the other.
    assert records[-1]["held_out_miou"] > 0.6
    assert records[-1]["pixel_accuracy"] > 0.8
    assert (tmp_path / "curves.png").exists()

    predict = evaluation.network_predict(trainer.model, dataset.spec, task)
    batches = evaluation.batches_of(dataset.held_out)
    found = evaluation.measure(predict, batches, task)
    assert found.result()["n"] == 30
    assert found.scores()["miou"] == records[-1]["held_out_miou"]

    # A file would be made of the twin: the same to the bit.
    twin = functional(trainer.model, dataset.spec.shape)
    replayed = evaluation.network_predict(twin, dataset.spec, task)
    images = dataset.held_out.images
    ours, theirs = (f(images) for f in (predict, replayed))
    np.testing.assert_array_equal(ours["map"], theirs["map"])
    assert task.agreement(ours, theirs) == (1.0, 0.0)
    # Mirror images have the maps' mirror images.
    _, averaged = evaluation.with_mirrored(predict, task, images)
    assert averaged["map"].shape == ours["map"].shape
