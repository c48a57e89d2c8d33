"""The mathematics of detection, against hand-computed cases and plain loops in NumPy."""

import math
import time

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.runtime import boxes
from tfresnet.tasks import center_decoding, center_losses
from tfresnet.tasks.center_targets import center_targets, radius

WHOLE = [0.0, 0.0, 1.0, 1.0]


def truth_of(*pictures: list[tuple[int, list[float]]], ignored=()) -> dict[str, tf.Tensor]:
    """The truth of pictures with (class, box) pairs; ``ignored`` are (picture, box) indices."""
    most = max(map(len, pictures))
    found = {
        "boxes": np.zeros((len(pictures), most, 4), np.float32),
        "classes": np.full((len(pictures), most), -1, np.int32),
        "ignored": np.zeros((len(pictures), most), bool),
    }
    for row, marks in enumerate(pictures):
        for column, (number, box) in enumerate(marks):
            found["classes"][row, column], found["boxes"][row, column] = number, box
    for place in ignored:
        found["ignored"][place] = True
    return {key: tf.constant(value) for key, value in found.items()}


def code_s_radius(width: float, height: float, overlap: float = 0.7) -> float:
    """``gaussian_radius`` of CornerNet's and CenterNet's code, as it is there."""
    b1, c1 = height + width, width * height * (1 - overlap) / (1 + overlap)
    r1 = (b1 + math.sqrt(b1**2 - 4 * c1)) / 2
    b2, c2 = 2 * (height + width), (1 - overlap) * width * height
    r2 = (b2 + math.sqrt(b2**2 - 16 * c2)) / 2
    a3, b3, c3 = 4 * overlap, -2 * overlap * (height + width), (overlap - 1) * width * height
    r3 = (b3 + math.sqrt(b3**2 - 4 * a3 * c3)) / 2
    return min(r1, r2, r3)


def test_the_radius_is_that_of_the_published_code():
    sizes = np.random.default_rng(0).uniform(0.1, 100, (200, 2)).astype(np.float32)
    expected = [max(0, int(code_s_radius(*map(float, size)))) for size in sizes]
    assert radius(sizes[:, 0], sizes[:, 1]).numpy().tolist() == expected
    assert max(expected) > 10


def test_a_heat_map_by_hand():
    """A box of 4 x 4 of 8 x 8 cells: radius 1, standard deviation 1/2, neighbors exp(-2)."""
    found = center_targets(truth_of([(1, [0.125, 0.25, 0.625, 0.75])]), 8, 8, 2)
    expected = np.zeros((8, 8))
    expected[3:6, 2:5] = np.outer([math.exp(-2), 1, math.exp(-2)], [math.exp(-2), 1, math.exp(-2)])
    np.testing.assert_allclose(found.heat[0, :, :, 1], expected, atol=1e-6)
    assert not found.heat[0, :, :, 0].numpy().any()
    assert (found.cell[0, 0], *found.offset[0, 0].numpy()) == (4 * 8 + 3, 0, 0)
    assert found.counted.numpy().min() == 1


def test_heat_maps_are_those_of_plain_loops():
    """Overlapping Gaussians by their maximum, centers on the border, pictures without boxes."""
    rng = np.random.default_rng(1)
    height, width, classes = 12, 20, 3
    low = rng.uniform(0, 0.7, (2, 9, 2))
    marks = np.concatenate([low, np.minimum(low + rng.uniform(0.02, 0.6, (2, 9, 2)), 1)], -1)
    marks[0, 0] = [0.9, 0.9, 1, 1]
    kinds = rng.integers(0, classes, (2, 9))
    pictures = [list(zip(*pair, strict=True)) for pair in zip(kinds, marks, strict=True)]
    found = center_targets(truth_of(*pictures, []), height, width, classes)
    expected = np.zeros((3, height, width, classes))
    for picture, (numbers, rectangles) in enumerate(zip(kinds, marks, strict=True)):
        for number, (x1, y1, x2, y2) in zip(numbers, rectangles.astype(np.float32), strict=True):
            r = max(0, int(code_s_radius((x2 - x1) * width, (y2 - y1) * height)))
            column, row = int((x1 + x2) / 2 * width), int((y1 + y2) / 2 * height)
            for y in range(max(0, row - r), min(height, row + r + 1)):
                for x in range(max(0, column - r), min(width, column + r + 1)):
                    value = math.exp(-((x - column) ** 2 + (y - row) ** 2) * 18 / (2 * r + 1) ** 2)
                    place = picture, y, x, number
                    expected[place] = max(expected[place], value)
    np.testing.assert_allclose(found.heat, expected, atol=1e-5)  # float32
    assert found.there.numpy().sum(axis=1).tolist() == [9, 9, 0]
    assert found.offset.numpy()[:2].min() >= 0
    assert found.offset.numpy()[:2].max() < 1


