"""A class for each pixel, from the loss to the exported file and what it draws."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import export
from tests.golden import measured
from tests.test_cli import json_of, refused, tfresnet
from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.mask_splits import MaskArraySplit
from tfresnet.deploy import gate
from tfresnet.deploy.reference import Reference, compare
from tfresnet.models import zoo
from tfresnet.runs import run_directory
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.train_run import train
from tfresnet.runtime import colors
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.predictor import Segmenter, open_file
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks import pixel_losses
from tfresnet.tasks.segmentation import SegmentationMetrics, confusion, thinned

LABELS, COLORS = ("wall", "door", "window"), ("#202020", "#00ff00", "#ff00ff")
SIDE = 32
PIXELS = {1: (40, 180, 60), 2: (200, 60, 190)}  # what doors and windows look like


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """40 gray walls with a door and a window somewhere, 64 x 48 pixels, and 8 to test on."""
    root, rng = tmp_path_factory.mktemp("data") / "walls", np.random.default_rng(0)
    for part, count in (("train", 40), ("test", 8)):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
        for number in range(count):
            image, mask = rng.integers(90, 130, (48, 64, 3)), np.zeros((48, 64), np.uint8)
            for value, color in PIXELS.items():
                y, x = rng.integers(0, 28), rng.integers(0, 44)
                image[y : y + 20, x : x + 20] = color + rng.integers(-15, 15, (20, 20, 3))
                mask[y : y + 20, x : x + 20] = value
            mask[0] = 255
            Image.fromarray(image.astype(np.uint8)).save(root / f"images/{part}/{number}.png")
            Image.fromarray(mask).save(root / f"masks/{part}/{number}.png")
    rows = "".join(f"{label} {color}\n" for label, color in zip(LABELS, COLORS, strict=True))
    (root / "classes.txt").write_text(rows)
    return root


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    settings = [
        f"data.dataset={folder}", "data.task=segment", "data.crop_padding=0",
        f"data.image_size={SIDE}", "model.width=0.5",
        "train.epochs=6", "train.batch_size=8", "train.warmup_epochs=1", "train.lr=0.1",
        "train.class_weights=median_frequency", "train.dice=0.3",
    ]  # fmt: skip
    config = loading.load("quickstart", settings)
    return train(config, tmp_path_factory.mktemp("runs") / "walls")


@pytest.fixture(scope="module")
def files(run):
    """The report of an export."""
    formats = ("tflite", "onnx", "saved_model", "tflm")
    return export(run, ExportConfig(formats=formats, max_drop=5, quantizations=("float32", "int8")))


# --- numbers


def test_intersection_over_union_by_hand():
    metrics = SegmentationMetrics(OutputSpec("segmentation", ("a", "b", "c")))
    true = np.array([[[0, 0, 1], [1, 1, 255]]], np.uint8)
    found = np.array([[[0, 1, 1], [1, 0, 2]]], np.uint8)
    metrics.update(found, true)
    np.testing.assert_array_equal(metrics.confusion, [[1, 1, 0], [1, 2, 0], [0, 0, 0]])
    result = metrics.result()
    # Of a: 1 of 3 pixels that are true or predicted; of b: 2 of 4; nobody has c, void is void.
    assert result["per_class"] == {"a": pytest.approx(1 / 3), "b": 0.5, "c": None}
    assert result["miou"] == pytest.approx((1 / 3 + 1 / 2) / 2)
    assert result["pixel_accuracy"] == 3 / 5
    low, high = result["miou_interval"]
    assert low <= result["miou"] <= high
    assert result["n"] == 1


def test_counts_over_images_are_added_before_they_are_divided():
    metrics = SegmentationMetrics(OutputSpec("segmentation", ("a", "b")))
    true = np.zeros((2, 4, 4), np.uint8)
    true[0, 0, 0] = true[1] = 1
    found = np.ones_like(true)
    metrics.update(found[:1], true[:1])
    metrics.update(found[1:], true[1:])
    assert metrics.scores()["miou"] == pytest.approx((0 + 17 / 32) / 2)  # not the images' mean


def test_confusion_is_that_of_scikit_learn():
    from sklearn.metrics import confusion_matrix

    rng = np.random.default_rng(0)
    true, found = rng.integers(0, 5, (2, 30, 30)).astype(np.uint8)
    np.testing.assert_array_equal(
        confusion(true, found, 5), confusion_matrix(true.ravel(), found.ravel(), labels=range(5))
    )


def test_losses_by_hand():
    logits = np.log(np.array([[[[0.5, 0.5], [0.25, 0.75], [0.9, 0.1]]]], np.float32))
    classes = np.array([[[0, 1, 255]]], np.uint8)
    found = pixel_losses.per_image(TrainConfig(), classes, tf.constant(logits)).numpy()
    assert found == pytest.approx([-(np.log(0.5) + np.log(0.75)) / 2])
    weights = np.array([3, 1], np.float32)
    found = pixel_losses.per_image(TrainConfig(), classes, tf.constant(logits), weights).numpy()
    assert found == pytest.approx([-(3 * np.log(0.5) + np.log(0.75)) / 4])
    found = pixel_losses.per_image(TrainConfig(dice=1), classes, tf.constant(logits)).numpy()
    first = 2 * 0.5 / (0.5**2 + 0.25**2 + 1)
    second = 2 * 0.75 / (0.5**2 + 0.75**2 + 1)
    assert found == pytest.approx([1 - (first + second) / 2], rel=1e-5)
    smooth = pixel_losses.per_image(TrainConfig(label_smoothing=0.1), classes, tf.constant(logits))
    even = -(np.log(0.25) / 2 + np.log(0.25 * 0.75) / 2) / 2
    plain = -(np.log(0.5) + np.log(0.75)) / 2
    assert smooth.numpy() == pytest.approx([0.9 * plain + 0.1 * even])


def test_an_image_of_void_has_no_loss_and_no_gradient():
    logits = tf.Variable(tf.random.normal([1, 2, 2, 3]))
    with tf.GradientTape() as tape:
        void = np.full((1, 2, 2), 255, np.uint8)
        loss = pixel_losses.per_image(TrainConfig(), void, logits)
    assert loss.numpy() == [0.0]
    assert not np.any(tape.gradient(loss, logits).numpy())


def test_median_frequency_by_hand():
    masks = np.array([[[0, 0], [0, 1]], [[0, 0], [0, 255]]], np.uint8)
    split = MaskArraySplit(np.zeros((2, 2, 2, 3), np.uint8), masks)
    # Frequencies: 6 of 7 pixels, and 1 of the 4 pixels of the image that has the class.
    frequencies = np.array([6 / 7, 1 / 4])
    expected = [*(np.median(frequencies) / frequencies), 0]
    np.testing.assert_allclose(pixel_losses.median_frequency(split, 3), expected, rtol=1e-6)


def test_the_gate_asks_for_equal_pixels():
    task = tasks.of(OutputSpec("segmentation", ("a", "b")))
    truth = np.zeros((2, 10, 10), np.uint8)
    truth[:, :5] = 1
    found = truth.copy()
    found[0, 4] = 0  # 10 of 200 pixels; the worst image has 90 %
    values = compare(found, Reference(truth, truth, task))
    assert values["agreement"] == 0.95
    assert values["max_abs_error"] == pytest.approx(0.1)
    assert values["metric"] == "miou"
    record = ArtifactRecord(path="m", quantization="float32", **values)
    assert gate.failures(record, 100, [], least_agreement=0.95) == []
    (failure,) = gate.failures(record, 100, [], least_agreement=0.96)
    assert failure == "95.00% of the decisions are the checkpoint's, less than 96%"


def test_colors():
    given = OutputSpec("segmentation", LABELS, colors=COLORS)
    assert colors.palette(given).tolist() == [[32, 32, 32], [0, 255, 0], [255, 0, 255]]
    # https://host.robots.ox.ac.uk/pascal/VOC/voc2012/ : black, maroon, green, olive
    default = colors.palette(OutputSpec("segmentation", tuple("abcd")))
    assert default.tolist() == [[0, 0, 0], [128, 0, 0], [0, 128, 0], [128, 128, 0]]
    image, classes = np.full((1, 2, 3), 100, np.uint8), np.array([[1, 255]], np.uint8)
    blended = colors.overlay(image, classes, colors.palette(given), alpha=0.5)
    assert blended.tolist() == [[[50, 178, 50], [100, 100, 100]]]
    with pytest.raises(ValueError, match="expected a color #rrggbb of each label"):
        OutputSpec("segmentation", LABELS, colors=("red",))


# --- a run and its files


def test_a_run_learns_pixels_and_says_how_many(run):
    result = run.finished_result()
    assert result.test["miou"] == result.test_miou
    assert result.test_miou > 0.6  # all wall: 0.26; color tells a class
    assert result.test_top1 is None
    assert set(result.test["per_class"]) == set(LABELS)
    assert json_of("evaluate", run.directory)["miou"] == pytest.approx(result.test_miou, abs=0.01)
    shown = tfresnet("evaluate", run.directory).stdout
    assert f"mIoU {result.test_miou:.2%}"[:9] in shown
    assert "intersection over union of each class" in shown


def test_files_give_the_checkpoints_pixels(run, files):
    assert [a["metric"] for a in files["artifacts"]] == ["miou"] * len(files["artifacts"])
    assert files["checkpoint_top1"] is None
    assert files["checkpoint_miou"] == pytest.approx(run.finished_result().test_miou, abs=0.01)
    for artifact in files["artifacts"]:
        floating = artifact["quantization"] == "float32"
        # A pixel between two classes may fall to either by the rounding of another kernel.
        assert artifact["agreement"] > (0.999 if floating else 0.93), artifact["path"]
        if "tflite" in artifact["format"] and not floating:
            assert artifact["fully_integer"]
    page = (run.directory / "export" / "report.html").read_text()
    assert "Each class" in page
    assert "disagrees most with the checkpoint" in page
    assert "mIoU" in (run.directory / "export" / "MODEL_CARD.md").read_text()


def test_a_file_is_measured_like_its_run(run, files):
    path = run.directory / "export" / "model_int8.tflite"
    (artifact,) = [a for a in files["artifacts"] if a["path"] == path.as_posix()]
    found = json_of("evaluate", path)
    assert found["miou"] == pytest.approx(artifact["miou"])
    assert {"miou", "pixel_accuracy", "per_class", "n"} <= found.keys()
    metadata = read_metadata(path)
    assert metadata.output_kind == "class_map"
    assert metadata.output == OutputSpec("segmentation", LABELS, colors=COLORS)
    assert metadata.measured["miou"] == artifact["miou"]


def test_probabilities_can_be_had_instead(run, files, tiny_run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.directory, copy, ignore=shutil.ignore_patterns("export"))
    config = ExportConfig(
        formats=("tflite", "onnx"), quantizations=("int8",), max_drop=5,
        output="class_probabilities",
    )  # fmt: skip
    for artifact in export(run_directory.open_run(copy), config)["artifacts"]:
        segmenter = open_file(artifact["path"])
        assert isinstance(segmenter, Segmenter)
        pixels = np.zeros((2, SIDE, SIDE, 3), np.uint8)
        probabilities = segmenter.run(pixels)
        assert probabilities.shape == (2, SIDE, SIDE, len(LABELS))
        # An integer softmax has steps of 1/256 and rounds each down.
        np.testing.assert_allclose(probabilities.sum(-1), 1, atol=0.02)
        assert artifact["agreement"] > 0.93
    with pytest.raises(
        InputError, match="output: expected auto of a run of classification, whose files give prob"
    ):
        export(tiny_run, ExportConfig(output="class_map"))


# --- pictures


@pytest.fixture
def sideways(folder, tmp_path):
    """A picture of the test part that lies on its side, with the EXIF orientation that says so."""
    path, exif = tmp_path / "sideways.jpg", Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees clockwise to see it upright
    with Image.open(folder / "images" / "test" / "0.png") as image:
        turned = image.resize((192, 144)).transpose(Image.Transpose.ROTATE_90)
        turned.save(path, exif=exif, quality=95)
    return path


def test_masks_have_the_size_of_the_picture_as_a_person_sees_it(run, files, sideways, folder):
    segmenter = Segmenter(run.directory / "export" / "model_float32.tflite")
    found = segmenter.segment(sideways)
    assert found.shape == (144, 192)
    with Image.open(folder / "images" / "test" / "0.png") as image:
        straight = segmenter.segment(image.resize((192, 144)))
    # JPEG changes colors a little.
    assert (found == straight).mean() > 0.97


def test_predict_draws_what_it_found(run, files, sideways, tmp_path):
    out = tmp_path / "found"
    result = json_of("predict", run.directory, sideways, sideways, "--out", out)
    first, second = result["predictions"]
    assert Path(first["mask"]) == out / "sideways_mask.png"
    assert Path(second["picture"]) == out / "sideways-2.png"
    assert sum(first["shares"].values()) == pytest.approx(1)
    with Image.open(first["mask"]) as mask, Image.open(first["picture"]) as picture:
        assert mask.size == picture.size == (192, 144)
        assert mask.mode == "P"
        assert mask.getpalette()[:6] == [32, 32, 32, 0, 255, 0]
        counts = np.bincount(np.asarray(mask).ravel(), minlength=3) / mask.width / mask.height
    # The shares are counted at the model's size, the mask is that of the picture.
    assert counts[0] == pytest.approx(first["shares"]["wall"], abs=0.02)
    assert "of segmentation" in tfresnet("predict", "--help").stdout
    labels = measured.FOLDER / "files" / "model_int8.tflite"
    assert "finds places" in refused("predict", labels, sideways, "--out", out)


def test_what_needs_labels_of_pictures_says_so(run, sideways, tmp_path):
    assert "expected a classifier" in refused("explain", run.directory, sideways)
    assert "--flip: expected a model of labels" in refused("evaluate", run.directory, "--flip")
    assert "got a segmentation one" in refused(
        "evaluate", run.directory, "--plots", tmp_path / "plots"
    )


def test_a_run_goes_on(run, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(run.directory, copy, ignore=shutil.ignore_patterns("export"))
    json_of("train", "--resume", "--run-dir", copy, "--epochs", "7")
    records = [json.loads(line) for line in (copy / "metrics.jsonl").read_text().splitlines()]
    assert records[-1]["epoch"] == 7
    assert {"pixel_accuracy", "held_out_miou"} <= records[-1].keys()
    assert "held_out_loss" not in records[-1]


@pytest.mark.parametrize("head", ["unet", "lraspp"])
def test_heads_of_a_task(head):
    task = tasks.of(OutputSpec("segmentation", LABELS))
    model = zoo.build(
        ModelConfig(arch="resnet18", width=0.125, head=head), (40, 72, 3), 3, head=task.head
    )
    outputs = task.in_graph(model(tf.zeros([1, 40, 72, 3])), InputSpec(40, 72, fit="stretch"))
    assert outputs["class_map"].shape == (1, 40, 72)
    assert outputs["class_map"].dtype == tf.uint8


def test_the_loss_looks_at_a_quarter_of_the_pixels_where_logits_are_coarse():
    masks = tf.reshape(tf.range(2 * 8 * 8), [2, 8, 8])
    thin = thinned(masks, (2, 2)).numpy()
    np.testing.assert_array_equal(thin[0], masks[0, ::2, ::2])
    np.testing.assert_array_equal(thin[1], masks[1, 1::2, 1::2])
    for unchanged, size in ((masks, (4, 4)), (masks[:, :7], (1, 2))):
        np.testing.assert_array_equal(thinned(unchanged, size), unchanged)
