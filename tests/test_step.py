"""One step: losses, accumulation, moving average, optimizers and precisions."""

import math

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.conftest import TINY
from tests.test_cli import refused
from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import ArraySplit
from tfresnet.models import zoo
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks import losses
from tfresnet.training.loop import Trainer
from tfresnet.training.optimizers import WarmupSchedule
from tfresnet.training.step import TrainStep, update_average
from tfresnet.training.sync_batch_norm import synchronize

LABELS = tf.constant([[0.0, 1.0, 0.0], [0.7, 0.0, 0.3]])
LOGITS = tf.constant([[1.0, 2.0, -1.0], [0.0, 0.5, 0.5]])


def test_cross_entropy_with_smoothing_by_hand():
    """Szegedy et al.: (1 - e) of the label and e / K of every class."""
    config = TrainConfig(label_smoothing=0.3)
    p = np.exp([1, 2, -1]) / np.exp([1, 2, -1]).sum()
    expected = -(0.1 * math.log(p[0]) + 0.8 * math.log(p[1]) + 0.1 * math.log(p[2]))
    found = losses.per_image(config, LABELS, LOGITS).numpy()
    assert found[0] == pytest.approx(expected, rel=1e-6)


def test_binary_cross_entropy_by_hand():
    config = TrainConfig(loss="bce", label_smoothing=0.3)
    targets, total = [0.1, 0.8, 0.1], 0.0
    for logit, target in zip([1, 2, -1], targets, strict=True):
        p = 1 / (1 + math.exp(-logit))
        total -= target * math.log(p) + (1 - target) * math.log(1 - p)
    found = losses.per_image(config, LABELS, LOGITS).numpy()
    assert found[0] == pytest.approx(total / 3, rel=1e-6)


def test_distillation_by_hand():
    """Hinton et al.: T^2 KL(teacher || student), mixed with the loss of the labels."""
    teacher = tf.constant([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0]])
    config = TrainConfig(distillation=0.9, temperature=2.0)
    q, p = (np.exp(np.array(x) / 2) for x in ([0, 4, 0], [1, 2, -1]))
    q, p = q / q.sum(), p / p.sum()
    hard = losses.per_image(TrainConfig(), LABELS, LOGITS).numpy()[0]
    expected = 0.1 * hard + 0.9 * 4 * (q * np.log(q / p)).sum()
    found = losses.per_image(config, LABELS, LOGITS, teacher).numpy()
    assert found[0] == pytest.approx(float(expected), rel=1e-6)
    agreed = losses.per_image(TrainConfig(distillation=1.0), LABELS, LOGITS, LOGITS)
    np.testing.assert_allclose(agreed, 0, atol=1e-7)


def test_balanced_weights_by_hand():
    """n / (k n_c), 1 on average over the images; a class without images counts for nothing."""
    labels = np.array([0, 0, 0, 0, 0, 1, 3, 3])
    weights = losses.balanced_weights(labels, 4)
    np.testing.assert_allclose(weights, [8 / (3 * 5), 8 / 3, 0, 8 / (3 * 2)], rtol=1e-6)
    assert weights[labels].mean() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize("loss", ["cross_entropy", "bce"])
def test_class_weights_multiply_an_images_loss(loss):
    """A mixed image has the mean of its classes' weights, whatever its loss is made of."""
    weights = np.array([0.5, 2.0, 3.0], np.float32)
    teacher = tf.constant([[0.0, 4.0, 0.0], [1.0, 0.0, 0.0]])
    config = TrainConfig(loss=loss, label_smoothing=0.1)
    for taught in (None, teacher):
        plain = losses.per_image(config, LABELS, LOGITS, taught).numpy()
        found = losses.per_image(config, LABELS, LOGITS, taught, weights).numpy()
        np.testing.assert_allclose(found, plain * [2.0, 0.7 * 0.5 + 0.3 * 3.0], rtol=1e-6)


def test_a_run_weights_classes_by_its_training_images(tmp_path):
    """Five images of one class and three of another; the held-out split has its own shares."""
    images = np.zeros((8, 16, 16, 3), np.uint8)
    split = ArraySplit(images, np.array([0] * 5 + [1] * 3))
    spec, output = InputSpec(16, 16), OutputSpec("classification", ("a", "b"))
    held_out = ArraySplit(images, np.array([0] * 2 + [1] * 6))
    settings = ["train.batch_size=8", "train.class_weights=balanced", "model.width=0.25"]
    config = loading.load("quickstart", settings)
    trainer = Trainer(
        config, Dataset(split, held_out, spec, output), tmp_path,
        lambda: zoo.build(config.model, spec.shape, 2),
    )  # fmt: skip
    targets, logits = tf.one_hot([0, 1], 2), tf.constant([[0.3, -1.0], [2.0, 0.5]])
    weighted = trainer.train_step.loss(targets, logits).numpy()
    plain = losses.per_image(config.train, targets, logits).numpy()
    np.testing.assert_allclose(weighted / plain, [8 / 10, 8 / 6], rtol=1e-6)


