"""Muon beside Keras 3's, which trains matrices alone, and its steps by hand."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.training import optimizers
from tfresnet.training.muon import STEP_RMS, Muon, orthogonal

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("shape", [(27, 16), (64, 64), (16, 144)])
def test_a_step_is_roughly_orthogonal(shape):
    values = RNG.normal(size=shape).astype(np.float32)
    found = orthogonal(tf.constant(values)).numpy()
    left, _, right = np.linalg.svd(values, full_matrices=False)
    singular = np.linalg.svd(found, compute_uv=False)
    # Five iterations leave those small that began below a hundredth of the largest.
    assert np.quantile(singular, 0.05) > 0.65 and singular.max() < 1.25
    cosine = (found * (left @ right)).sum() / np.linalg.norm(found) / np.linalg.norm(left @ right)
    assert cosine > 0.97


def test_kernels_move_as_keras_3_moves_their_matrices():
    theirs = pytest.importorskip("keras").optimizers.Muon(
        0.01, momentum=0.9, weight_decay=None, adam_weight_decay=None, rms_rate=STEP_RMS
    )
    start = RNG.normal(size=(3, 3, 4, 8)).astype(np.float32)
    ours, matrix = tf.Variable(start, name="conv/kernel"), theirs_variable(start.reshape(36, 8))
    optimizer = Muon(0.01, weight_decay=0.0, momentum=0.9)
    for _ in range(3):
        gradient = RNG.normal(size=start.shape).astype(np.float32)
        optimizer.apply_gradients([(tf.constant(gradient), ours)])
        theirs.apply_gradients([(tf.constant(gradient.reshape(36, 8)), matrix)])
    moved = ours.numpy().reshape(36, 8)
    assert np.abs(moved - start.reshape(36, 8)).max() > 1e-3
    np.testing.assert_allclose(moved, matrix.numpy(), atol=1e-5)  # float32


def theirs_variable(values: np.ndarray):
    import keras

    return keras.Variable(values, name="matrix")


def test_the_rest_is_adamws():
    shapes = {"head/kernel": (8, 4), "bn/gamma": (8,), "depthwise_kernel": (3, 3, 8, 1)}
    for name, shape in shapes.items():
        start = RNG.normal(size=shape).astype(np.float32)
        one, other = tf.Variable(start, name=name), tf.Variable(start, name=name)
        pairs = [(Muon(0.01, 0.1, 0.9), one),
                 (optimizers.keras.optimizers.AdamW(0.01, weight_decay=0.1), other)]  # fmt: skip
        gradient = tf.constant(RNG.normal(size=shape).astype(np.float32))
        for optimizer, variable in pairs:
            optimizer.apply_gradients([(gradient, variable)])
        np.testing.assert_array_equal(one.numpy(), other.numpy(), name)


def test_kernels_have_one_slot():
    optimizer = Muon(0.01, 0.1, 0.9)
    kernel, bias = tf.Variable(tf.ones([3, 3, 4, 8]), name="conv/kernel"), tf.Variable(tf.ones(8))
    optimizer.build([kernel, bias])
    sizes = [int(tf.size(v)) for v in optimizer.variables if v.shape.rank or "v/" in v.name]
    assert sorted(sizes) == [1, 8, 8, 3 * 3 * 4 * 8]


def test_kernels_decay_by_themselves():
    config = TrainConfig(
        optimizer="muon", lr=0.01, weight_decay=0.1, warmup_epochs=0, scheduler="constant"
    )
    optimizer = optimizers.make_optimizer(config, 10, 100)
    kernel = tf.Variable(tf.ones([3, 3, 1, 1]), name="conv/kernel")
    optimizers.build_for(optimizer, [kernel])
    gradients = optimizers.finish_gradients([tf.zeros_like(kernel)], [kernel], config)
    optimizer.apply_gradients(zip(gradients, [kernel], strict=True))
    np.testing.assert_allclose(kernel.numpy(), 1 - 0.01 * 0.1, rtol=1e-6)
