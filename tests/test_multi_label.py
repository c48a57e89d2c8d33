"""Pictures with any number of labels: from a labels.csv to files that end in sigmoids."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from sklearn.metrics import average_precision_score, f1_score

import tfresnet as api
from tests import test_results
from tests.conftest import NEAR, distance, write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet import evaluation, tasks
from tfresnet.config import loading
from tfresnet.config.sections import DataConfig, ModelConfig, TrainConfig
from tfresnet.data import folder_recipe, label_table, pipeline, sources
from tfresnet.data.splits import ArraySplit
from tfresnet.deploy import gate
from tfresnet.deploy.formats import onnx_format, saved_model, tflite
from tfresnet.deploy.reference import Reference, compare
from tfresnet.models import zoo
from tfresnet.runs import preflight, run_directory
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import Classifier
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks import average_precision, losses
from tfresnet.tasks.classification import Classification
from tfresnet.tasks.multi_label import MultiLabel

COLORS = ("blue", "green", "red")
TINY = {
    "model.arch": "resnet8", "model.width": 1, "data.image_size": 16, "data.crop_padding": 0,
    "data.random_resized_crop": 0, "train.epochs": 2, "train.batch_size": 8,
    "train.precision": "float32",
}  # fmt: skip


def write_pictures(folder: Path, count: int = 40) -> Path:
    """Write noise with up to three colored bars, and a table that says which; return the folder."""
    rng = np.random.default_rng(0)
    folder.mkdir(parents=True, exist_ok=True)
    lines = ["file,labels"]
    for i in range(count):
        pixels = rng.integers(0, 60, (20, 20, 3), np.uint8)
        there = rng.random(3) < 0.5
        for bar in np.flatnonzero(there):
            pixels[6 * bar : 6 * bar + 6, :, 2 - bar] = 255
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
        lines.append(f"{i:02}.png,{' '.join(c for c, t in zip(COLORS, there, strict=True) if t)}")
    (folder / "labels.csv").write_text("\n".join(lines) + "\n")
    return folder


def write_table(folder: Path, text: str, pictures: tuple[str, ...] = ("a", "b", "c")) -> Path:
    """Write a table with some pictures beside it; return the folder."""
    for number, name in enumerate(pictures):
        path = folder / (name if Path(name).suffix else f"{name}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8), (number, 0, 0)).save(path)
    (folder / "labels.csv").write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_pictures(tmp_path_factory.mktemp("data") / "bars")


@pytest.fixture(scope="module")
def run(pictures: Path, tmp_path_factory: pytest.TempPathFactory) -> run_directory.Run:
    return api.train(pictures, TINY, tmp_path_factory.mktemp("runs") / "bars")


@pytest.fixture(scope="module")
def report(run: run_directory.Run) -> dict:
    options = {"formats": ("tflite", "onnx"), "quantizations": ("float32", "int8"), "max_drop": 100}
    return api.export(run, **options)


# --- metrics


@pytest.mark.parametrize(
    ("scores", "true", "expected"),
    [
        ([0.9, 0.8, 0.7, 0.6], [1, 0, 1, 0], (1 / 1 + 2 / 3) / 2),
        ([0.6, 0.7, 0.8, 0.9], [1, 0, 0, 0], 1 / 4),
        ([0.5, 0.5, 0.5, 0.5], [1, 0, 0, 1], 2 / 4),  # equal scores: one threshold, all or none
        ([0.9, 0.5, 0.5, 0.1], [1, 1, 0, 0], (1 + 2 / 3) / 2),
        ([0.9, 0.1], [0, 0], np.nan),
    ],
)
def test_average_precision_by_hand(scores, true, expected):
    found = average_precision.average_precision(np.array(scores), np.array(true, bool))
    assert found == pytest.approx([expected], nan_ok=True)


def test_average_precision_is_scikit_learns():
    """Also with many equal scores, and with pictures that count several times or not at all."""
    rng = np.random.default_rng(0)
    scores, true = rng.random(300).round(1), rng.random(300) < 0.3
    counts = rng.integers(0, 4, (5, 300)).astype(float)
    found = average_precision.average_precision(scores, true, counts)
    expected = [average_precision_score(true, scores, sample_weight=row) for row in counts]
    assert found == pytest.approx(expected)


def test_the_numbers_of_a_model_with_many_labels():
    probabilities = np.array([[0.9, 0.2, 0.1], [0.6, 0.5, 0.1], [0.3, 0.4, 0.2], [0.1, 0.1, 0.3]])
    truth = np.array([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], np.float32)
    metrics = MultiLabel(OutputSpec("multi_label", ("a", "b", "c"), "sigmoid")).metrics()
    for part in (slice(3), slice(3, None)):  # in batches
        metrics.update(probabilities[part], truth[part])
    found = metrics.result()
    assert found["per_class"] == {"a": pytest.approx((1 + 2 / 3) / 2), "b": 1, "c": None}
    assert found["per_class_counts"] == {"a": 2, "b": 2, "c": 0}
    assert found["map"] == pytest.approx((5 / 6 + 1) / 2)
    # 2 hits; 3 labels said (two of a, of which one is right, and one of b), 4 true.
    assert found["micro_f1"] == pytest.approx(2 * 2 / (3 + 4))
    decided, known = probabilities >= 0.5, truth > 0.5
    assert found["macro_f1"] == pytest.approx(
        f1_score(known[:, :2], decided[:, :2], average="macro")
    )
    assert found["exact_match"] == 2 / 4
    likely = np.where(known, probabilities, 1 - probabilities)
    assert found["loss"] == pytest.approx(-np.log(likely).mean())
    assert found["n"] == 4
    low, high = found["map_interval"]
    assert 0 <= low < found["map"] < high <= 1


def test_the_interval_is_narrower_for_more_pictures_and_a_point_for_perfect_scores():
    rng = np.random.default_rng(0)

    def width(count):
        true = rng.random((count, 3)) < 0.4
        low, high = average_precision.interval(true + rng.normal(size=true.shape), true)
        return high - low

    # It goes with 1 / sqrt(n): a quarter. Half is far from chance.
    assert width(1600) < width(100) / 2
    true = rng.random((50, 2)) < 0.5
    assert average_precision.interval(true.astype(float), true) == (1, 1)
    assert average_precision.interval(np.zeros((5, 2)), np.zeros((5, 2), bool)) is None


def test_the_loss_of_sigmoids_is_that_of_training_and_top1_is_what_it_was():
    logits = np.array([[2.0, -1, 0], [0.5, 1, -3]], np.float32)
    classes = np.array([0, 0])
    config = TrainConfig(loss="bce")
    trained = losses.per_image(config, tf.one_hot(classes, 3), tf.constant(logits)).numpy()
    found = {}
    for activation in ("sigmoid", "softmax"):
        task = Classification(OutputSpec("classification", ("a", "b", "c"), activation))
        metrics = task.metrics()
        given = task.in_graph(tf.constant(logits), InputSpec(8, 8))
        metrics.update(given["probabilities"].numpy(), classes)
        found[activation] = metrics.scores()
    assert found["sigmoid"]["loss"] == pytest.approx(trained.mean(), rel=1e-5)
    assert found["sigmoid"]["top1"] == found["softmax"]["top1"] == 0.5


def test_smoothing_draws_each_label_to_a_half():
    """As Keras's BinaryCrossentropy; with one class a picture, to an equal share of the classes."""
    labels, logits = tf.constant([[1.0, 0, 1]]), tf.constant([[0.3, -2, 1]])
    smoothed = tf.keras.losses.BinaryCrossentropy(from_logits=True, label_smoothing=0.2)
    config = TrainConfig(loss="bce", label_smoothing=0.2)
    train = ArraySplit(np.zeros((1, 8, 8, 3), np.uint8), labels.numpy())
    loss = MultiLabel(OutputSpec("multi_label", ("a", "b", "c"), "sigmoid")).loss(config, train)
    expected = [smoothed(labels, logits).numpy()]
    assert loss(labels, logits).numpy() == pytest.approx(expected, rel=1e-6)
    assert Classification(OutputSpec("classification", tuple("abcd"))).smoothing_target == 1 / 4


