"""The loop: it learns, resumes to the bit, and stops when the loss is no number."""

import json
import math
import os
import signal

import filelock
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.conftest import TINY
from tests.test_cli import json_of, tfresnet
from tfresnet.config import loading
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.errors import InputError
from tfresnet.training import checkpoint
from tfresnet.training.interrupt import Interrupted

EIGHT = ("data.image_size=8", "data.crop_padding=1")


def digest(run: run_directory.Run) -> str:
    return run_directory.weights_sha256(run.model())


def test_a_run_directory_is_complete(tiny_run):
    names = {path.name for path in tiny_run.directory.iterdir()}
    assert {
        "config.yaml", "spec.json", "environment.json", "result.json", "metrics.jsonl",
        "curves.png", "checkpoints", "tensorboard", "samples",
    } <= names  # fmt: skip
    lines = (tiny_run.directory / "metrics.jsonl").read_text().splitlines()
    assert [json.loads(line)["epoch"] for line in lines] == [1, 2]
    assert list((tiny_run.directory / "tensorboard").iterdir())
    assert (tiny_run.directory / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert run_directory.open_run(tiny_run.directory) == tiny_run


def test_the_loss_falls(tiny_run):
    first, last = tiny_run.records()
    assert last["loss"] < first["loss"]
    # 0.72 to 0.83 with six seeds and four sets of kernels; chance is 0.1.
    assert last["accuracy"] > 0.3


def test_another_seed_gives_other_weights(tiny_run, tmp_path):
    """And the same seed the same ones: whatever is stopped below, and goes on, ends with them."""
    other = train(loading.load("quickstart", [*TINY, "train.seed=1"]), tmp_path / "other")
    assert digest(other) != digest(tiny_run)


def test_a_finished_run_resumes_to_itself(run_copy):
    before = run_directory.open_run(run_copy)
    after = train(before.config, run_copy, resume=True)
    assert digest(after) == digest(before)
    assert after.result.test_top1 == before.result.test_top1


def test_a_finished_run_is_trained_for_more_epochs(tiny_run, run_copy):
    """Along the schedule of the new number; what it had before is kept."""
    (run_copy / "export").mkdir()
    (run_copy / "export" / "report.html").touch()
    result = tfresnet("train", "--resume", "--epochs", 3, "--run-dir", run_copy)
    assert result.exit_code == 0, result.stderr
    assert "3 epochs instead of 2, of which 2 are done: the learning rate" in result.stderr
    longer, kept = run_directory.open_run(run_copy), run_copy / "epochs2"
    assert longer.config.train.epochs == longer.result.epochs == 3
    assert loading.read(kept / "config.yaml") == tiny_run.config
    assert json.loads((kept / "result.json").read_text()) == tiny_run.result.to_dict()
    assert (kept / "export" / "report.html").exists()
    assert not (run_copy / "export").exists()
    assert longer.records()[:2] == tiny_run.records()
    (part,) = longer.environment.resumed
    assert (part.epochs, part.changed) == (2, {"train.epochs": {"from": 2, "to": 3}})
    # One epoch of warmup, then the cosine falls over the steps of two; the record has the last's.
    steps = tiny_run.records()[0]["step"]
    factor = 0.5 * (1 + math.cos(math.pi * (2 * steps - 1) / (2 * steps)))
    rate = longer.records()[-1]["learning_rate"]
    assert rate == pytest.approx(factor * longer.config.train.lr, rel=1e-3)  # of float32 near 0


@pytest.mark.parametrize(
    "overrides",
    [
        [
            "train.precision=mixed_bfloat16", "data.mixup_alpha=0.2", "data.cutmix_alpha=1.0",
            "train.label_smoothing=0.1", *EIGHT,
        ],
        [
            "train.grad_clip=5.0", "train.scheduler=step", "train.nesterov=false",
            "data.progressive={0.5: 8}", "data.repeats=2", "model.zero_gamma=true",
        ],
        [
            "train.strategy=mirrored", "train.devices=2", "train.sync_batch_norm=true",
            "train.ema_decay=0.9", *EIGHT,
        ],
    ],
    ids=lambda o: o[0],
)  # fmt: skip
def test_options_train_and_load_again(tmp_path, overrides):
    run = train(loading.load("quickstart", [*TINY, *overrides]), tmp_path / "run")
    assert run.records()[-1]["loss"] < run.records()[0]["loss"]
    assert run.model().count_params() > 0


def test_sizes_change_between_epochs_and_are_resumed_to_the_bit(tmp_path, monkeypatch):
    """A run that stops among the small images goes on with them, and ends with the large ones."""
    config = loading.load("quickstart", [*TINY, "data.progressive={0.5: 8}"])
    seeds = []
    with monkeypatch.context() as patch:
        patch.setattr("tensorflow.random.set_seed", seeds.append)
        whole = train(config, tmp_path / "whole")
    assert len(seeds) == 1  # the second size drops other units than the first did
    assert seeds != [config.train.seed]
    with pytest.raises(Interrupted):
        stopped_after(0.3, config, tmp_path / "cut", signal.SIGTERM)
    resumed = train(config, tmp_path / "cut", resume=True)
    assert digest(resumed) == digest(whole)
    assert resumed.spec.shape == (16, 16, 3)


def test_epochs_that_are_not_evaluated_do_not_change_the_others(tiny_run, tmp_path):
    run = train(loading.load("quickstart", [*TINY, "train.eval_every=2"]), tmp_path / "run")
    first, last = run.records()
    assert "held_out_top1" not in first
    assert last["held_out_top1"] == tiny_run.records()[-1]["held_out_top1"]


def test_a_directory_that_holds_a_run_is_not_overwritten(run_copy):
    before = (run_copy / "metrics.jsonl").read_text()
    with pytest.raises(InputError, match=r"already holds a run; add --resume .* or --name"):
        train(run_directory.open_run(run_copy).config, run_copy)
    assert (run_copy / "metrics.jsonl").read_text() == before


def test_resume_with_another_architecture_is_refused(run_copy):
    config = loading.load("quickstart", [*TINY, "model.arch=resnet20"])
    with pytest.raises(InputError, match=r"expected model.arch='resnet8' .* got 'resnet20'"):
        train(config, run_copy, resume=True)


def test_a_loss_that_is_no_number_stops_with_what_to_try(tmp_path):
    config = loading.load("quickstart", [*TINY, "train.lr=1e30", "train.warmup_epochs=0"])
    with pytest.raises(InputError, match=r"the loss became (nan|inf) .*lower train.lr"):
        train(config, tmp_path / "nan")


def test_bad_devices_and_batches_are_refused_and_leave_nothing_behind(tmp_path):
    for override, expected in (
        ("train.devices=64", "train.devices: expected at most 2, got 64"),
        ("train.batch_size=63", "train.batch_size: expected a multiple of the 2 devices, got 63"),
        ("train.batch_size=20000", r"train.batch_size: expected at most 1437"),
        ("data.repeats=3", "data.repeats: expected a divisor of the batch size, 64"),
    ):
        config = loading.load("quickstart", [*TINY, "train.strategy=mirrored", override])
        with pytest.raises(InputError, match=expected):
            train(config, tmp_path / "none")
        assert not (tmp_path / "none").exists()


def test_a_directory_that_is_no_run_is_explained(tmp_path):
    with pytest.raises(InputError, match=r"expected a run directory, .*none does not exist"):
        run_directory.open_run(tmp_path / "none")
    with pytest.raises(InputError, match=r"expected a run directory with config.yaml"):
        run_directory.open_run(tmp_path)


def stopped_after(epochs: float, config, directory, number: int) -> None:
    """Train until a signal comes in the first steps that reach so many epochs."""
    from tfresnet.training.loop import Trainer

    steps = Trainer.train_steps

    def signalled(self, batches, count):
        steps(self, batches, count)
        if int(self.step) >= epochs * self.steps_per_epoch:
            os.kill(os.getpid(), number)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "train_steps", signalled)
        train(config, directory)