@pytest.mark.parametrize(
    ("shape", "rates"),
    [
        # warmup of 4 steps, 12 in all; after it, progress is 0, 1/8, ...
        ("linear", {0: 0.25, 3: 1.0, 4: 1.0, 8: 0.5, 12: 0.0}),
        ("constant_linear", {4: 1.0, 8: 1.0, 10: 0.5, 12: 0.0}),
    ],
)
def test_schedules_by_hand(shape, rates):
    schedule = WarmupSchedule(1.0, shape, 4, 12)
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, abs=1e-6), step


def network() -> tf.keras.Model:
    tf.keras.utils.set_random_seed(1)
    return zoo.build(ModelConfig(arch="resnet8", width=0.5), (16, 16, 3), 10)


def loss_of(config: TrainConfig):
    """The configured loss of ten classes, whose shares do not matter."""
    return tasks.of(OutputSpec("classification", tuple("abcdefghij"))).loss(config, None)


def gradients(accumulate: int) -> list[np.ndarray]:
    """Of a batch whose parts are alike, so that batch norm sees the same in each."""
    rng = np.random.default_rng(0)
    part = rng.normal(size=(4, 16, 16, 3)).astype(np.float32)
    images = tf.constant(np.concatenate([part] * 2))
    labels = tf.one_hot([0, 1, 2, 3] * 2, 10)
    config = TrainConfig(batch_size=8, accumulate=accumulate)
    step = TrainStep(config, network(), None, loss_of(config), lambda *_: None)
    return [g.numpy() for g in tf.function(step._accumulated)(images, labels)]


def test_a_step_clips_the_gradient():
    """At a rate of 1 the weights move as far as the clipped gradient is long."""
    model = network()
    optimizer = keras.optimizers.SGD(1.0)
    optimizer.build(model.trainable_variables)
    before = [v.numpy() for v in model.trainable_variables]
    config = TrainConfig(batch_size=4, grad_clip=0.01, weight_decay=0.0)
    step = TrainStep(config, model, optimizer, loss_of(config), lambda *_: None)
    images = tf.random.stateless_normal([4, 16, 16, 3], [0, 1])
    step(images, tf.one_hot([0, 1, 2, 3], 10))
    moved = [v.numpy() - b for v, b in zip(model.trainable_variables, before, strict=True)]
    assert np.sqrt(sum(np.square(m).sum() for m in moved)) == pytest.approx(0.01, rel=1e-3)


def test_accumulated_gradients_are_the_whole_batchs():
    for whole, parts in zip(gradients(1), gradients(2), strict=True):
        # float32 in another order of summation
        np.testing.assert_allclose(parts, whole, atol=1e-5 * np.abs(whole).max() + 1e-7)


