"""Metrics against hand-computed values."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet import evaluation, tasks
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks.calibration_error import expected_calibration_error

TASK = tasks.of(OutputSpec("classification", tuple("abcdefg")))


def result_of(probabilities: np.ndarray, classes: np.ndarray, task=TASK) -> dict:
    metrics = task.metrics()
    metrics.update(probabilities, classes)
    return metrics.result()


def test_top1_top5_loss_and_per_class():
    probabilities = np.array(
        [
            [0.40, 0.20, 0.10, 0.10, 0.10, 0.06, 0.04],
            [0.40, 0.20, 0.15, 0.10, 0.09, 0.04, 0.02],
            [0.40, 0.20, 0.15, 0.10, 0.09, 0.04, 0.02],
        ]
    )
    result = result_of(probabilities, np.array([0, 1, 6]))
    assert result["top1"] == pytest.approx(1 / 3)
    assert result["top5"] == pytest.approx(2 / 3)
    assert result["loss"] == pytest.approx(-np.log([0.4, 0.2, 0.02]).mean())
    assert result["n"] == 3
    assert result["per_class"] == {"a": 1, "b": 0, "g": 0} | dict.fromkeys("cdef")
    low, high = result["top1_interval"]
    assert (low, high) == pytest.approx((0.0615, 0.7923), abs=1e-4)  # Wilson, 1 of 3


def test_a_rare_class_counts_as_much_as_a_common_one_in_the_balanced_accuracy():
    """Nine images of one class right, the only one of another wrong."""
    probabilities = np.tile([0.9, 0.1], [10, 1])
    task = tasks.of(OutputSpec("classification", ("a", "b")))
    result = result_of(probabilities, np.array([0] * 9 + [1]), task)
    assert result["top1"] == pytest.approx(0.9)
    assert result["balanced_accuracy"] == pytest.approx(0.5)


def test_answers_are_collected_without_tf32():
    """Which GPUs use for float32 otherwise; afterwards it is as it was."""
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    seen = []

    def infer(images):
        seen.append(enabled())
        return np.full((len(images), 2), 0.5)

    batch = (tf.zeros([3, 4]), tf.constant([0, 1, 1]), tf.constant([1.0, 1.0, 0.0]))
    answers, classes = evaluation.collect(infer, tf.data.Dataset.from_tensors(batch))
    assert seen == [False]
    assert enabled()
    assert len(answers) == len(classes) == 2  # the third has no weight


def test_a_model_that_answers_everything_alike_knows_nothing():
    """For top-5, ties are not won by the order of the classes."""
    result = result_of(np.full((7, 7), 1 / 7), np.arange(7))
    assert result["top5"] == 0


def test_answers_that_are_no_numbers_are_not_measured():
    probabilities = np.full((5, 7), 1 / 7)
    probabilities[1, 2] = np.nan
    with pytest.raises(InputError, match="for 1 of 3 images got NaN"):
        evaluation.measure(lambda images: probabilities, batches(3), TASK)


def test_calibration_error_is_the_gap_between_confidence_and_accuracy():
    confidence = np.array([0.9] * 10 + [0.6] * 10)
    correct = np.array([1] * 9 + [0] + [1] * 3 + [0] * 7)
    # The first ten are right as often as they say, the others 3 times instead of 6.
    assert expected_calibration_error(confidence, correct) == pytest.approx(0.15)


def test_mirrored_answers_are_averaged():
    images = np.arange(12.0).reshape(2, 1, 3, 2)  # two images of one row
    seen = []

    def first_column(x):
        seen.append(x)
        return x[:, 0, 0]

    answers = evaluation.mirrored(first_column, TASK)(images)
    np.testing.assert_array_equal(answers, (images[:, 0, 0] + images[:, 0, 2]) / 2)
    assert len(seen) == 2


def batches(count: int, size: int = 5) -> tf.data.Dataset:
    """Batches of black images, the last one filled up."""
    total = -(-count // size) * size
    return tf.data.Dataset.from_tensor_slices(
        (np.zeros((total, 4, 4, 3), np.uint8), np.arange(total) % 7, np.arange(total) < count)
    ).batch(size)


def test_several_models_are_measured_in_one_pass():
    """Each image is read once, in batches; what fills up the last one does not count."""
    rng = np.random.default_rng(0)
    probabilities = rng.dirichlet(np.ones(7), 10).astype(np.float32)
    read = []

    def predict(images):
        first = 5 * len(read)
        read.append(len(images))
        part = probabilities[first : first + 5]
        return {"one": part, "other": part[:, ::-1]}

    found = evaluation.measure_all(predict, batches(8), TASK)
    assert read == [5, 5]
    for name, turned in (("one", probabilities), ("other", probabilities[:, ::-1])):
        assert found[name].result() == result_of(turned[:8], np.arange(8) % 7)
