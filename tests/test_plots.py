"""Plots: what they show is not hidden by one value, by a legend, or by the frame."""

import numpy as np
import pytest
from matplotlib.figure import Figure

from tfresnet.sweep import table
from tfresnet.tasks.headings import HEADINGS
from tfresnet.training import metrics_log

LOSSES = [2.3, 1.5, 1.0, 0.8, 0.7, 0.65]

CLASSES = HEADINGS["classification"]


def records(losses: list[float]) -> list[dict]:
    return [
        {"epoch": i + 1, "step": i, "loss": loss, "accuracy": 1 - 0.1 ** (i + 1),
         "held_out_loss": loss * 1.1, "held_out_top1": 0.9, "learning_rate": 0.1}
        for i, loss in enumerate(losses)
    ]  # fmt: skip


def loss_axis(losses: list[float]):
    return metrics_log.curves(records(losses), "run: resnet8 on digits", CLASSES).axes[0]


def drawn(figure: Figure) -> Figure:
    figure.draw_without_rendering()
    return figure


def test_a_spike_does_not_flatten_the_loss():
    """It is cut off and said; the other losses take at least a third of the axis."""
    axis = loss_axis([*LOSSES[:3], 900.0, *LOSSES[3:]])
    bottom, top = axis.get_ylim()
    assert axis.get_yscale() == "linear"
    assert (max(LOSSES) - min(LOSSES)) / (top - bottom) > 1 / 3
    assert [text.get_text() for text in axis.texts] == ["cut off: up to 990"]


def test_losses_of_many_sizes_have_a_logarithmic_axis():
    axis = loss_axis([2.3, 0.5, 0.1, 0.02, 0.01])
    assert axis.get_yscale() == "log"
    assert not axis.texts
    spiked = loss_axis([2.3, 0.5, 0.1, 900.0, 0.02, 0.01])
    assert spiked.get_yscale() == "log"
    assert 0 < spiked.get_ylim()[0] < 0.01 and spiked.get_ylim()[1] < 10


@pytest.mark.parametrize("losses", [LOSSES, [2.3], [2.3, np.nan], [0.0, 0.0]], ids=str)
def test_other_losses_are_shown_whole_on_a_linear_axis(losses):
    axis = loss_axis(losses)
    assert axis.get_yscale() == "linear" and not axis.texts
    assert axis.get_ylim()[1] > 1.1 * np.nanmax(losses)


@pytest.mark.parametrize("epochs", [1, 6])
def test_the_curves_have_their_legend_beside_them(epochs):
    figure = drawn(metrics_log.curves(records(LOSSES[:epochs]), "mine: resnet8 on digits", CLASSES))
    (legend,) = figure.legends
    for axis in figure.axes:
        assert not axis.get_legend()
        assert not legend.get_window_extent().overlaps(axis.get_tightbbox())
        assert all(float(t.get_text()).is_integer() for t in axis.get_xticklabels())
    assert figure.get_suptitle() == "mine: resnet8 on digits"


def row(variant: str, top1: list[float]) -> table.Row:
    std = float(np.std(top1, ddof=1)) if len(top1) > 1 else None
    mean = float(np.mean(top1))
    return table.Row(variant, len(top1), 0, top1, value_mean=mean, value_std=std)


def test_the_dots_of_a_sweep_are_off_the_frame_and_the_legend_beside_them():
    rows = [row("base", [0.91, 0.93]), row("wide", [0.95, 0.95]), row("one", [0.90])]
    figure = drawn(table.plot("mine", rows))
    (axis,), (legend,) = figure.axes, figure.legends
    frame = axis.get_window_extent()
    for y, each in enumerate(rows):
        for top1 in each.values:
            x, height = axis.transData.transform((100 * top1, y))
            assert min(x - frame.x0, frame.x1 - x, height - frame.y0, frame.y1 - height) > 5
    assert not legend.get_window_extent().overlaps(axis.get_tightbbox())
    assert len(legend.get_texts()) == 3