# --- the table


@pytest.mark.parametrize(
    "text",
    [
        "file,labels\na.png,cat dog\nb.png,dog\nc.png,\n",
        "file,labels\na.png,\"cat,dog\"\nb.png,dog\nc.png,\n",
        "fname,labels,is_valid\na.png,cat dog,False\nb.png,dog,0\nc.png,,True\n",
        "image_name,tags\na,dog cat\nb,dog\nc,\n",
        "\ufeffimage;labels\r\na.png;dog|cat\r\nb.png;dog\r\nc.png;\r\n",
        "file\tlabels\na.png\tcat; dog\n\nb.png\tdog\nc.png\t\n",
        "filename,dog,cat\na.png,1,1\nb.png,1,0\nc.png,0.0,False\n",
    ],
)  # fmt: skip
def test_the_forms_of_tables(tmp_path, text):
    found = label_table.scan(write_table(tmp_path, text))
    assert found.labels == ("cat", "dog")
    parts = [found.train] + ([found.held_out] if found.held_out else [])
    labels = {path.name: there for part in parts for path, there in zip(*part, strict=True)}
    assert labels == {"a.png": (0, 1), "b.png": (1,), "c.png": ()}
    assert bool(found.held_out) == ("is_valid" in text)


def test_labels_with_spaces_in_their_names(tmp_path):
    """As in a table whose labels another character separates."""
    folder = write_table(tmp_path, "file,labels\na.png,traffic light|car\nb.png,car\nc.png,\n")
    assert label_table.scan(folder).labels == ("car", "traffic light")


