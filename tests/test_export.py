"""Export: what the files hold, what was measured, and what fails the gate."""

import json
import sys
import types
import zipfile
from pathlib import Path

import filelock
import numpy as np
import pytest
import tensorflow as tf
from packaging.requirements import Requirement
from PIL import Image

from tests.conftest import NEAR, TINY, distance, export, write_images
from tests.test_cli import json_of, refused
from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy import evaluate_model, gate, measure
from tfresnet.deploy.reference import Reference, compare
from tfresnet.runs import run_directory
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.train_run import train
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.predictor import Classifier, Embedder
from tfresnet.runtime.spec import OutputSpec
from tfresnet.training import checkpoint

KEYS = {
    "path", "format", "quantization", "bytes", "top1", "drop", "agreement", "max_abs_error",
    "top5", "loss", "ece", "latency_ms", "fully_integer", "failures", "gzip_bytes", "sparsity", "n",
    "metric", "value",
}  # fmt: skip


def artifact(report: dict, kind: str, target: str = "tflite") -> dict:
    return next(
        a for a in report["artifacts"] if (a["format"], a["quantization"]) == (target, kind)
    )


def test_every_artifact_is_measured(exported, tiny_run):
    assert [(a["format"], a["quantization"]) for a in exported["artifacts"]] == [
        ("tflite", "float32"), ("tflite", "float16"), ("tflite", "dynamic"), ("tflite", "int8"),
        ("onnx", "float32"), ("onnx", "float16"), ("onnx", "int8"), ("saved_model", "float32"),
    ]  # fmt: skip
    for a in exported["artifacts"]:
        assert set(a) >= KEYS
        assert a["latency_ms"] > 0
        assert a["bytes"] > 0
        assert a["drop"] == pytest.approx(100 * (exported["checkpoint_top1"] - a["top1"]))
    assert exported["n"] == 360
    saved = json.loads((tiny_run.directory / "export" / "report.json").read_text())
    assert saved == exported
    assert [a.to_dict() for a in tiny_run.result.artifacts] == exported["artifacts"]


def test_float_formats_agree_with_the_checkpoint(exported):
    for target in ("tflite", "onnx", "saved_model"):
        assert artifact(exported, "float32", target)["max_abs_error"] < 1e-4
        assert artifact(exported, "float32", target)["agreement"] == 1
    assert artifact(exported, "float16")["max_abs_error"] < 1e-2  # 11 bits of precision


def test_int8_is_integer_small_and_close(exported, tiny_run):
    int8, float32 = artifact(exported, "int8"), artifact(exported, "float32")
    assert int8["fully_integer"]
    assert not float32["fully_integer"]
    assert int8["bytes"] < 0.33 * float32["bytes"]
    pixels = tiny_run.dataset().held_out.images
    answers, expected = (open_model(a["path"]).run(pixels) for a in (int8, float32))
    assert distance(answers, expected) < NEAR[8]
    same = (answers.argmax(axis=1) == expected.argmax(axis=1)).mean()
    assert int8["agreement"] == pytest.approx(same)  # float32 answers as the checkpoint does


@pytest.mark.parametrize(
    "name", ["model_float32.tflite", "model_int8.tflite", "model_float32.onnx"]
)
def test_a_file_describes_itself(exported, tiny_run, name):
    metadata = Classifier(tiny_run.directory / "export" / name).metadata
    assert (metadata.spec, metadata.output) == (tiny_run.spec, tiny_run.output)
    assert metadata.arch == "resnet8"
    assert metadata.measured["n"] == 360
    assert metadata.measured["top1"] in [a["top1"] for a in exported["artifacts"]]
    assert metadata.data["dataset"] == "digits"


def test_a_file_says_what_it_went_through(exported, tiny_run):
    """With what it was trained, quantized and written; its name is for people."""
    folder = tiny_run.directory / "export"
    int8, onnx = (read_metadata(folder / name) for name in ("model_int8.tflite", "model_int8.onnx"))
    assert int8.recipe == onnx.recipe == {"weights": 8, "activations": 8}
    assert (int8.opset, onnx.opset) == (None, 18)
    assert int8.compression == {}
    assert int8.config["train"]["epochs"] == 2
    assert not {"init_from", "teacher"} & set(int8.config["train"])  # paths of this machine
    assert int8.versions["tensorflow"] == tf.__version__


