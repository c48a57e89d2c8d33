"""Average precision of boxes, against hand-computed cases and plain loops."""

import numpy as np
import pytest

from tfresnet.runtime import boxes
from tfresnet.runtime.spec import DETECTION, OutputSpec
from tfresnet.tasks import box_metrics
from tfresnet.tasks.box_metrics import DetectionMetrics

OUTPUT = OutputSpec(DETECTION, ("cat", "dog"))
LEFT, RIGHT = [0.0, 0.0, 0.4, 1.0], [0.5, 0.0, 1.0, 1.0]
ONE = pytest.approx(1, abs=1e-12)  # COCO's code divides by a bit more
SHIFTED = [0.1, 0.0, 0.5, 1.0]  # overlaps LEFT by 3/5


def arrays(pictures, **flags) -> dict[str, np.ndarray]:
    """Padded arrays of pictures with (class, box) or (class, box, score)."""
    most = max(1, *map(len, pictures))
    found = {
        "boxes": np.zeros((len(pictures), most, 4), np.float32),
        "classes": np.full((len(pictures), most), -1, np.int32),
        "scores": np.zeros((len(pictures), most), np.float32),
        "ignored": np.zeros((len(pictures), most), bool),
    }
    for row, marks in enumerate(pictures):
        for column, (kind, box, *score) in enumerate(marks):
            found["classes"][row, column], found["boxes"][row, column] = kind, box
            found["scores"][row, column] = score[0] if score else 0
    for place in flags.get("ignored", ()):
        found["ignored"][place] = True
    del found["ignored" if any(len(mark) > 2 for marks in pictures for mark in marks) else "scores"]
    return found


def measured(predictions, truth, **flags) -> DetectionMetrics:
    metrics = DetectionMetrics(OUTPUT)
    for found, true in zip(predictions, truth, strict=True):  # a batch each
        metrics.update(arrays([found]), arrays([true], **flags))
    return metrics


def test_all_right_and_all_wrong():
    truth = [[(0, LEFT), (1, RIGHT)], [(1, LEFT)], []]
    perfect = [[(kind, box, 0.9) for kind, box in marks] for marks in truth]
    result = measured(perfect, truth).result()
    assert (result["map50"], result["map"], result["n"]) == (ONE, ONE, 3)
    assert result["per_class"] == {"cat": ONE, "dog": ONE}
    assert result["per_class_counts"] == {"cat": 1, "dog": 2}
    assert result["map50_interval"] == [ONE, ONE]
    wrong = [[(1 - kind, box, 0.9) for kind, box in marks] for marks in truth]
    assert measured(wrong, truth).scores() == {"map50": 0, "map": 0}
    assert measured([[], [], []], truth).scores()["map50"] == 0


def test_average_precision_by_hand():
    """Two cats; found: one (0.9), nothing (0.8), the other (0.7).

    Precision is 1 up to a recall of 1/2 (51 of 101 levels), then 2/3.
    """
    truth = [[(0, LEFT)], [(0, RIGHT)]]
    found = [[(0, LEFT, 0.9), (0, RIGHT, 0.8)], [(0, RIGHT, 0.7)]]
    result = measured(found, truth).result()
    assert result["map50"] == pytest.approx((51 + 50 * 2 / 3) / 101, abs=1e-9)
    assert result["per_class"] == {"cat": pytest.approx(result["map50"]), "dog": None}


def test_overlap_decides_by_threshold():
    """An overlap of 3/5 is right at the thresholds 0.5 and 0.55, not above: 2 of 10.

    (0.6 is not reached in floating point.)
    """
    shifted = [0.101, 0.0, 0.501, 1.0]
    scores = measured([[(0, shifted, 0.5)]], [[(0, LEFT)]]).scores()
    assert scores == {"map50": ONE, "map": pytest.approx(0.2)}