def test_what_is_held_out_is_in_a_column_or_in_the_folders(tmp_path):
    text = "file,labels,split\na.png,x,train\nb.png,x y,test\nc.png,y,Validation\n"
    found = label_table.scan(write_table(tmp_path / "column", text))
    assert [p.name for p in found.held_out[0]] == ["c.png"]
    assert "held-out pictures are those of validation; not used: test" in found.notes
    names = ("train/a.png", "val/b.png", "train/c.png")
    text = "file,labels\ntrain/a.png,x\nb.png,x y\nc.png,y\n"
    found = label_table.scan(write_table(tmp_path / "folders", text, names))
    assert [p.name for p in found.train[0]] == ["a.png", "c.png"]
    assert [p.name for p in found.held_out[0]] == ["b.png"]


def test_each_part_may_have_a_table_of_its_own(tmp_path):
    """As Roboflow writes them."""
    for part, lines in (("train", "a.png, 1, 0\nb.png, 1, 1"), ("valid", "a.png, 0, 1")):
        write_table(tmp_path / part, f"filename, cat, dog\n{lines}\n", ("a", "b"))
        (tmp_path / part / "labels.csv").rename(tmp_path / part / "_classes.csv")
    assert label_table.find(tmp_path) == tmp_path / "train" / "_classes.csv"
    found = label_table.scan_folder(tmp_path)
    assert found.train == (
        [tmp_path / "train" / name for name in ("a.png", "b.png")],
        [(0,), (0, 1)],
    )
    assert found.held_out == ([tmp_path / "valid" / "a.png"], [(1,)])
    (tmp_path / "train" / "_classes.csv").unlink()
    assert label_table.find(tmp_path) is None


def test_pictures_that_the_table_does_not_name_are_told(tmp_path):
    found = label_table.scan(write_table(tmp_path, "file,labels\na.png,x\nb.png,y\n"))
    assert "left out: 1 picture that labels.csv does not name: c.png" in found.notes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("file,labels\na.png,x\nz.png,y\n", "1 of 2 are not there or no images: z.png (line 3)"),
        ("file,labels\na.png,x\na.png,y\n", "one line for each picture, got a.png in lines 2 and"),
        ("file,labels\na.png,x\na,y\n", "in lines 2 and 3"),
        ("file,labels\na.png,x,y\n", "belong in quotes"),
        ("file,labels\n,x\n", "line 2: expected a file and 2 columns"),
        ("file,dog,cat\na.png,1,2\n", "line 2, cat: expected 0 or 1, got '2'"),
        ("file,labels,split\na.png,x,later\n", "split: expected train, val or test, got 'later'"),
        ("file,labels,split\na.png,x y,test\n", "expected pictures to train on, got only test"),
        ("picture,things\na.png,x\n", "expected the columns file and labels"),
        ("file,labels\n", "expected a line for each picture, got none"),
        ("file,labels\na.png,x\nb.png,x\n", "expected at least 2 different labels, got 1"),
        ("", "expected the columns file and labels"),
        ("file,labels\nd/a.png,x\na.png,y z\n", "d/a.png"),
    ],
)  # fmt: skip
def test_a_bad_table_is_one_line(tmp_path, text, expected):
    with pytest.raises(InputError) as error:
        label_table.scan(write_table(tmp_path, text))
    assert expected in str(error.value)
    assert str(tmp_path / "labels.csv") in str(error.value)