def test_a_signal_saves_in_the_middle_of_an_epoch(tiny_run, tmp_path):
    config = loading.load("quickstart", TINY)
    with pytest.raises(Interrupted) as stopped:
        stopped_after(1.01, config, tmp_path / "cut", signal.SIGTERM)
    assert stopped.value.number == signal.SIGTERM
    cut = run_directory.open_run(tmp_path / "cut")
    step = cut.model_and_step()[1]
    assert tiny_run.records()[0]["step"] < step < tiny_run.records()[1]["step"]
    resumed = train(config, cut.directory, resume=True)
    assert digest(resumed) == digest(tiny_run)
    for key in ("loss", "accuracy", "held_out_top1"):  # of the whole epoch, not of its rest
        assert resumed.records()[-1][key] == tiny_run.records()[-1][key]
    assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL


@pytest.mark.parametrize(("epochs", "number"), [(1, signal.SIGINT), (2, signal.SIGUSR1)])
def test_a_signal_at_the_end_of_an_epoch_does_not_lose_its_record(
    tiny_run, tmp_path, epochs, number
):
    config = loading.load("quickstart", TINY)
    with pytest.raises(Interrupted) as stopped:
        stopped_after(epochs, config, tmp_path / "cut", number)
    assert stopped.value.number == number
    assert [r["epoch"] for r in run_directory.open_run(tmp_path / "cut").records()] == [1, 2][
        :epochs
    ]
    resumed = train(config, tmp_path / "cut", resume=True)
    assert [r["loss"] for r in resumed.records()] == [r["loss"] for r in tiny_run.records()]
    assert digest(resumed) == digest(tiny_run)