def test_a_box_is_found_once():
    """The second detection of a box is wrong: precision 1 up to full recall all the same."""
    twice = [[(0, SHIFTED, 0.9), (0, LEFT, 0.8)]]
    assert measured(twice, [[(0, LEFT)]]).scores()["map50"] == ONE
    truth = [[(0, LEFT), (0, RIGHT)]]
    assert measured(twice, truth).scores()["map50"] == pytest.approx(51 / 101)


def test_detections_of_ignored_boxes_do_not_count():
    found = [[(0, LEFT, 0.9), (0, RIGHT, 0.8)]]
    truth = [[(0, LEFT), (0, RIGHT)]]
    metrics = measured(found, truth, ignored=[(0, 0)])
    assert metrics.scores()["map50"] == ONE
    assert metrics.result()["per_class_counts"]["cat"] == 1
    assert measured([[(0, RIGHT, 0.8)]], truth, ignored=[(0, 0)]).scores()["map50"] == ONE
    every = measured(found, truth, ignored=[(0, 0), (0, 1)])
    assert every.result()["map50"] == 0
    assert every.result()["per_class"] == {"cat": None, "dog": None}


def random_pictures(count: int) -> tuple[dict, dict]:
    """Truth, and detections that are near it or anywhere."""
    rng = np.random.default_rng(5)
    truth, found = [], []
    for _ in range(count):
        low = rng.uniform(0, 0.6, (rng.integers(0, 5), 2))
        true = np.concatenate([low, low + rng.uniform(0.1, 0.4, low.shape)], 1)
        truth.append([(int(rng.integers(2)), box) for box in true])
        near = [(k, box + rng.normal(0, 0.03, 4), rng.uniform()) for k, box in truth[-1]]
        low = rng.uniform(0, 0.7, (2, 2))
        noise = np.concatenate([low, low + 0.2], 1)
        found.append(near + [(int(rng.integers(2)), box, rng.uniform() / 2) for box in noise])
    return arrays(found), arrays(truth)


def average_precision(found, truth, kind: int, threshold: float) -> float:
    """COCO's definition in plain loops, of one class, without ignored boxes."""
    places = [(row, column) for row, column in np.argwhere(found["classes"] == kind)]
    places.sort(key=lambda place: -found["scores"][place])
    taken: set = set()
    right = []
    for row, column in places:
        rivals = [
            (boxes.iou(found["boxes"][row, column][None], truth["boxes"][row, c][None])[0, 0], c)
            for c in np.flatnonzero(truth["classes"][row] == kind)
            if (row, c) not in taken
        ]
        overlap, best = max(rivals, default=(0, None))
        right.append(overlap >= threshold)
        if right[-1]:
            taken.add((row, best))
    hits = np.cumsum(right)
    precision, recall = hits / np.arange(1, len(hits) + 1), hits / (truth["classes"] == kind).sum()
    return float(np.mean([max(precision[recall >= r], default=0) for r in np.linspace(0, 1, 101)]))


def test_average_precision_is_that_of_plain_loops():
    found, truth = random_pictures(40)
    metrics = DetectionMetrics(OUTPUT)
    metrics.update(found, truth)
    each = metrics.average_precisions()
    for row, threshold in ((0, 0.5), (5, 0.75)):
        expected = [average_precision(found, truth, kind, threshold) for kind in (0, 1)]
        np.testing.assert_allclose(each[row], expected, atol=1e-6)
    assert metrics.scores()["map"] == pytest.approx(each.mean())
    # The bootstrap's own sum is the same where each image counts once.
    once = np.ones((1, 40))
    again = [box_metrics.average_precision(m, once)[0] for m in metrics.matched()]
    np.testing.assert_allclose(again, each[0], atol=1e-9)


def test_the_interval_narrows_with_the_number_of_pictures():
    widths = []
    for repeats in (1, 4):
        metrics = DetectionMetrics(OUTPUT)
        for _ in range(repeats):
            metrics.update(*random_pictures(40))
        low, high = metrics.result()["map50_interval"]
        assert low < metrics.scores()["map50"] < high
        widths.append(high - low)
    assert 0.35 < widths[1] / widths[0] < 0.7  # half, within the noise of 200 draws