def test_one_name_of_two_pictures_needs_its_folder(tmp_path):
    names = ("one/a.png", "two/a.png")
    with pytest.raises(InputError, match="write its folder too"):
        label_table.scan(write_table(tmp_path, "file,labels\na.png,x y\n", names))


def test_pictures_that_are_not_there_may_be_left_out(tmp_path):
    folder = write_table(tmp_path, "file,labels\na.png,x\nb.png,y\nz.png,y\n")
    found = label_table.scan(folder, skip_broken=True)
    assert len(found.train[0]) == 2
    assert any("left out: 1 picture that are not there: z.png" in note for note in found.notes)


def test_labels_in_a_chosen_order_and_some_that_no_picture_has(tmp_path):
    folder = write_table(tmp_path, "file,labels\na.png,x\nb.png,y\n")
    assert label_table.scan(folder, ("y", "w", "x")).labels == ("y", "w", "x")
    with pytest.raises(InputError, match=r"line 3: expected only labels that .* has, got y"):
        label_table.scan(folder, ("x", "w"))


def test_the_held_out_share_has_rare_labels_and_stays_when_pictures_are_added(pictures, tmp_path):
    def held_out(folder):
        split = sources.load(DataConfig(dataset=str(folder)), 16).held_out
        return {Path(path).name for path in split.paths}, split.targets

    names, labels = held_out(pictures)
    assert 6 <= len(names) <= 10  # of 40, a share of every rarest label's pictures
    assert (labels.sum(axis=0) > 0).all()
    more = shutil.copytree(pictures, tmp_path / "more")
    Image.new("RGB", (9, 9)).save(more / "new.png")
    with (more / "labels.csv").open("a") as table:
        table.write("new.png,\n")
    assert len(names ^ held_out(more)[0]) <= 1


def test_labels_reach_training_as_ones_and_zeros(pictures):
    dataset = sources.load(DataConfig(dataset=str(pictures), mixup_alpha=0.0), 16)
    assert dataset.output.multi_label
    assert dataset.train.targets.dtype == np.float32
    batches = pipeline.train_batches(
        dataset.train,
        dataset.spec,
        tasks.of(dataset.output).targets,
        DataConfig(crop_padding=0, flip=False),
        8,
        0,
        0,
        1,
    )
    images, labels = next(iter(batches))
    assert labels.shape == (8, 3)
    top = (images.numpy()[:, 2:4, :, 2].mean(axis=(1, 2)) > 0.5).astype(np.float32)
    assert np.array_equal(labels.numpy()[:, 0], top)  # a bar of blue is on top


def test_notes_tell_of_labels_that_are_rare_or_missing():
    table = np.array([[1, 0, 0]] * 9 + [[1, 1, 0]], np.float32)
    _, missing, rare = sources.label_notes(table, ("a", "b", "c"))
    assert "no picture to train on has: c" in missing
    assert "a factor of 10.0 (a 10, b 1, c 0)" in rare
    _, single = sources.label_notes(np.eye(3, dtype=np.float32), ("a", "b", "c"))
    assert "each picture has just one label" in single


# --- training and what comes of it


def test_the_recipe_of_a_table_has_its_loss(pictures):
    config = folder_recipe.for_folder(pictures)
    assert (config.train.loss, config.train.label_smoothing) == ("bce", 0)
    # As for one class, but for what the loss's mean over 3 labels makes smaller.
    factor = 2 * 3**0.5
    usual = folder_recipe.choose(folder_recipe.Pictures(32, 3, 20))["train.lr"]
    assert config.train.lr == pytest.approx(usual * factor, abs=1e-4)
    assert config.train.weight_decay == pytest.approx(5e-4 / factor, abs=1e-8)
    assert "for 32 pictures with any of 3 labels" in config.description
    assert config.description.endswith("loss bce")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("train.loss=cross_entropy", "train.loss: expected bce"),
        ("train.class_weights=balanced", "train.class_weights: expected none"),
        ("train.teacher=runs/large", "train.teacher: expected none"),
    ],
)
def test_settings_that_do_not_go_with_many_labels(pictures, setting, expected):
    config = folder_recipe.for_folder(pictures, [setting])
    with pytest.raises(InputError, match=expected):
        preflight.training(config)


