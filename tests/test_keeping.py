"""Which epoch is kept, when training stops early, and what happens when the loss is lost."""

import math
import os
import signal

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TINY
from tfresnet.config import loading
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.errors import InputError
from tfresnet.training.interrupt import Interrupted
from tfresnet.training.loop import Trainer

STEPS = math.ceil(1437 / 64)


def tiny(directory, *overrides: str, resume: bool = False) -> run_directory.Run:
    return train(loading.load("quickstart", [*TINY, *overrides]), directory, resume)


def scores_of(monkeypatch, scores: list[float]) -> None:
    """Let the epochs be evaluated to these held-out accuracies."""
    left = iter(scores)
    answer = lambda self: {"held_out_top1": next(left), "held_out_loss": 1.0}  # noqa: E731
    monkeypatch.setattr(Trainer, "_evaluate", answer)


@pytest.mark.parametrize(
    "average",
    [(), pytest.param(("train.ema_decay=0.9",), marks=pytest.mark.slow)],
    ids=["plain", "average"],
)
def test_the_best_epoch_is_kept_and_patience_ends_the_run(tmp_path, monkeypatch, capsys, average):
    scores_of(monkeypatch, [0.2, 0.5, 0.4, 0.5])
    settings = ("train.keep=best", "train.patience=2", "train.epochs=6", *average)
    run = tiny(tmp_path / "run", *settings)
    assert [r["epoch"] for r in run.records()] == [1, 2, 3, 4]
    assert run.result.epochs == 4
    assert run.model_and_step()[1] == 2 * STEPS
    assert "measure what comes out on others" in capsys.readouterr().err
    digest = run_directory.weights_sha256(run.model())
    again = tiny(tmp_path / "run", *settings, resume=True)  # it does not go on
    assert len(again.records()) == 4
    assert run_directory.weights_sha256(again.model()) == digest


def test_the_last_epoch_is_kept_by_default(tiny_run):
    assert tiny_run.model_and_step()[1] == 2 * STEPS
    assert not (tiny_run.directory / "checkpoints" / "best").exists()


def lose_the_loss(monkeypatch, variable: int, at: int, signal_at: int) -> None:
    """Spoil a variable once, when step ``at`` is reached; then send SIGTERM at ``signal_at``."""
    steps, spoilt = Trainer.train_steps, []

    def spoiling(self, batches, count):
        if int(self.step) >= at and not spoilt:
            spoilt.append(True)
            kernel = self.model.trainable_variables[variable]
            kernel.assign(tf.fill(kernel.shape, np.nan))
        elif spoilt and int(self.step) >= signal_at:
            os.kill(os.getpid(), signal.SIGTERM)
        steps(self, batches, count)

    monkeypatch.setattr(Trainer, "train_steps", spoiling)


@pytest.mark.parametrize(
    "variable", [0, pytest.param(-1, marks=pytest.mark.slow)], ids=["behind a ReLU", "in the head"]
)
def test_a_lost_loss_goes_back_and_halves_the_rate_also_after_a_resume(
    tmp_path, monkeypatch, capsys, variable
):
    settings = ("train.on_nan=rollback", "train.scheduler=constant")
    with monkeypatch.context() as patch:
        lose_the_loss(patch, variable, at=STEPS + 5, signal_at=STEPS + 3)
        with pytest.raises(Interrupted):
            tiny(tmp_path / "run", *settings)
    error = capsys.readouterr().err
    assert f"back to step {STEPS}, at 0.5 of the learning rate" in error
    run = tiny(tmp_path / "run", *settings, resume=True)
    first, last = run.records()
    assert last["learning_rate"] == pytest.approx(first["learning_rate"] / 2)
    assert last["loss"] < first["loss"]


def test_weights_too_large_for_any_answer_go_back_too(tmp_path, monkeypatch, capsys):
    """They are finite, and so was the loss: only the held-out images tell."""
    epoch, spoilt = Trainer._train_epoch, []

    def spoiling(self, number, *rest):
        record = epoch(self, number, *rest)
        if number == 2 and not spoilt:
            spoilt.append(True)
            for kernel in self.model.trainable_variables:
                kernel.assign(tf.fill(kernel.shape, 1e30))
        return record

    monkeypatch.setattr(Trainer, "_train_epoch", spoiling)
    run = tiny(tmp_path / "run", "train.on_nan=rollback", "train.scheduler=constant")
    error = capsys.readouterr().err
    assert f"the answers for 360 of 360 images are NaN at step {2 * STEPS}" in error
    assert f"back to step {STEPS}, at 0.5 of the learning rate" in error
    assert math.isfinite(run.result.test["loss"])


def test_a_rate_that_never_works_stops_all_the_same(tmp_path):
    with pytest.raises(InputError, match=r"the loss became .*0.03125 of the rate was tried"):
        tiny(tmp_path / "run", "train.on_nan=rollback", "train.lr=1e30", "train.warmup_epochs=0")


def test_a_folder_that_cannot_be_written_is_found_before_training(tmp_path, monkeypatch):
    def full(self, *args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    monkeypatch.setattr(Trainer, "train_steps", lambda *_: pytest.fail("it trained"))
    with pytest.raises(InputError, match="No space left on device"):
        tiny(tmp_path / "run")


def test_a_long_run_says_what_holds_it_up_and_shows_its_images(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("tfresnet.training.progress.SETTLED", 0.0)
    run = tiny(tmp_path / "run")
    error = capsys.readouterr().err
    assert error.count("is the bottleneck") == 1
    events = next((run.directory / "tensorboard").glob("events*"))
    tags = {
        value.tag
        for record in tf.data.TFRecordDataset(str(events))
        for value in tf.compat.v1.Event.FromString(record.numpy()).summary.value
    }
    assert {"training images", "loss", "held_out_top1"} <= tags
