"""The suppression inside a detector's file (export --nms): the runtime's boxes, anywhere."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tensorflow as tf
import tf2onnx
from ai_edge_litert.interpreter import Interpreter
from PIL import Image

from tests.conftest import export, needs_browser
from tests.test_boxes_on_devices import CASES, SHOW, finds_walls, outputs, walls  # noqa: F401
from tests.test_cli import json_of, refused
from tests.test_detection_files import folder  # noqa: F401  (a fixture)
from tests.test_pixels_on_devices import needs_device
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.formats import suppression
from tfresnet.runs import run_directory
from tfresnet.runtime import boxes
from tfresnet.runtime.predictor import Detector

NAMES = ("model_float32.tflite", "model_int8.tflite", "model_float32.onnx", "model_int8.onnx")
SHAPES = {
    "detection_boxes": (1, 100, 4), "detection_classes": (1, 100), "detection_scores": (1, 100),
    "num_detections": (1,),
}  # fmt: skip


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory) -> run_directory.Run:  # noqa: F811
    return finds_walls(folder, tmp_path_factory.mktemp("runs") / "walls")


@pytest.fixture(scope="module")
def plain(run) -> Path:
    """The folder with files that give the boxes of all cells."""
    export(run, ExportConfig(formats=("tflite", "onnx"), quantizations=KINDS, max_drop=100))
    return (run.directory / "export").rename(run.directory / "plain")


KINDS = ("float32", "int8")


@pytest.fixture(scope="module")
def files(run, plain) -> Path:
    """The folder with files that choose among them."""
    words = ("--tflite", "--onnx", "--nms", "--quantize", "float32", "--quantize", "int8")
    report = json_of("export", run.directory, *words, "--max-drop", "100")
    for artifact in report["artifacts"]:
        assert artifact["map50"] == pytest.approx(report["checkpoint_map50"], abs=0.15)
        if (artifact["format"], artifact["quantization"]) == ("tflite", "int8"):
            assert artifact["fully_integer"]  # up to the suppression
    return run.directory / "export"


def random_case(seed: int, places: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes and scores that a network could give, with ties, and turned over or outside."""
    found, scores = outputs(seed, places, classes)
    return np.nan_to_num(found, nan=0.25), scores


@pytest.mark.parametrize("case", [case for case in CASES if case[1]])
def test_the_graph_chooses_what_the_runtime_chooses(case):
    """TensorFlow leaves a box out above an overlap of 0.5, the runtime from there on.

    A grid of eighths has many overlaps that are exactly a half; they are moved a little apart.
    """
    places, scores = random_case(*case)
    places = places + np.random.default_rng(9).normal(0, 1e-3, places.shape).astype(np.float32)
    expected = boxes.detections(scores[None], places[None])

    @tf.function
    def suppressed(boxes, scores):
        return tuple(suppression.suppressed({"boxes": boxes, "scores": scores}).values())

    signature = [
        tf.TensorSpec([1, *values.shape], tf.float32, name)
        for name, values in (("boxes", places), ("scores", scores))
    ]
    concrete = suppressed.get_concrete_function(*signature)
    in_tensorflow = [v.numpy() for v in concrete(places[None], scores[None])]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete], tf.Module())
    lite = Interpreter(model_content=converter.convert(), num_threads=2)
    in_lite = lite.get_signature_runner()(boxes=places[None], scores=scores[None])
    in_lite = [in_lite[f"output_{i}"] for i in range(4)]
    onnx, _ = tf2onnx.convert.from_function(suppressed, signature, opset=18)
    session = onnxruntime.InferenceSession(onnx.SerializeToString())
    in_onnx = session.run(None, {"boxes": places[None], "scores": scores[None]})
    for found in (in_tensorflow, in_lite, in_onnx):
        got = boxes.counted(*found)
        np.testing.assert_array_equal(got["classes"], expected["classes"])
        np.testing.assert_array_equal(got["scores"], expected["scores"])
        np.testing.assert_allclose(got["boxes"], expected["boxes"], atol=1e-7)
    assert found[3].shape == (1,)