def test_moving_statistics_move_once_a_step_by_the_mean_of_the_parts():
    """By a tenth of the way to the mean of the parts' means, and of their unbiased variances."""
    rng = np.random.default_rng(0)
    images = rng.normal(rng.normal(size=(4, 1, 1, 1, 1)), size=(4, 2, 16, 16, 3))
    images = images.reshape(8, 16, 16, 3).astype(np.float32)
    model = network()
    convolution, norm = model.backbone.layers[:2]
    seen = convolution(images).numpy().astype(np.float64).reshape(4, -1, norm.gamma.shape[0])
    model.head.dense.trainable = False  # a frozen kernel is no statistic
    head = model.head.dense.kernel.numpy()
    config = TrainConfig(batch_size=8, accumulate=4)
    step = TrainStep(config, model, None, loss_of(config), lambda *_: None)
    tf.function(step._accumulated)(tf.constant(images), tf.one_hot(range(8), 10))
    assert norm.momentum == pytest.approx(0.9)
    mean, variance = seen.mean(axis=1).mean(axis=0), seen.var(axis=1, ddof=1).mean(axis=0)
    # float32 has 7 digits; four times a step, 0.344 of the way would have been gone.
    np.testing.assert_allclose(norm.moving_mean, 0.1 * mean, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(norm.moving_variance, 0.9 + 0.1 * variance, rtol=1e-4)
    np.testing.assert_array_equal(model.head.dense.kernel, head)


def test_counters_count_steps_not_parts():
    """As those of pruning's schedule do."""

    class Counting(keras.layers.Layer):
        def build(self, shape):
            self.count = self.add_weight("count", [], tf.int64, "zeros", trainable=False)

        def call(self, x):
            self.count.assign_add(1)
            return x

    counting = Counting()
    model = keras.Sequential([keras.layers.Dense(10, input_shape=(4,)), counting])
    config = TrainConfig(batch_size=6, accumulate=3)
    step = tf.function(
        TrainStep(config, model, None, loss_of(config), lambda *_: None)._accumulated
    )
    counting.count.assign(0)
    for _ in range(2):
        step(tf.ones([6, 4]), tf.one_hot(range(6), 10))
    assert int(counting.count) == 2


def test_the_moving_average_by_hand():
    """decay = min(0.9, (1 + step) / (10 + step)), statistics included."""
    model, average = network(), network()
    before = [v.numpy() for v in average.variables]
    for v in model.variables:
        v.assign_add(tf.ones_like(v))
    strategy = tf.distribute.get_strategy()
    update_average(strategy, average, model, 0.9, tf.Variable(5, dtype=tf.int64))
    for mean, old in zip(average.variables, before, strict=True):
        np.testing.assert_allclose(mean - old, 1 - 6 / 15, rtol=1e-5, atol=1e-6)
    update_average(strategy, average, model, 0.9, tf.Variable(10_000, dtype=tf.int64))
    for mean, old in zip(average.variables, before, strict=True):
        np.testing.assert_allclose(mean - old, 0.6 + 0.1 * 0.4, rtol=1e-4, atol=1e-5)


def tiny(directory, *overrides: str) -> run_directory.Run:
    return train(loading.load("quickstart", [*TINY, *overrides]), directory)


@pytest.mark.parametrize(
    "overrides",
    [
        ("train.optimizer=adamw", "train.lr=5e-3", "train.weight_decay=0.05", "train.loss=bce"),
        ("train.optimizer=lion", "train.lr=1e-3", "train.weight_decay=0.1"),
        ("train.optimizer=muon", "train.lr=5e-3", "train.weight_decay=0.05"),
        (
            # float16 is slow on a CPU
            "train.precision=mixed_float16",
            "train.grad_clip=1.0",
            "train.accumulate=2",
            "data.image_size=8",
            "data.crop_padding=1",
            "model.width=0.5",
            "train.freeze_until=stage1",
        ),
        pytest.param(("train.xla=true", "train.scheduler=one_cycle"), marks=pytest.mark.slow),
        ("train.ema_decay=0.9", "train.accumulate=2", "train.scheduler=constant_linear"),
    ],
    ids=lambda o: o[0].removeprefix("train."),
)
def test_every_way_to_train_learns(tmp_path, overrides):
    run = tiny(tmp_path / "run", *overrides)
    first, last = run.records()
    assert last["loss"] < first["loss"]
    # 0.55 to 0.83 with six seeds and four sets of kernels; chance is 0.1.
    assert last["accuracy"] > 0.25
    # What is evaluated after an epoch are the weights that are deployed, in float32.
    assert last["held_out_top1"] == run.result.test_top1
    assert last["held_out_loss"] == pytest.approx(run.result.test["loss"], rel=1e-5)
    averaged = any("ema" in o for o in overrides)
    assert (run.result.ema_top1 is not None) == averaged
    assert (run.result.raw_top1 is not None) == averaged


def test_the_average_is_what_is_deployed_and_resumed(tmp_path):
    run = tiny(tmp_path / "run", "train.ema_decay=0.9")
    plain, average = (run_directory.weights_sha256(run.model(averaged=a)) for a in (False, True))
    assert plain != average
    assert run_directory.weights_sha256(run.model()) == average
    assert run.result.test["top1"] == run.result.ema_top1 == run.result.test_top1
    again = train(run.config, run.directory, resume=True)  # finished: nothing changes
    assert run_directory.weights_sha256(again.model()) == average


def test_a_student_learns_from_its_teacher(tiny_run, tmp_path):
    """With the teacher's answers alone and none of the labels, it learns to agree."""
    run = tiny(tmp_path / "run", f"train.teacher={tiny_run.directory}", "train.distillation=1.0")
    assert run.records()[-1]["accuracy"] > 0.25
    message = refused("train", "--run-dir", tmp_path / "other", "--set", "data.image_size=8",
                      "--teacher", tiny_run.directory)  # fmt: skip
    assert "--teacher: expected the shape of this run, [8, 8, 3], got [16, 16, 3]" in message
    message = refused("train", "--run-dir", tmp_path / "small", "--set", "data.image_size=16",
                      "--set", "data.progressive={0.5: 8}",
                      "--teacher", tiny_run.directory)  # fmt: skip
    assert "got data.progressive; leave one of them out" in message


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            ["train.sync_batch_norm=true", "train.accumulate=2"],
            "train.sync_batch_norm: expected train.accumulate=1 with it, got 2",
        ),
        (["train.accumulate=5"], "train.batch_size: expected a multiple of the 1 devices times 5"),
        (["train.xla=true", "train.strategy=mirrored", "train.devices=2"], "expected one device"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path, overrides, expected):
    from tfresnet.runtime.errors import InputError

    with pytest.raises(InputError, match=expected):
        tiny(tmp_path / "run", *overrides)


