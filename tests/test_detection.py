"""Detection as a task: what it decides, how two models agree, and a short training."""

import numpy as np
import pytest
import tensorflow as tf

from tests.test_boxes import voc  # noqa: F401  (a fixture)
from tests.test_cli import json_of
from tests.test_detection_math import truth_of
from tfresnet import evaluation, tasks
from tfresnet.config import loading
from tfresnet.runs import train_run
from tfresnet.runtime.boxes import Detections
from tfresnet.runtime.spec import DETECTION, OutputSpec
from tfresnet.tasks.detection import pairs_of

TASK = tasks.of(OutputSpec(DETECTION, ("cat", "dog")))
LEFT, RIGHT = [0.0, 0.0, 0.4, 1.0], [0.5, 0.0, 1.0, 1.0]


def found(*marks) -> dict[str, np.ndarray]:
    """The predictions for one picture, of (class, box, score)."""
    empty = {
        "boxes": np.zeros((1, 3, 4), np.float32),
        "scores": np.zeros((1, 3), np.float32),
        "classes": np.full((1, 3), -1, np.int32),
    }
    for i, (kind, box, score) in enumerate(marks):
        empty["classes"][0, i], empty["boxes"][0, i], empty["scores"][0, i] = kind, box, score
    return empty


def test_agreement_counts_the_boxes_of_both():
    """Two boxes match, one of each model has no match: 4 of 6."""
    ours = found((0, LEFT, 0.9), (1, RIGHT, 0.6), (0, RIGHT, 0.5))
    theirs = found((1, RIGHT, 0.8), (0, [0.0, 0.0, 0.3, 1.0], 0.7), (1, LEFT, 0.4))
    result = TASK.agreement(ours, theirs)
    assert result.agreement == pytest.approx(4 / 6)
    assert result.max_abs_error == pytest.approx(0.2)
    assert TASK.agreement(found(), found()).agreement == 1
    assert TASK.agreement(found((0, LEFT, 0.9)), found()).agreement == 0
    unsure = found((0, LEFT, 0.9), (1, RIGHT, 0.2))  # below 0.3 nothing is detected
    assert TASK.agreement(unsure, found((0, LEFT, 0.9))).agreement == 1


def test_a_box_matches_one_other():
    twice = Detections(np.array([LEFT, LEFT]), np.array([0.9, 0.8]), np.zeros(2, np.int32))
    once = Detections(*(part[:1] for part in twice))
    assert pairs_of(twice, once) == [(0, 0)]
    assert pairs_of(twice, twice) == [(0, 0), (1, 1)]
    assert pairs_of(once, Detections(*(part[:0] for part in twice))) == []


def test_what_is_detected_in_words():
    decisions = TASK.decisions(found((1, LEFT, 0.9), (1, RIGHT, 0.4), (0, LEFT, 0.2)))
    assert decisions.tolist() == [[1, 1, -1]]
    assert TASK.name_of(decisions[0]) == "2 dog"
    assert TASK.name_of({"classes": np.array([0, 1, -1])}) == "1 cat, 1 dog"
    assert TASK.name_of(np.array([-1])) == "nothing"


def test_the_share_of_the_centers_that_are_seen():
    truth = truth_of([(0, LEFT), (1, RIGHT)], [(1, LEFT)], [], ignored=[(1, 0)])
    heat = np.full((3, 4, 8, 2), -9.0, np.float32)
    heat[0, 2, 6, 1] = 2  # the center of RIGHT: (0.75, 0.5)
    assert TASK.correct(truth, {"heat": tf.constant(heat)}).numpy().tolist() == [0.5, 1, 1]


def test_a_folder_of_boxes_is_trained_and_evaluated(voc, tmp_path):  # noqa: F811
    """The smallest run: that it goes through, and that evaluation repeats what training found."""
    settings = [
        f"data.dataset={voc}", "data.image_size=32", "data.crop_padding=0", "data.flip=false",
        "model.arch=resnet8", "train.batch_size=2", "train.epochs=2", "train.warmup_epochs=0",
        "train.optimizer=adamw", "train.lr=0.001",
    ]  # fmt: skip
    run = train_run.train(loading.load("quickstart", settings), tmp_path / "run")
    record = json_of("evaluate", str(run.directory))
    assert record["map50"] == run.result.test["map50"]
    assert set(record["per_class"]) == {"cat", "dog"}
    assert (run.directory / "samples" / "1_1_cat.png").exists()
    predict = evaluation.network_predict(run.model(), run.spec, TASK)
    predictions = predict(np.zeros((2, 32, 32, 3), np.uint8))
    assert {key: values.shape for key, values in predictions.items()} == {
        "boxes": (2, 100, 4), "scores": (2, 100), "classes": (2, 100)
    }  # fmt: skip