def test_a_run_records_what_many_labels_are_judged_by(run, pictures):
    result = run.result
    assert result.test_top1 is None
    assert result.test_map == result.test["map"]
    assert "top1" not in result.test
    assert (run.output.multi_label, run.output.activation) == (True, "sigmoid")
    (last,) = run.records()[-1:]
    assert last["held_out_map"] == result.test_map
    assert 0 <= last["exact_match"] <= 1
    assert not {"accuracy", "held_out_top1"} & set(last)
    assert (run.directory / "curves.png").exists()
    assert json_of("evaluate", run.directory) == result.test
    again = api.train(pictures, TINY, run.directory, resume=True)
    assert again.result.test == result.test


def test_exported_files_give_the_sigmoids_of_the_logits_and_are_judged_by_them(run, report):
    dataset = sources.load_for(run.spec, run.output, run.config.data)
    images, _, _ = next(iter(pipeline.raw_batches(dataset.held_out, 50)))
    logits = run.model()(pipeline.normalize(images, run.spec), training=False)
    expected = tf.sigmoid(logits).numpy()
    assert report["checkpoint_map"] == pytest.approx(run.result.test_map)
    assert report["checkpoint_top1"] is None
    for artifact in report["artifacts"]:
        model = Classifier(artifact["path"])
        assert model.multi_label
        assert model.metadata.measured["map"] == artifact["map"] == artifact["value"]
        found = model.probabilities(images.numpy())
        # float32 differs in the last bits; of int8, conftest says how far.
        close = 1e-4 if artifact["quantization"] == "float32" else NEAR[8]
        assert distance(found, expected) < close, artifact["path"]
        assert artifact["metric"] == "map"
        assert "top1" not in artifact
        same = (found >= 0.5) == (expected >= 0.5)
        assert artifact["agreement"] == pytest.approx(same.mean())
    assert report["artifacts"][0]["failures"] == []
    measured = json_of("evaluate", report["artifacts"][0]["path"])
    assert measured["map"] == pytest.approx(report["artifacts"][0]["map"])


def test_the_pages_of_an_export_speak_of_map(run, report):
    folder = run.directory / "export"
    page = (folder / "report.html").read_text()
    assert "% mAP" in page
    assert "top-1" not in page
    assert "Confusion" not in page
    card = (folder / "MODEL_CARD.md").read_text()
    assert "| mAP |" in card
    assert "any number of which a picture may have" in card
    assert "mAP" in (folder / "bundle" / "README.md").read_text()
    assert json_of("info", report["artifacts"][0]["path"])["measured"]["metric"] == "map"
    assert "map" in json_of("info", run.directory)["measured"]


def test_predict_names_the_labels_above_the_threshold(run, report, pictures):
    file, picture = report["artifacts"][0]["path"], pictures / "00.png"
    (found,) = json_of("predict", file, picture, "--threshold", "0.3")["predictions"]
    ranked = Classifier(file).classify(picture)
    assert [(a["label"], a["probability"]) for a in found["top"]] == ranked
    assert len(ranked) == 3
    assert [p for _, p in ranked] == sorted((p for _, p in ranked), reverse=True)
    above = [(label, p) for label, p in ranked if p >= 0.3]
    assert [(a["label"], a["probability"]) for a in found["labels"]] == above
    assert Classifier(file).labels_of(picture, 0.3) == above
    none = tfresnet("predict", file, picture, "--threshold", "1")
    assert "00.png: none of the labels" in none.stdout


def test_one_label_files_know_no_threshold(exported, tiny_run):
    file = exported["artifacts"][0]["path"]
    sample = next((tiny_run.directory / "samples").glob("*.png"))
    assert (
        "--threshold: expected a multi-label file"
        in tfresnet("predict", file, sample, "--threshold", "0.4").stderr
    )
    (found,) = json_of("predict", file, sample)["predictions"]
    assert set(found) == {"image", "top"}
    assert len(found["top"]) == 5


def test_what_needs_one_label_a_picture_says_so(run, pictures, tmp_path):
    assert "got a multi-label one" in refused("explain", run.directory)
    assert "got a multi-label one" in refused(
        "evaluate", run.directory, "--plots", tmp_path / "plots"
    )
    classes = write_images(tmp_path / "classes", dict.fromkeys(COLORS, 5))
    assert "expected any number of labels a picture" in refused(
        "evaluate", run.directory, "--dataset", classes
    )


