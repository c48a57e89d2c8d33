"""Files that find boxes: the same ones in every format, on the device, drawn and reported."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import export
from tests.test_cli import json_of
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.formats import graph
from tfresnet.deploy.report.of_boxes import precision_and_recall
from tfresnet.runs.train_run import train
from tfresnet.runtime.boxes import Box
from tfresnet.runtime.marks import with_boxes
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.predictor import Detector, open_file
from tfresnet.runtime.spec import OutputSpec
from tfresnet.tasks.box_metrics import DetectionMetrics

SIDE = 32
PAINT = ((40, 180, 60), (200, 60, 190))  # what doors and windows look like


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 gray walls with a door and a window somewhere, 64 x 48 pixels, and 8 to test on; YOLO."""
    root, rng = tmp_path_factory.mktemp("data") / "walls", np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 8)):
        for kind in ("images", "labels"):
            (root / kind / part).mkdir(parents=True)
        for number in range(count):
            image, rows = rng.integers(90, 130, (48, 64, 3)), []
            for value, color in enumerate(PAINT):
                y, x = rng.integers(0, 28), rng.integers(0, 12) + 32 * value
                image[y : y + 20, x : x + 20] = color + rng.integers(-15, 15, (20, 20, 3))
                rows.append(f"{value} {(x + 10) / 64} {(y + 10) / 48} {20 / 64} {20 / 48}")
            Image.fromarray(image.astype(np.uint8)).save(root / f"images/{part}/{number}.png")
            (root / f"labels/{part}/{number}.txt").write_text("\n".join(rows))
    names = "names: [door, window]\n"
    (root / "data.yaml").write_text(f"{names}train: images/train\nval: images/test\n")
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    settings = [
        f"data.dataset={folder}", f"data.image_size={SIDE}", "data.flip=false",
        "data.crop_padding=0", "train.epochs=12", "train.batch_size=8", "train.warmup_epochs=1",
        "train.optimizer=adamw", "train.lr=0.01", "train.weight_decay=0.01",
    ]  # fmt: skip
    return train(loading.load("quickstart", settings), tmp_path_factory.mktemp("runs") / "walls")


@pytest.fixture(scope="module")
def files(run):
    """The report of an export."""
    formats = ("tflite", "onnx", "saved_model", "tflm")
    kinds = ("float32", "int8")
    return export(run, ExportConfig(formats=formats, max_drop=100, quantizations=kinds))


def test_files_find_the_checkpoints_boxes(run, files):
    assert {a["metric"] for a in files["artifacts"]} == {"map50"}
    assert files["checkpoint_map50"] == pytest.approx(run.result.test["map50"], abs=0.02)
    for artifact in files["artifacts"]:
        if artifact["quantization"] == "float32":
            assert artifact["agreement"] > 0.98, artifact["path"]
            assert artifact["max_abs_error"] < 0.01  # of a score
        elif "tfl" in artifact["format"]:
            assert artifact["fully_integer"]
    page = (run.directory / "export" / "report.html").read_text()
    assert "Precision and recall" in page
    assert "invented" in page


def test_outputs_have_names_and_an_order(run, files):
    for name in ("model_float32.tflite", "model_int8.tflite", "model_float32.onnx"):
        detector = open_file(run.directory / "export" / name)
        assert isinstance(detector, Detector)
        found = detector.model.outputs(np.zeros((2, SIDE, SIDE, 3), np.uint8))
        assert list(found) == ["boxes", "scores"]
        assert found["boxes"].shape[::2] == (2, 4)
        assert found["scores"].shape == (2, found["boxes"].shape[1], 2)
    content = (run.directory / "export" / "model_int8.tflite").read_bytes()
    assert [o.outputs[0] for o in graph.operations(content)].count("scores") == 1
    assert read_metadata(run.directory / "export" / "model_int8.onnx").output_kind == "boxes"


def test_a_file_is_measured_like_its_run(run, files):
    path = run.directory / "export" / "model_int8.tflite"
    (artifact,) = [a for a in files["artifacts"] if a["path"] == path.as_posix()]
    found = json_of("evaluate", path)
    assert found["map50"] == pytest.approx(artifact["map50"])
    assert {"map50", "map", "per_class", "n"} <= found.keys()


def test_boxes_are_in_pixels_of_the_picture(run, files, folder, tmp_path):
    large = tmp_path / "large.png"
    with Image.open(folder / "images" / "test" / "0.png") as picture:
        picture.resize((640, 480), Image.Resampling.NEAREST).save(large)
    detector = Detector(run.directory / "export" / "model_float32.tflite")
    small = detector.detect(folder / "images" / "test" / "0.png", threshold=0.01)
    found = detector.detect(large, threshold=0.01)
    assert found
    best, same = found[0], small[0]
    assert best.label == same.label
    # Ten times as large; the resize of the picture differs a little.
    np.testing.assert_allclose(best.box, 10 * np.array(same.box), atol=12)
    assert all(
        0 <= x <= limit for one in found for x, limit in zip(one.box, (640, 480) * 2, strict=True)
    )


def test_predict_gives_boxes_and_draws_them(run, files, folder, tmp_path):
    picture, out = folder / "images" / "test" / "1.png", tmp_path / "out"
    words = ("predict", run.directory / "export" / "model_float32.tflite", picture)
    (found,) = json_of(*words, "--threshold", "0.01", "--out", out)["predictions"]
    assert found["boxes"]
    assert {"label", "score", "box"} == found["boxes"][0].keys()
    scores = [one["score"] for one in found["boxes"]]
    assert scores == sorted(scores, reverse=True)
    assert Path(found["picture"]) == out / "1.png"
    (strict,) = json_of(*words, "--threshold", "1")["predictions"]
    assert strict["boxes"] == []


def test_a_box_is_drawn_in_the_color_of_its_class():
    output = OutputSpec("detection", ("a", "b"), colors=("#ff0000", "#00ff00"))
    picture = Image.new("RGB", (64, 48))
    drawn = np.asarray(with_boxes(picture, [Box("b", 0.9, (20, 20, 40, 40))], output))
    assert drawn[40, 30].tolist() == [0, 255, 0]  # the lower edge
    assert drawn[30, 30].tolist() == [0, 0, 0]  # the middle
    assert not np.asarray(picture).any()  # a copy is drawn on


def test_precision_and_recall_by_hand():
    box = [0.0, 0.0, 0.5, 0.5]
    truth = {
        "boxes": np.array([[box, [0.5, 0.5, 1, 1]]], np.float32),
        "classes": np.array([[0, 0]], np.int32),
        "ignored": np.zeros((1, 2), bool),
    }
    predictions = {
        "boxes": np.array([[box, [0.6, 0, 1, 0.3]]], np.float32),
        "scores": np.array([[0.9, 0.4]], np.float32),
        "classes": np.array([[0, 0]], np.int32),
    }
    metrics = DetectionMetrics(OutputSpec("detection", ("door", "window")))
    metrics.update(predictions, truth)
    recall, precision = precision_and_recall(metrics.matched())
    assert recall.tolist() == [0.5, 0.5]  # one of two is found
    assert precision.tolist() == [1.0, 0.5]  # the second is nothing