def test_ignored_boxes_take_their_area_and_class_out_of_the_loss():
    marks = [(0, [0.0, 0.0, 0.5, 0.5]), (0, [0.25, 0.25, 0.5, 0.5])]
    found = center_targets(truth_of(marks, ignored=[(0, 0)]), 4, 4, 2)
    assert found.there.numpy().tolist() == [[0, 1]]
    assert found.counted[0, :, :, 0].numpy().sum() == 16 - 4
    assert found.counted[0, :, :, 1].numpy().min() == 1
    logits = tf.fill([1, 4, 4, 2], 3.0)
    # The center of the other box is still to be found.
    assert center_losses.focal_loss(logits, found.heat, found.counted) < center_losses.focal_loss(
        logits, found.heat, tf.ones_like(found.counted)
    )
    low = center_losses.focal_loss(-logits, found.heat, found.counted)
    assert low > 0.95**2 * 3  # -log(sigmoid(-3)) is above 3


def test_the_focal_loss_by_hand():
    """p = 1/2 at a center, near one (heat 1/2) and far away: (1/4 + 1/16/4 + 1/4) log 2."""
    heat = tf.constant([1.0, 0.5, 0.0], shape=[1, 1, 3, 1])
    loss = center_losses.focal_loss(tf.zeros_like(heat), heat, tf.ones_like(heat))
    np.testing.assert_allclose(loss, [(1 / 4 + 1 / 64 + 1 / 4) * math.log(2)], rtol=1e-6)
    logits = tf.constant([90.0, -90.0, -90.0], shape=[1, 1, 3, 1])
    sure = center_losses.focal_loss(logits, heat, tf.ones_like(heat))
    np.testing.assert_allclose(sure, [0], atol=1e-6)  # and no NaN


def test_the_loss_of_boxes_by_hand():
    """One box of a picture with one, at cell (1, 0) of 4 x 2; the other picture has none.

    The network says offset 0.5, 0.5 for 0, 0 and half the width: errors of 1 cell and 1 cell.
    """
    truth = truth_of([(0, [0.0, -0.25, 0.5, 0.25])], [])
    targets = center_targets(truth, 2, 4, 1)
    outputs = {
        "heat": tf.fill([2, 2, 4, 1], -90.0),
        "offset": tf.fill([2, 2, 4, 2], 0.5),
        "size": tf.tile(tf.constant([0.25, 0.5]), [16])[:, None],
    }
    outputs["size"] = tf.reshape(outputs["size"], [2, 2, 4, 2])
    assert center_losses.offset_loss(outputs["offset"], targets).numpy().tolist() == [1, 0]
    assert center_losses.size_loss(outputs["size"], targets).numpy().tolist() == [1, 0]
    # 90 for the center that is not seen, nothing for the only class; 1 box in the batch.
    loss = center_losses.center_loss(targets, outputs)
    np.testing.assert_allclose(loss, [90 + 1 + 0.1, 0], rtol=1e-6)


def test_the_loss_of_classes_by_hand():
    """Two boxes of three classes, logits log 2, 0, 0: 1/2 for the first class, 1/4 for others."""
    marks = [(0, [0.0, 0.0, 0.2, 0.2]), (2, [0.5, 0.5, 0.9, 0.9]), (1, [0.0, 0.0, 0.2, 0.2])]
    targets = center_targets(truth_of(marks, [], ignored=[(0, 2)]), 4, 4, 3)
    logits = tf.tile(tf.math.log([[[[2.0, 1, 1]]]]), [2, 4, 4, 1])
    loss = center_losses.class_loss(logits, targets)
    np.testing.assert_allclose(loss, [math.log(2) + math.log(4), 0], rtol=1e-6)


def test_what_targets_say_is_decoded_to_the_boxes():
    """A network that gives its targets finds each box exactly."""
    marks = [(2, [0.55, 0.0, 1.0, 0.5]), (0, [0.1, 0.2, 0.4, 0.9])]  # by the rows of their centers
    targets = center_targets(truth_of(marks), 10, 20, 3)
    offset, size = np.zeros((2, 1, 10, 20, 2), np.float32)
    for column in range(2):
        row = int(targets.cell[0, column])
        offset.reshape(-1, 2)[row] = targets.offset[0, column]
        size.reshape(-1, 2)[row] = np.subtract(marks[column][1][2:], marks[column][1][:2])
    logits = tf.where(targets.heat >= 1, 5.0, 4 * targets.heat - 5)
    outputs = {"heat": logits, "offset": tf.constant(offset), "size": tf.constant(size)}
    raw = center_decoding.scores_and_boxes(outputs)
    assert (raw["scores"].shape, raw["boxes"].shape) == ((1, 200, 3), (1, 200, 4))
    found = boxes.shown(boxes.detections(raw["scores"].numpy(), raw["boxes"].numpy()), 0)
    assert found.classes.tolist() == [2, 0]
    np.testing.assert_allclose(found.boxes, [box for _, box in marks], atol=1e-6)
    for loss, part in ((center_losses.size_loss, size), (center_losses.offset_loss, offset)):
        np.testing.assert_allclose(loss(tf.constant(part), targets), [0], atol=1e-5)


def test_peaks_are_the_largest_of_their_neighbors():
    heat = tf.constant([[0.2, 0.5, 0.4], [0.1, 0.3, 0.0], [0.6, 0.0, 0.6]])[None, ..., None]
    found = center_decoding.peaks(heat)[0, ..., 0].numpy()
    np.testing.assert_allclose(found, [[0, 0.5, 0], [0, 0, 0], [0.6, 0, 0.6]])


