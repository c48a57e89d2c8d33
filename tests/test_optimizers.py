"""Schedules, weight decay and clipping against hand-computed values."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.models import zoo
from tfresnet.training import optimizers
from tfresnet.training.optimizers import WarmupSchedule, decays, finish_gradients, make_optimizer


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


def one_cycle_lr(step: int, total: int, warmup: int) -> float:
    """PyTorch's OneCycleLR with its defaults and max_lr=1, cosines between its milestones."""
    first, last = 1 / 25, 1 / 25 / 1e4
    peak, end = warmup - 1, total - 1
    if step <= peak:
        start, stop, share = first, 1.0, step / peak
    else:
        start, stop, share = 1.0, last, (step - peak) / (end - peak)
    return stop + (start - stop) / 2 * (1 + math.cos(math.pi * share))


@pytest.mark.parametrize(("total", "warmup"), [(100, 30), (12, 4), (7, 3), (10, 0)])
def test_one_cycle_has_the_rates_of_pytorchs(total, warmup):
    schedule = WarmupSchedule(1.0, "one_cycle", warmup, total)
    found = [float(schedule(step)) for step in range(total)]
    expected = [one_cycle_lr(step, total, warmup) for step in range(total)]
    # The last ones are small differences of numbers near 1, in float32.
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-7)
    assert found.count(1.0) == (1 if warmup else 0)
    assert found[-1] < 1e-5


def test_a_warmup_of_one_step_begins_at_the_peak():
    """PyTorch would divide by zero."""
    assert float(WarmupSchedule(1.0, "one_cycle", 1, 10)(0)) == 1.0


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


@pytest.mark.parametrize("nesterov", [True, False])
def test_the_optimizer_is_sgd_by_the_book(nesterov):
    """Three steps on a constant gradient: v = m v - lr g; w += v, or m v - lr g with Nesterov."""
    config = TrainConfig(lr=0.1, scheduler="constant", warmup_epochs=0.0, nesterov=nesterov)
    optimizer = make_optimizer(config, steps_per_epoch=10, total_steps=100)
    weight = tf.Variable(1.0)
    w, v = 1.0, 0.0
    for _ in range(3):
        optimizer.apply_gradients([(tf.constant(2.0), weight)])
        v = 0.9 * v - 0.1 * 2
        w += 0.9 * v - 0.1 * 2 if nesterov else v
    assert float(weight) == pytest.approx(w, rel=1e-5)


def test_the_warmup_is_counted_in_epochs():
    config = TrainConfig(lr=0.4, warmup_epochs=2.0)
    schedule = make_optimizer(config, steps_per_epoch=10, total_steps=100)._learning_rate
    assert schedule.get_config() == {
        "lr": 0.4, "shape": "cosine", "warmup_steps": 20, "total_steps": 100
    }  # fmt: skip
    short = make_optimizer(config, steps_per_epoch=10, total_steps=30)._learning_rate
    assert short.warmup_steps == 15  # half of it: the rate must come down again


@pytest.mark.parametrize("name", ["sgd", "muon"])
def test_factors_multiply_the_steps_of_their_variables(name):
    """One step without decay: of shifts six times as far, of the backbone half as far."""
    moved = {}
    for factors in ((1.0, 1.0), (0.5, 6.0)):
        config = TrainConfig(
            optimizer=name, lr=1e-3, warmup_epochs=0, weight_decay=0,
            backbone_lr_factor=factors[0], bias_lr_factor=factors[1],
        )  # fmt: skip
        keras.utils.set_random_seed(0)
        model = zoo.build(ModelConfig(arch="resnet8"), (8, 8, 3), 2)
        optimizer = optimizers.make_optimizer(config, 1, 10)
        variables = model.trainable_variables
        optimizers.build_for(optimizer, variables)
        optimizers.set_factors(optimizer, config, model)
        before = [v.numpy() for v in variables]
        optimizer.apply_gradients([(tf.ones_like(v), v) for v in variables])
        moved[factors] = {v.name: v.numpy() - old for v, old in zip(variables, before, strict=True)}
    plain, changed = moved.values()
    assert len(plain) > 20
    for key, step in plain.items():
        factor = (1.0 if key.startswith("head") else 0.5) * (6.0 if "/b" in key else 1.0)
        # Steps are some 1e-3; the rounding of float32 weights of about 1 is 1e-7.
        np.testing.assert_allclose(changed[key], factor * step, atol=5e-7, err_msg=key)