def test_labels_can_be_unzipped(exported, tiny_run):
    with zipfile.ZipFile(tiny_run.directory / "export" / "model_int8.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")


@pytest.mark.parametrize(
    "name", ["model_float32.tflite", "model_int8.tflite", "model_float32.onnx", "saved_model", "."]
)
def test_evaluate_takes_everything_that_export_writes(exported, tiny_run, name):
    path = tiny_run.directory if name == "." else tiny_run.directory / "export" / name
    result = evaluate_model.evaluate(path, {})
    assert {"top1", "top5", "loss", "ece", "n", "per_class"} <= set(result)
    if name == ".":
        assert result["top1"] == pytest.approx(exported["checkpoint_top1"])
    else:
        measured = [a["top1"] for a in exported["artifacts"] if a["path"] == str(path)]
        assert measured == [pytest.approx(result["top1"])]


def test_evaluate_refuses_data_with_other_labels(exported, tiny_run, tmp_path):
    folder = write_images(tmp_path, {"cat": 5, "dog": 5})
    with pytest.raises(InputError, match=r"expected the labels .*\['cat', 'dog'\]"):
        evaluate_model.evaluate(tiny_run.directory, {"dataset": str(folder)})


def test_the_answer_for_a_picture_is_the_pipelines(exported, tiny_run):
    """A sample written as PNG and read by the runtime is what was evaluated."""
    model = tiny_run.model()
    classifier = Classifier(tiny_run.directory / "export" / "model_float32.tflite")
    for sample in sorted((tiny_run.directory / "samples").glob("*.png")):
        prepared = classifier.prepare(sample)[None]
        logits = model((prepared.astype(np.float32) - 128) / 128, training=False).numpy()[0]
        expected = np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()
        answers = dict(classifier.classify(sample, top=10))
        for label, probability in answers.items():
            assert probability == pytest.approx(expected[int(label)], abs=1e-4)