def test_the_checkpoint_before_a_corrupt_one_is_used(tiny_run, run_copy, capsys):
    newest = max((run_copy / "checkpoints").glob("*.data*"), key=lambda p: p.stat().st_mtime_ns)
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = train(tiny_run.config, run_copy, resume=True)
    assert digest(resumed) == digest(tiny_run)
    assert "expected a whole checkpoint of this network" in capsys.readouterr().err


def test_workers_go_back_to_a_step_that_all_have(tmp_path):
    """One that had saved once more than the others restores the checkpoint before."""
    step = tf.Variable(0, dtype=tf.int64)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.build((None, 1))
    optimizer = keras.optimizers.SGD()
    optimizer.build(model.trainable_variables)
    kept = checkpoint.manager(tmp_path / "checkpoints", model, optimizer, step)
    for value in (23, 46):
        step.assign(value)
        checkpoint.save(kept)
    assert checkpoint.newest_step(tmp_path) == 46
    checkpoint.restore_step(kept, 23)
    assert int(step) == 23
    with pytest.raises(InputError, match="expected a checkpoint of step 7"):
        checkpoint.restore_step(kept, 7)


def test_a_full_disk_leaves_the_last_good_checkpoint(tiny_run, tmp_path, monkeypatch):
    save = tf.train.CheckpointManager.save
    calls = []

    def full(self, *args, **kwargs):
        calls.append(1)
        if len(calls) == 3:  # after those of step 0 and of the first epoch
            raise OSError(28, "No space left on device")
        return save(self, *args, **kwargs)

    config = loading.load("quickstart", TINY)
    monkeypatch.setattr(tf.train.CheckpointManager, "save", full)
    with pytest.raises(InputError, match=r"No space left on device; the last good one is .*ckpt-"):
        train(config, tmp_path / "run")
    resumed = train(config, tmp_path / "run", resume=True)
    assert digest(resumed) == digest(tiny_run)
    assert [r["epoch"] for r in resumed.records()] == [1, 2]


def test_two_processes_in_one_directory_are_refused(run_copy):
    with (
        filelock.FileLock(run_copy / ".lock"),
        pytest.raises(InputError, match="another is at work in it"),
    ):
        train(run_directory.open_run(run_copy).config, run_copy, resume=True)


def test_a_dry_run_tells_what_it_would_take_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("tfresnet.training.estimate.SECONDS", 0.2)
    facts = json_of("train", "--dry-run", *(f"--set={o}" for o in TINY))
    assert facts["parameters"] == 78_042
    assert facts["steps"] == 2 * math.ceil(1437 / 64)
    # Two times three passes of every image.
    assert facts["petaflop"] == pytest.approx(
        6 * facts["macs"] * facts["steps"] * 64 / 1e15, rel=1e-3
    )
    rates = {kind: facts[f"{kind}_images_per_second"] for kind in ("input", "compute")}
    assert facts["bottleneck"] == min(rates, key=rates.get)
    assert facts["images_per_second"] > 0
    seconds = facts["steps"] * 64 / facts["images_per_second"]
    assert facts["estimated_seconds"] == pytest.approx(seconds, abs=0.06)  # to a tenth
    assert list(tmp_path.iterdir()) == []