def test_a_sweep_and_a_record_have_the_average_precision(run, pictures, tmp_path):
    settings = TINY | {"data.dataset": str(pictures), "train.loss": "bce", "train.epochs": 1}
    sweep = tmp_path / "sweep.yaml"
    sweep.write_text(json.dumps({"base": "quickstart", "set": settings, "seeds": [0]}))
    whole = json_of("sweep", sweep, "--run-dir", tmp_path / "runs")
    ((row,), (trial,)) = whole["rows"], whole["runs"]
    assert row["map"] == [trial["test_map"]] == [trial["test"]["map"]]
    assert "mAP (%)" in whole["markdown"]
    folder = tmp_path / "out"
    json_of("record", run.directory, "--out", folder, run=test_results.tool)
    assert test_results.tool("results", folder).exit_code == 0
    page = (folder / "RESULTS.md").read_text()
    assert "exact match" in page and f"{100 * run.result.test['map']:.2f}" in page


def test_looking_at_pictures_and_corruptions_work(run, pictures, tmp_path):
    assert tfresnet("explain", run.directory, pictures / "00.png", "--out", tmp_path).exit_code == 0
    found = json_of(
        "evaluate", run.directory, "--corruptions", "contrast", "--severities", "1", "--flip"
    )
    assert found["corrupted_map"] == found["corruptions"]["contrast"]["1"]


# --- one label a picture, with this loss


def test_files_end_in_what_the_loss_fits():
    """In all formats, also where a picture has one label; the best answer is the same."""
    spec, output = InputSpec(16, 16), OutputSpec("classification", tuple("abcd"), "sigmoid")
    network = zoo.build(ModelConfig(arch="resnet8"), spec.shape, 4)
    images = np.random.default_rng(0).integers(0, 256, (8, 16, 16, 3), np.uint8)
    logits = network(pipeline.normalize(images, spec), training=False)
    expected = tf.sigmoid(logits).numpy()
    assert abs(expected.sum(axis=1) - 1).max() > 0.1  # a softmax would be something else
    for quantization in ("float32", "int8"):
        close = 1e-4 if quantization == "float32" else NEAR[8]
        for suffix, convert in ((".tflite", tflite.convert), (".onnx", onnx_format.convert)):
            content = convert(network, spec, output, quantization, images)
            found = _run(content, suffix, images)
            assert distance(found, expected) < close, (quantization, suffix)
    module = saved_model.served(network, spec, output)
    assert distance(module.classify(images).numpy(), expected) < 1e-4
    task = tasks.of(replace(output, activation="softmax"))
    softmax = evaluation.network_predict(network, spec, task)(images)
    assert np.array_equal(softmax.argmax(axis=1), expected.argmax(axis=1))


def _run(content: bytes, suffix: str, images: np.ndarray) -> np.ndarray:
    import tempfile

    with tempfile.NamedTemporaryFile(suffix=suffix) as file:
        Path(file.name).write_bytes(content)
        return open_model(file.name).run(images)


def test_a_run_of_an_earlier_version_has_the_activation_of_its_loss(tmp_path):
    config = loading.load("quickstart", ["train.loss=bce"])
    spec, output = InputSpec(16, 16), OutputSpec("classification", ("a", "b"))
    directory = tmp_path / "old"
    run_directory.create(directory, config, spec, output)
    values = asdict(spec) | {"labels": output.labels}
    (directory / "spec.json").write_text(json.dumps(values))
    assert run_directory.open_run(directory).output == replace(output, activation="sigmoid")


def test_the_gate_of_many_labels_by_hand():
    reference = Reference(
        np.array([[0.9, 0.6], [0.2, 0.8]]),
        np.array([[1, 0], [0, 1]]),
        tasks.of(OutputSpec("multi_label", ("a", "b"), "sigmoid")),
    )
    found = compare(np.array([[0.3, 0.6], [0.4, 0.4]]), reference)
    assert found["drop"] == pytest.approx(50)  # each label's average precision fell from 1 to 1/2
    assert found["agreement"] == 2 / 4  # of (image, label)
    assert found["max_abs_error"] == pytest.approx(0.6)
    record = ArtifactRecord(path="model", quantization="int8", **found)
    (failure,) = gate.failures(record, 1.0, [])
    assert failure == "mAP dropped 50.00 points, more than 1"
