"""Points, the centers of boxes: the metric, what is chosen, and the way from a folder to files."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import export, needs_browser
from tests.test_box_metrics import LEFT, ONE, RIGHT, arrays
from tests.test_cli import json_of
from tests.test_detection_files import folder  # noqa: F401  (a fixture)
from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.runs.preparation import prepare
from tfresnet.runs.run_directory import open_run
from tfresnet.runs.train_run import train
from tfresnet.runtime import points
from tfresnet.runtime.marks import with_points
from tfresnet.runtime.points import Point
from tfresnet.runtime.predictor import PointDetector, open_file
from tfresnet.runtime.spec import POINTS, OutputSpec
from tfresnet.tasks import center_decoding

SIDE = 32
TASK = tasks.of(OutputSpec(POINTS, ("cat", "dog")))
MIDDLE, OTHER = (0.2, 0.5), (0.75, 0.5)  # of LEFT and of RIGHT
SQUARE = [0.4, 0.4, 0.6, 0.6]


def found(*pictures) -> dict[str, np.ndarray]:
    """The predictions for pictures, of (class, (x, y), score)."""
    most = max(1, *map(len, pictures))
    result = {
        "points": np.zeros((len(pictures), most, 2), np.float32),
        "scores": np.zeros((len(pictures), most), np.float32),
        "classes": np.full((len(pictures), most), -1, np.int32),
    }
    for row, marks in enumerate(pictures):
        for i, mark in enumerate(marks):
            result["classes"][row, i], result["points"][row, i], result["scores"][row, i] = mark
    return result


def measured(predictions, truth, **flags) -> dict:
    metrics = TASK.metrics()
    metrics.update(predictions, arrays(truth, **flags))
    return metrics.result()


def test_all_right_and_all_wrong():
    truth = [[(0, LEFT), (1, RIGHT)], []]
    result = measured(found([(0, MIDDLE, 0.9), (1, OTHER, 0.8)], []), truth)
    assert (result["map50"], result["map"], result["n"]) == (ONE, ONE, 2)
    assert (result["precision"], result["recall"], result["f1"]) == (1, 1, 1)
    assert result["per_class_counts"] == {"cat": 1, "dog": 1}
    wrong = measured(found([(1, MIDDLE, 0.9), (0, OTHER, 0.8)], []), truth)
    assert (wrong["map50"], wrong["f1"]) == (0, 0)
    assert measured(found([], []), truth)["precision"] == 0


@pytest.mark.parametrize(("away", "right"), [(0.099, 1), (0.101, 0)])
def test_a_point_is_right_within_half_the_side_of_a_square_box(away, right):
    shifted = (0.5 + away * 0.6, 0.5 - away * 0.8)
    assert measured(found([(0, shifted, 0.9)]), [[(0, SQUARE)]])["map50"] == pytest.approx(right)


def test_the_mean_over_thresholds_by_hand():
    """OKS is 0.5 ** (4 * 0.05 ** 2 / 0.2 ** 2) = 0.84: right at 0.5 to 0.8, 7 thresholds of 10."""
    result = measured(found([(0, (0.55, 0.5), 0.9)]), [[(0, SQUARE)]])
    assert result["map"] == pytest.approx(0.7)


def test_precision_recall_and_f1_are_of_what_is_shown():
    """Shown are a right and a wrong cat of two, and a right dog of one; 0.2 is below 0.3."""
    truth = [[(0, LEFT), (0, RIGHT)], [(1, LEFT)]]
    predictions = found(
        [(0, MIDDLE, 0.9), (0, (0.5, 0.0), 0.5), (0, OTHER, 0.2)], [(1, MIDDLE, 0.4)]
    )
    result = measured(predictions, truth)
    numbers = [result[key] for key in ("precision", "recall", "f1", "threshold")]
    assert numbers == pytest.approx([2 / 3, 2 / 3, 2 / 3, 0.3])


def test_points_in_ignored_boxes_do_not_count():
    truth = [[(0, LEFT), (0, RIGHT)]]
    inside = found([(0, MIDDLE, 0.9), (0, (0.55, 0.05), 0.8), (0, (0.95, 0.9), 0.7)])
    result = measured(inside, truth, ignored=[(0, 1)])
    assert (result["map50"], result["precision"], result["recall"]) == (ONE, 1, 1)
    outside = found([(0, MIDDLE, 0.9), (0, (0.45, 0.5), 0.8)])  # beside both; 0.05 is half of 1/2
    assert measured(outside, [[(0, LEFT), (0, [0.6, 0.4, 0.7, 0.6])]], ignored=[(0, 1)])[
        "precision"
    ] == pytest.approx(0.5)


def test_agreement_counts_the_points_of_both():
    """A pair within 0.05 and one exact; a point of each class has no partner: 4 of 6."""
    ours = found([(0, (0.2, 0.2), 0.9), (1, (0.5, 0.5), 0.6), (0, (0.8, 0.8), 0.5)])
    theirs = found([(0, (0.23, 0.23), 0.7), (1, (0.5, 0.5), 0.6), (1, (0.8, 0.8), 0.4)])
    result = TASK.agreement(ours, theirs)
    assert result.agreement == pytest.approx(4 / 6)
    assert result.max_abs_error == pytest.approx(0.2)
    apart = found([(0, (0.2, 0.2), 0.9)]), found([(0, (0.24, 0.24), 0.9)])  # by 0.057
    assert TASK.agreement(*apart).agreement == 0


def test_of_equal_neighbors_the_first_stays():
    """A plateau, also in a slope, is one point; equal scores that do not touch are two."""
    heat = np.zeros((5, 6), np.float32)
    heat[0, 0] = heat[0, 1] = heat[1, 0] = heat[1, 1] = 0.5
    heat[3, 3] = heat[4, 2] = 0.25  # neighbors across a corner
    heat[0, 5] = 0.25
    kept = center_decoding.first_peaks(tf.constant(heat)[None, ..., None])[0, ..., 0].numpy()
    assert np.argwhere(kept).tolist() == [[0, 0], [0, 5], [3, 3]]
    assert kept[0, 0] == 0.5


def test_the_best_points_in_their_order():
    scores = np.zeros((2, 120, 2), np.float32)
    scores[0, 7, 1], scores[0, 3, 0], scores[0, 5, 0] = 0.4, 0.9, 0.005
    scores[1] = 0.5  # 240 of them
    places = np.stack([np.linspace(-0.1, 1, 120), np.full(120, 0.5)], -1).astype(np.float32)
    result = points.best(scores, np.stack([places, places]))
    assert result["classes"][0, :3].tolist() == [0, 1, -1]  # 0.005 is too low
    np.testing.assert_allclose(result["points"][0, 0], [0, 0.5])  # within the picture
    assert (result["classes"][1] >= 0).all()
    assert result["scores"].shape == (2, 100)
    assert points.shown(result, 0, 0.5).classes.tolist() == [0]


def test_a_dot_is_drawn_in_the_color_of_its_class():
    output = OutputSpec(POINTS, ("a", "b"), colors=("#ff0000", "#00ff00"))
    picture = Image.new("RGB", (64, 48))
    drawn = np.asarray(with_points(picture, [Point("b", 0.9, 30, 40)], output))
    assert drawn[40, 30].tolist() == [0, 255, 0]
    assert not drawn[10, 10].any()
    assert not np.asarray(picture).any()  # a copy is drawn on


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):  # noqa: F811
    settings = [
        f"data.dataset={folder}", f"data.image_size={SIDE}", "data.flip=false",
        "data.crop_padding=0", "model.head=points", "train.epochs=12", "train.batch_size=8",
        "train.warmup_epochs=1", "train.optimizer=adamw", "train.lr=0.01",
        "train.weight_decay=0.01",
    ]  # fmt: skip
    return train(loading.load("quickstart", settings), tmp_path_factory.mktemp("runs") / "walls")


@pytest.fixture(scope="module")
def files(run):
    """The report of an export."""
    kinds = ("float32", "int8")
    config = ExportConfig(formats=("tflite", "onnx", "tflm"), quantizations=kinds)
    return export(run, config.model_copy(update={"max_drop": 100}))


def test_the_task_of_a_run_is_points(run, folder):  # noqa: F811
    again = open_run(run.directory)
    assert (again.output.task, again.output.labels) == (POINTS, ("door", "window"))
    assert run.result.test["map50"] > 0.8  # two colors; the walls are learned to 1.0
    record = json_of("evaluate", run.directory)
    assert record["map50"] == run.result.test["map50"]
    assert {"precision", "recall", "f1", "threshold", "per_class"} <= record.keys()
    again = prepare(run.config, run.directory, resume=True)
    assert again.dataset.output.task == again.trainer.task.output.task == POINTS


def test_files_find_the_checkpoints_points(run, files):
    assert files["checkpoint_map50"] == pytest.approx(1, abs=0.2)
    for artifact in files["artifacts"]:
        assert {"map50", "precision", "recall", "f1"} <= artifact.keys()
        if artifact["quantization"] == "float32":
            assert artifact["agreement"] > 0.98, artifact["path"]
            assert artifact["max_abs_error"] < 0.01  # of a score
        elif "tfl" in artifact["format"]:
            assert artifact["fully_integer"]
            assert artifact["drop"] < 15  # of 8 pictures: a point is 6 % of the recall
    folder = run.directory / "export"  # noqa: F811
    assert "Precision and recall" in (folder / "report.html").read_text()
    assert "finds the centers of 2 classes" in (folder / "MODEL_CARD.md").read_text()
    header = next(folder.rglob("model.h")).read_text()
    assert "kPlaces = 64;" in header  # of 4 x 4 pixels, the coarsest of this network
    assert "AddMaximum" in header


def test_outputs_have_names_and_an_order(run, files):
    for name in ("model_float32.tflite", "model_int8.tflite", "model_int8.onnx"):
        detector = open_file(run.directory / "export" / name)
        assert isinstance(detector, PointDetector)
        outputs = detector.outputs(np.zeros((2, SIDE, SIDE, 3), np.uint8))
        assert {key: values.shape for key, values in outputs.items()} == {
            "points": (2, 64, 2), "scores": (2, 64, 2)
        }  # fmt: skip


def test_predict_gives_points_in_pixels_and_draws_them(run, files, folder, tmp_path):  # noqa: F811
    model, picture = run.directory / "export" / "model_int8.tflite", folder / "images/test/1.png"
    words = ("predict", model, picture, "--threshold", "0.05")
    (result,) = json_of(*words, "--out", tmp_path / "out")["predictions"]
    assert {"label", "score", "x", "y"} == result["points"][0].keys()
    assert all(0 <= one["x"] <= 64 and 0 <= one["y"] <= 48 for one in result["points"])
    assert Image.open(result["picture"]).size == (64, 48)
    best = PointDetector(model).detect(picture, threshold=0.05)[0]
    assert best._asdict() == result["points"][0]


SHOW = """async ([bytes, name]) => {
  await window.show(new Blob([new Uint8Array(bytes)]), name);
  return [...document.querySelectorAll("#models article")].map((card) => {
    const scene = card.querySelector(".scene").getBoundingClientRect();
    const dots = [...card.querySelectorAll(".dot")].map((dot) => {
      const {left, top, right, bottom} = dot.getBoundingClientRect();
      const x = (left + right) / 2 - scene.left, y = (top + bottom) / 2 - scene.top;
      return [x / scene.width, y / scene.height];
    });
    return {
      dots: dots.reverse(), // the best one is drawn last
      labels: [...card.querySelectorAll("li .label")].map((it) => it.textContent),
      scores: [...card.querySelectorAll("li .value")].map((it) => parseFloat(it.textContent) / 100),
    };
  });
}"""


@needs_browser
def test_the_page_shows_what_detect_gives(run, files, folder, page):  # noqa: F811
    names = ("model_float32.tflite", "model_int8.tflite", "model_int8.onnx")
    models = [run.directory / "export" / name for name in names]
    found = page(models)
    for path in sorted((folder / "images/test").glob("*.png"))[:3]:
        cards = found.evaluate(SHOW, [list(path.read_bytes()), path.name])
        for model, card in zip(models, cards, strict=True):
            expected = PointDetector(model).detect(path)
            # The same pixels: other kernels move an integer file's score by a step or two of 1/256.
            assert card["labels"] == [one.label for one in expected]
            assert card["scores"] == pytest.approx([one.score for one in expected], abs=0.02)
            places = np.array([(one.x / 64, one.y / 48) for one in expected]).reshape(-1, 2)
            np.testing.assert_allclose(np.reshape(card["dots"], (-1, 2)), places, atol=0.03)


CHOOSE = """async ([points, scores, classes, lowest]) => {
  const {strongest} = await import("/web/boxes.js");
  const found = strongest(Float32Array.from(points), Float32Array.from(scores), classes, lowest);
  return found.map(({point, score, kind}) => [...point, score, kind]);
}"""


@needs_browser
def test_the_page_chooses_the_same_points_to_the_bit(run, files, page):
    found, rng = page([run.directory / "export" / "model_int8.tflite"]), np.random.default_rng(0)
    for count, classes in ((40, 3), (300, 2), (0, 2)):
        scores = (rng.integers(0, 12, (count, classes)) / 11).astype(np.float32)  # many are equal
        places = rng.uniform(-0.2, 1.2, (count, 2)).astype(np.float32)
        for lowest in (0.01, 0.3):
            sent = [places.ravel().tolist(), scores.ravel().tolist(), classes, lowest]
            expected = points.shown(points.best(scores[None], places[None], lowest), 0, 0)
            rows = np.column_stack([expected.points, expected.scores, expected.classes])
            given = np.array(found.evaluate(CHOOSE, sent), np.float32).reshape(-1, 4)
            np.testing.assert_array_equal(given, rows)