def test_outputs_have_the_names_of_the_object_detection_api(files):
    for name in NAMES:
        given = Detector(files / name).outputs(np.zeros((1, 32, 48, 3), np.uint8))
        assert {key: values.shape for key, values in given.items()} == SHAPES
        assert {values.dtype for values in given.values()} == {np.dtype(np.float32)}


@pytest.mark.parametrize("name", NAMES)
def test_files_find_what_the_runtime_finds(plain, files, walls, name):  # noqa: F811
    for path in walls:
        ours, theirs = Detector(files / name).detect(path), Detector(plain / name).detect(path)
        assert [one.label for one in ours] == [one.label for one in theirs]
        for one, other in zip(ours, theirs, strict=True):
            # An int8 graph of another ending may round a score or a corner by one step more.
            step = 0.02 if "int8" in name else 1e-4
            assert one.score == pytest.approx(other.score, abs=step)
            np.testing.assert_allclose(one.box, other.box, atol=64 * step)


def test_what_cannot_be_is_said(run, tiny_run):
    directory = run.directory
    words = refused("export", directory, "--tflite", "--nms", "--output", "boxes")
    assert "--nms: expected no other output beside it, got boxes" in words
    words = refused("export", directory, "--tflite", "--nms", "--batch", "4")
    assert "batch: expected 1 with the output detections, got 4" in words
    words = refused("export", directory, "--saved-model", "--nms")
    assert "expected one of the formats tflite, onnx with detections, got saved_model" in words
    words = refused("export", tiny_run.directory, "--tflite", "--nms")
    assert "detections" in words


MEDIAPIPE = """
import json, sys
import mediapipe
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ObjectDetector, ObjectDetectorOptions
options = ObjectDetectorOptions(BaseOptions(model_asset_path=sys.argv[1]), score_threshold=0.3)
with ObjectDetector.create_from_options(options) as detector:
    for path in sys.argv[2:]:
        found = detector.detect(mediapipe.Image.create_from_file(path)).detections
        rows = []
        for one in found:
            box, (best, *_) = one.bounding_box, one.categories
            sides = (box.origin_x, box.origin_y, box.width, box.height)
            rows.append([best.category_name, best.score, *sides])
        print(json.dumps(rows))
"""


@needs_device
@pytest.mark.parametrize("kind", KINDS)
def test_mediapipe_finds_the_same_boxes_in_our_files_unmodified(
    files,
    walls,  # noqa: F811
    tmp_path,
    kind,
):
    model = files / f"model_{kind}.tflite"
    detector, pictures = Detector(model), []
    for path in walls:  # at the network's size: MediaPipe resizes in its own way
        pictures.append(str(tmp_path / path.name))
        Image.fromarray(detector.prepare(path)).save(pictures[-1])
    command = [os.environ["TFRESNET_DEVICE_PYTHON"], "-c", MEDIAPIPE, model, *pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()[-len(pictures) :]
    assert sum(len(json.loads(line)) for line in lines) >= 2 * len(pictures)
    for path, line in zip(pictures, lines, strict=True):
        ours, theirs = detector.detect(path), json.loads(line)
        assert [one.label for one in ours] == [label for label, *_ in theirs]
        for one, (_, score, *sides) in zip(ours, theirs, strict=True):
            assert score == pytest.approx(one.score, abs=0.01)  # kernels of another version
            left, top, right, bottom = one.box
            # MediaPipe cuts numbers off to whole pixels.
            np.testing.assert_allclose(sides, [left, top, right - left, bottom - top], atol=1.01)


@needs_browser
def test_the_page_shows_what_is_in_the_file(page, files, walls):  # noqa: F811
    models = [files / name for name in NAMES]
    cards = page(models).evaluate(SHOW, [list(walls[0].read_bytes()), "wall"])
    for model, card in zip(models, cards, strict=True):
        expected = Detector(model).detect(walls[0])
        assert card["labels"] == [one.label for one in expected]
        assert card["scores"] == pytest.approx([one.score for one in expected], abs=0.02)
        sides = [np.divide(one.box, (64, 48, 64, 48)) for one in expected]
        np.testing.assert_allclose(card["frames"], sides, atol=0.03)
