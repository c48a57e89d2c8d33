"""Schedules, weight decay and clipping against hand-computed values."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.config import TrainConfig
from tfresnet.training.optimizers import WarmupSchedule, decays, finish_gradients


def rates(shape: str, *steps: int) -> list[float]:
    schedule = WarmupSchedule(0.4, shape, warmup_steps=10, total_steps=110)
    return [round(float(schedule(tf.constant(s))), 6) for s in steps]


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        # Warmup is linear and ends at the peak; then 0, 1/4, 1/2, 3/4 and all of the way.
        ("cosine", [0.04, 0.4, 0.4, 0.341421, 0.2, 0.058579, 0.0]),
        ("step", [0.04, 0.4, 0.4, 0.4, 0.04, 0.004, 0.004]),
        ("constant", [0.04, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]),
    ],
)
def test_schedules(shape, expected):
    assert rates(shape, 0, 9, 10, 35, 60, 85, 110) == pytest.approx(expected, abs=1e-6)


def test_without_warmup_the_first_step_has_the_peak():
    assert float(WarmupSchedule(0.4, "cosine", 0, 100)(tf.constant(0))) == pytest.approx(0.4)


def test_decay_spares_biases_and_norms():
    kernel, bias = tf.Variable(tf.ones([3, 3, 1, 1])), tf.Variable(tf.ones([4]))
    assert decays(kernel)
    assert not decays(bias)
    config = TrainConfig(weight_decay=0.01)
    zero = [tf.zeros_like(kernel), tf.zeros_like(bias)]
    with_decay = finish_gradients(zero, [kernel, bias], config)
    assert float(with_decay[0][0, 0, 0, 0]) == pytest.approx(0.01)
    assert float(tf.reduce_sum(with_decay[1])) == 0


def test_clipping_bounds_the_global_norm_before_the_decay():
    variables = [tf.Variable([3.0]), tf.Variable([4.0])]
    gradients = [tf.constant([30.0]), tf.constant([40.0])]
    clipped = finish_gradients(gradients, variables, TrainConfig(grad_clip=5.0))
    np.testing.assert_allclose([float(g[0]) for g in clipped], [3.0, 4.0], rtol=1e-6)