def moved(devices: int, synchronised: bool, directory) -> dict[str, np.ndarray]:
    """Return the variables after one step on 8 images that differ from replica to replica."""
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (8, 16, 16, 3), np.uint8), np.arange(8))
    spec, output = InputSpec(16, 16), OutputSpec("classification", tuple("abcdefgh"))
    config = loading.load(
        "quickstart",
        ["train.batch_size=8", "train.epochs=1", "train.strategy=mirrored", "data.crop_padding=0",
         f"train.devices={devices}", f"train.sync_batch_norm={synchronised}"],
    )  # fmt: skip

    def build() -> keras.Model:
        steps = [
            layer
            for n in "ab"
            for layer in (
                keras.layers.Conv2D(4, 3, dtype="float64", name=f"{n}_conv"),
                keras.layers.BatchNormalization(dtype="float64", name=f"{n}_bn"),
                keras.layers.ReLU(dtype="float64"),
            )
        ]
        pool, head = keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(8, name="head")
        model = keras.Sequential([*steps, pool, head])
        model.build((None, *spec.shape))
        return model

    trainer = Trainer(config, Dataset(split, split, spec, output), directory, build)
    trainer.train_steps(trainer.distributed(trainer.batches(0)), tf.constant(1))
    return {v.name: v.numpy() for v in trainer.model.variables}


def test_synchronised_batch_norms_see_the_whole_batch(tmp_path):
    """Two replicas then equal one device; without, they do not."""
    one, two, apart = (
        moved(devices, synchronised, tmp_path / str(number))
        for number, (devices, synchronised) in enumerate([(1, True), (2, True), (2, False)])
    )
    for name, value in one.items():
        np.testing.assert_allclose(two[name], value, rtol=1e-5, atol=1e-7, err_msg=name)
    assert max(np.abs(apart[n] - one[n]).max() for n in one if "kernel" in n) > 1e-4


@pytest.mark.parametrize("mean", [0, 1000])
def test_a_synchronised_batch_norm_on_one_device_is_a_batch_norm(mean):
    """Keras's fused kernel, unbiased variance and all; far from 0 no difference of squares.

    The standard deviation is 0.1: around 1,000, of which float32 has the last 6e-5.
    """
    x = np.random.default_rng(0).normal(mean, 0.1, (8, 4, 4, 2)).astype(np.float32)
    weights = np.random.default_rng(1).normal(size=x.shape).astype(np.float32)
    results = []
    for change in (lambda model: None, synchronize):
        model = keras.Sequential([keras.layers.BatchNormalization(momentum=0.0, epsilon=1e-6)])
        model.build(x.shape)
        change(model)
        with tf.GradientTape() as tape:
            inputs = tf.constant(x)
            tape.watch(inputs)
            trained = model(inputs, training=True)
            loss = tf.reduce_sum(weights * trained)
        results.append([trained, model(x, training=False), tape.gradient(loss, inputs)])
        norm, exact = model.layers[0], x.astype(np.float64).reshape(-1, 2)
        np.testing.assert_allclose(norm.moving_mean, exact.mean(axis=0), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(norm.moving_variance, exact.var(axis=0, ddof=1), rtol=2e-3)
    for keras_has, ours in zip(*results, strict=True):
        np.testing.assert_allclose(ours, keras_has, rtol=5e-3, atol=5e-3)
