"""What a terminal shows while a run trains."""

import io
import re

import pytest
from rich.console import Console

from tfresnet.config import loading
from tfresnet.config.sections import TrainConfig
from tfresnet.training import header
from tfresnet.training.progress import SPARE, TrainingDisplay

RECORD = {
    "loss": 0.1234, "accuracy": 0.98123, "held_out_top1": 0.97123, "images_per_second": 12_345.6,
}  # fmt: skip


def terminal(width: int) -> Console:
    return Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)


def live_row(display: TrainingDisplay) -> str:
    """The row that is shown now; it must be one."""
    with display.console.capture() as capture:
        display.console.print(display.bar.get_renderable())
    (row,) = capture.get().splitlines()
    return row


@pytest.mark.parametrize("stage", ["", "clustering"])
@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_remaining_time_has_its_place_in_every_width(width, stage):
    """And the row leaves room for ^C, which would begin a new one."""
    display = TrainingDisplay(100, 10_000, 0, stage, terminal(width))
    for step in (1, 2, 1_250):
        display.update(13, step, 12_345.6, 0.1234, 0.98123)
        row = live_row(display).rstrip()
        assert re.search(r" ETA (-:--:--|\d+:\d\d:\d\d)( |$)", row), row
        assert "epoch 13/100" in row
        assert "loss 0.123" in row or width == 60
        assert len(row) <= width - SPARE
    assert "12,346 img/s" in row or width == 60 or (stage and width == 80)


def test_before_the_first_step_there_are_no_numbers():
    row = live_row(TrainingDisplay(25, 575, 0, console=terminal(80)))
    assert row.startswith("epoch 1/25 ")
    assert "compiling the training step" in row
    assert "loss" not in row


@pytest.mark.parametrize("width", [80, 120])
def test_the_line_of_an_epoch_names_its_stage_and_is_one(width):
    display = TrainingDisplay(100, 10_000, 0, "clustering", terminal(width))
    with display.console.capture() as capture, display:
        display.epoch_line(13, RECORD)
    (line,) = [line for line in capture.get().splitlines() if "held-out" in line]
    assert line.startswith("clustering: epoch 13/100  loss 0.123  train 98.12%  held-out 97.12%")
    assert line.endswith("  0 s")
    assert len(line) <= width


def test_a_run_that_goes_on_says_where():
    display = TrainingDisplay(4, 100, 55, console=terminal(80))
    with display.console.capture() as capture, display:
        pass
    assert "epoch 3/4  going on after step 55" in capture.get()


def test_what_is_known_at_once_is_short():
    for line in header.opening(loading.load("cifar10-resnet20")).splitlines():
        assert len(line) <= 80
    assert header.opening(loading.load("quickstart")).startswith("quickstart: resnet8 on digits, ")


def test_what_more_epochs_mean_is_said():
    old = TrainConfig(epochs=30, lr=0.1)
    new = TrainConfig(epochs=60, lr=0.1)
    line = header.more_epochs(old, new, 30, old_rate=1e-6, new_rate=0.05)
    assert line.startswith(
        "60 epochs instead of 30, of which 30 are done: the learning rate, which"
    )
    assert "goes on at 0.05, where a cosine schedule of 60 epochs has it" in line
    assert header.more_epochs(old, new, 30, 0.1, 0.1).endswith("stays at 0.1")