def test_suppression_by_hand():
    """The second box overlaps the first by 2/3, the third by 1/3, the fourth is the second again.

    Only of another class is the fourth kept, and the last is too low.
    """
    found = boxes.suppressed(
        np.array([[0.9, 0.0], [0.8, 0.0], [0.7, 0.0], [0.0, 0.6], [0.001, 0.0]]),
        np.array(
            [[0, 0, 0.5, 1], [0.1, 0, 0.6, 1], [0.25, 0, 0.75, 1], [0.1, 0, 0.6, 1], [-1, 0, 2, 1]]
        ),
    )
    np.testing.assert_allclose(found.scores, [0.9, 0.7, 0.6], rtol=1e-6)
    assert found.classes.tolist() == [0, 0, 1]
    np.testing.assert_allclose(found.boxes[1], [0.25, 0, 0.75, 1])
    assert boxes.suppressed(np.zeros((0, 2)), np.zeros((0, 4))).boxes.shape == (0, 4)


def greedy(scores: np.ndarray, rectangles: np.ndarray) -> list[tuple[int, int]]:
    """Suppression in plain loops: (place, class) of what is kept."""
    order = sorted(
        (-s, place, kind) for (place, kind), s in np.ndenumerate(scores) if s >= boxes.LOWEST
    )
    kept: list[tuple[int, int]] = []
    for _, place, kind in order[: boxes.CANDIDATES]:
        ours = rectangles[place : place + 1]
        rivals = [boxes.iou(ours, rectangles[p : p + 1])[0, 0] for p, k in kept if k == kind]
        if all(overlap < boxes.OVERLAP for overlap in rivals):
            kept.append((place, kind))
    return kept[: boxes.LIMIT]


def crowd(count: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(2)
    low = rng.uniform(0, 0.8, (count, 2))
    rectangles = np.concatenate([low, low + rng.uniform(0.02, 0.2, (count, 2))], 1)
    return rng.uniform(0, 1, (count, 3)).astype(np.float32), rectangles.astype(np.float32)


def test_suppression_is_that_of_plain_loops():
    scores, rectangles = crowd(200)
    found = boxes.suppressed(scores, rectangles)
    kept = greedy(scores, rectangles)
    assert found.classes.tolist() == [kind for _, kind in kept]
    np.testing.assert_array_equal(found.boxes, rectangles[[place for place, _ in kept]])
    batch = boxes.detections(scores[None], rectangles[None])
    assert batch["boxes"].shape == (1, 100, 4)
    np.testing.assert_array_equal(batch["scores"][0, : len(kept)], found.scores)
    assert set(batch["classes"][0, len(kept) :]) <= {-1}


def test_suppression_of_300_candidates_takes_2_ms_at_most():
    scores, rectangles = crowd(300)
    times = []
    for _ in range(20):
        start = time.perf_counter()
        boxes.suppressed(scores, rectangles)
        times.append(time.perf_counter() - start)
    assert min(times) < 0.002  # the fastest of 20: a busy machine slows some


def test_an_integer_file_decodes_with_integers():
    """Nothing of scores, peaks and boxes is computed in floating point."""
    litert = pytest.importorskip("ai_edge_litert.interpreter")
    rng = np.random.default_rng(3)
    kernel = tf.constant(rng.normal(0, 0.3, (3, 3, 3, 6)).astype(np.float32))

    @tf.function(input_signature=[tf.TensorSpec([1, 16, 16, 3])])
    def network(images: tf.Tensor) -> dict[str, tf.Tensor]:
        heat, offset, size = tf.split(tf.nn.conv2d(images, kernel, 1, "SAME"), 3, axis=-1)
        return center_decoding.scores_and_boxes({"heat": heat, "offset": offset, "size": size})

    converter = tf.lite.TFLiteConverter.from_concrete_functions([network.get_concrete_function()])
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    examples = rng.uniform(-1, 1, (20, 1, 16, 16, 3)).astype(np.float32)
    converter.representative_dataset = lambda: ([x] for x in examples)
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = converter.inference_output_type = tf.int8
    interpreter = litert.Interpreter(model_content=converter.convert())
    interpreter.allocate_tensors()
    types = {tensor["dtype"] for tensor in interpreter.get_tensor_details()}
    assert types <= {np.int8, np.int32, np.bool_}
    expected = network(tf.constant(examples[0]))
    entry = interpreter.get_input_details()[0]
    scale, zero = entry["quantization"]
    integers = (examples[0] / scale + zero).round().clip(-128, 127).astype(np.int8)
    interpreter.set_tensor(entry["index"], integers)
    interpreter.invoke()
    for output in interpreter.get_output_details():
        scale, zero = output["quantization"]
        values = (interpreter.get_tensor(output["index"]).astype(np.float32) - zero) * scale
        true = expected["scores" if values.shape[-1] == 2 else "boxes"].numpy()
        # Boxes by some steps of 8 bits; which of two equal cells is a peak may change, rarely.
        assert np.median(np.abs(values - true)) < 0.05