def test_a_truncated_model_is_refused(exported, tiny_run, tmp_path):
    for name in ("model_int8.tflite", "model_float32.onnx"):
        content = (tiny_run.directory / "export" / name).read_bytes()
        (tmp_path / name).write_bytes(content[: len(content) // 2])
        with pytest.raises(InputError, match=name):
            Classifier(tmp_path / name)


def test_an_unfinished_run_is_not_exported(run_copy):
    (run_copy / "result.json").unlink()
    with pytest.raises(InputError, match="not trained to its end; go on with --resume"):
        export(run_directory.open_run(run_copy), ExportConfig())


INT8 = ExportConfig(
    formats=("tflite",),
    quantizations=("int8",),
    max_drop=100,
    verify_images=20,
    calibration_images=50,
)


def test_what_is_measured_on_other_data_says_so(tiny_run, run_copy, tmp_path):
    """In the file and in the card; the run's own result stays as it is."""
    folder = write_images(tmp_path / "others", dict.fromkeys(tiny_run.output.labels, 3))
    run = run_directory.open_run(run_copy)
    before = run.result
    (made,) = export(run, INT8, data={"dataset": str(folder)})["artifacts"]
    assert read_metadata(made["path"]).data["dataset"] == folder.name
    card = (run_copy / "export" / "MODEL_CARD.md").read_text()
    assert card.count("others") >= 3
    assert "digits" not in card
    assert run.result == before


def test_an_export_that_ends_early_leaves_what_was_there(run_copy, monkeypatch):
    run = run_directory.open_run(run_copy)
    (made,) = export(run, INT8)["artifacts"]
    before = Path(made["path"]).read_bytes()

    def fail(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(measure, "compare", fail)
        with pytest.raises(KeyboardInterrupt):
            export(run, INT8.replaced(calibration_images=10))
    assert Path(made["path"]).read_bytes() == before
    assert not list((run_copy / "export").glob(".unmeasured*"))
    with (
        filelock.FileLock(run_copy / "export" / ".lock"),
        pytest.raises(InputError, match="another is at work in it"),
    ):
        export(run, INT8)


def test_a_saved_model_alone_keeps_the_bundle_and_old_models_are_named(run_copy):
    run = run_directory.open_run(run_copy)
    assert export(run, INT8)["bundle"]
    served = INT8.replaced(formats=("saved_model",), quantizations=("float32",))
    for _ in range(2):  # the second takes the first's place
        report = export(run, served)
        assert report["bundle"] is None
        assert report["stale"] == []
        assert (run_copy / "export" / "saved_model" / "saved_model.pb").exists()
    assert (run_copy / "export" / "bundle" / "model_int8.tflite").exists()
    assert "TensorFlow Serving" in (run_copy / "export" / "MODEL_CARD.md").read_text()
    model = run.model()
    model.trainable_variables[0].assign_add(tf.ones_like(model.trainable_variables[0]))
    checkpoint.save_weights(run_copy / "checkpoints", model, 10**6)
    stale = export(run, INT8.replaced(formats=("onnx",)))["stale"]
    assert [str(Path(path).relative_to(run_copy / "export")) for path in stale] == [
        "model_int8.tflite", "saved_model"
    ]  # fmt: skip


def record(**values) -> ArtifactRecord:
    sound = {"quantization": "float32", "metric": "top1", "drop": 0.0, "max_abs_error": 1e-6}
    return ArtifactRecord(path="model", **sound | values)


@pytest.mark.parametrize(
    ("values", "float_operations", "expected"),
    [
        ({}, [], None),
        ({"quantization": "int8", "max_abs_error": 0.3, "drop": 0.99}, [], None),
        ({"quantization": "int8", "drop": 1.01}, [], "top-1 dropped 1.01 points, more than 1"),
        ({"drop": float("nan")}, [], "dropped nan"),
        ({"max_abs_error": 2e-4}, [], "differs by 2.0e-04, more than 0.0001"),
        ({"quantization": "float16", "max_abs_error": 2e-2}, [], None),
        ({"quantization": "float16", "max_abs_error": 6e-2}, [], "more than 0.05"),
        ({"quantization": "int8"}, ["CONV_2D at x"], "1 operations are not integer: CONV_2D at x"),
        ({"quantization": "dynamic"}, ["CONV_2D at x"], None),
    ],
)
def test_the_gate(values, float_operations, expected):
    found = gate.failures(record(**values), 1.0, float_operations)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]


def test_comparison_by_hand():
    task = tasks.of(OutputSpec("classification", ("a", "b")))
    reference = Reference(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]), task)
    found = compare(np.array([[0.7, 0.3], [0.6, 0.4]]), reference)
    assert found == {
        "top1": 0.5, "drop": 50.0, "agreement": 0.5, "max_abs_error": pytest.approx(0.4),
        "metric": "top1", "value": 0.5,
        "top5": None, "loss": pytest.approx(-np.log(0.7 * 0.4) / 2),
        # Sure by 0.7 of what is right and by 0.6 of what is not: two bins of one.
        "ece": pytest.approx((0.3 + 0.6) / 2),
    }  # fmt: skip


def test_the_bundle_has_the_int8_model(exported, tiny_run):
    names = {path.name for path in Path(exported["bundle"]).iterdir()}
    assert names == {
        "classify.py", "tfresnet_runtime", "model_int8.tflite", "requirements.txt", "README.md",
        "sample.png", "native",
    }  # fmt: skip
    wanted = (Path(exported["bundle"]) / "requirements.txt").read_text().splitlines()
    here = [r for r in map(Requirement, wanted) if r.marker is None or r.marker.evaluate()]
    assert [r.name for r in here] == ["ai-edge-litert", "numpy", "Pillow"]
    armv7 = [r for r in map(Requirement, wanted) if _is_for(r, "armv7l")]
    assert [r.name for r in armv7] == ["tflite-runtime", "numpy", "Pillow"]


def _is_for(requirement, machine):
    return not requirement.marker or requirement.marker.evaluate({"platform_machine": machine})


def test_the_runtime_takes_tflite_runtime_where_there_is_no_litert(exported, monkeypatch):
    """As on 32-bit Arm: the same interpreter under its older name."""
    from ai_edge_litert import interpreter

    model = next(a["path"] for a in exported["artifacts"] if a["path"].endswith("_int8.tflite"))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    monkeypatch.setitem(sys.modules, "tflite_runtime", types.ModuleType("tflite_runtime"))
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", interpreter)
    assert Classifier(model).labels == list("0123456789")
    monkeypatch.setitem(sys.modules, "tflite_runtime.interpreter", None)
    with pytest.raises(InputError, match="32-bit Arm: tflite-runtime"):
        Classifier(model)


@pytest.fixture(scope="module")
def grey_features(tmp_path_factory) -> tuple[run_directory.Run, dict]:
    """A run on grey pictures, and the report of the export of its embedding."""
    config = loading.load("quickstart", [*TINY, "train.epochs=1", "data.channels=1"])
    run = train(config, tmp_path_factory.mktemp("grey") / "run")
    options = ExportConfig(
        formats=("tflite", "onnx", "saved_model"),
        quantizations=("float32", "int8"),
        features=True,
        max_drop=100,
    )
    return run, export(run, options)


def test_embeddings_are_measured_with_the_checkpoints_head(grey_features):
    run, report = grey_features
    files = [Path(a["path"]).relative_to(run.directory / "export") for a in report["artifacts"]]
    assert [str(f) for f in files] == [
        "features/model_float32.tflite", "features/model_int8.tflite",
        "features/model_float32.onnx", "features/model_int8.onnx", "features/saved_model",
    ]  # fmt: skip
    for a in report["artifacts"]:
        assert a["failures"] == []
        if a["quantization"] == "float32":
            assert a["agreement"] == 1
            assert a["max_abs_error"] < 1e-4
    assert artifact(report, "int8")["fully_integer"]
    assert artifact(report, "int8")["max_abs_error"] < 0.3  # 0.03 was seen; the worst image counts
    assert run.result.artifacts == []  # what is there is the classifier's
    readme = (run.directory / "export" / "features" / "bundle" / "README.md").read_text()
    assert 'print(Embedder("model_int8.tflite").embed("sample.png"))' in readme
    assert "Output: an embedding." in readme


def test_an_embedding_file_embeds_and_does_not_classify(grey_features):
    run, report = grey_features
    model = Path(report["artifacts"][0]["path"])
    sample = next((run.directory / "samples").glob("*.png"))
    with Image.open(sample) as opened:
        assert opened.mode == "L"
    embedding = Embedder(model).embed(sample)
    pixels = np.asarray(Image.open(sample))[None, ..., None]
    expected = run.model().features((pixels.astype(np.float32) - 128) / 128).embedding[0]
    np.testing.assert_allclose(embedding, expected, atol=1e-5)  # float32, another order
    answers = json_of("predict", model, sample)["predictions"]
    assert np.allclose(answers[0]["embedding"], embedding)
    with pytest.raises(InputError, match="expected a model that gives probabilities, got embed"):
        Classifier(model)
    for path in (model, run.directory / "export" / "features" / "saved_model"):
        assert "expected a model that gives probabilities" in refused("evaluate", path)


def test_grey_pictures_go_the_whole_road(grey_features):
    """One channel from the picture to the file; colours are turned to grey on the way."""
    run, _ = grey_features
    report = export(run, ExportConfig(formats=("tflite",), quantizations=("int8",), max_drop=100))
    classifier = Classifier(report["artifacts"][0]["path"])
    assert classifier.model.input_shape == (1, 16, 16, 1)
    assert report["artifacts"][0]["fully_integer"]
    colours = np.random.default_rng(0).integers(0, 256, (30, 20, 3), np.uint8)
    assert classifier.prepare(colours).shape == (16, 16, 1)
    assert "grey" in (run.directory / "export" / "bundle" / "README.md").read_text()
    info = json_of("info", report["artifacts"][0]["path"])
    assert info["input"]["channels"] == 1
