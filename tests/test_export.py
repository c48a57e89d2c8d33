"""Export: what the files hold, what was measured, and what fails the gate."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tfresnet import run as runs
from tfresnet.deploy import evaluate_model
from tfresnet.deploy.device.runtime import Classifier, InputError
from tfresnet.deploy.export import Options, export
from tfresnet.deploy.proof import verify
from tfresnet.errors import UserError

KEYS = {
    "path", "format", "quantization", "bytes", "top1", "drop", "agreement", "max_abs_error",
    "latency_ms", "fully_integer", "failures",
}  # fmt: skip


def artifact(report: dict, kind: str, target: str = "tflite") -> dict:
    return next(
        a for a in report["artifacts"] if (a["format"], a["quantization"]) == (target, kind)
    )


def test_every_artifact_is_measured(exported, tiny_run):
    assert [(a["format"], a["quantization"]) for a in exported["artifacts"]] == [
        ("tflite", "float32"), ("tflite", "float16"), ("tflite", "dynamic"), ("tflite", "int8"),
        ("onnx", "float32"), ("saved_model", "float32"),
    ]  # fmt: skip
    for a in exported["artifacts"]:
        assert set(a) == KEYS
        assert a["latency_ms"] > 0
        assert a["bytes"] > 0
        assert a["drop"] == pytest.approx(100 * (exported["checkpoint_top1"] - a["top1"]))
    assert exported["n"] == 360
    saved = json.loads((tiny_run.directory / "export" / "report.json").read_text())
    assert saved == exported
    assert tiny_run.result["artifacts"] == exported["artifacts"]


def test_float_formats_agree_with_the_checkpoint(exported):
    for target in ("tflite", "onnx", "saved_model"):
        assert artifact(exported, "float32", target)["max_abs_error"] < 1e-4
        assert artifact(exported, "float32", target)["agreement"] == 1
    assert artifact(exported, "float16")["max_abs_error"] < 1e-2  # 11 bits of precision


def test_int8_is_integer_small_and_close(exported):
    int8, float32 = artifact(exported, "int8"), artifact(exported, "float32")
    assert int8["fully_integer"]
    assert not float32["fully_integer"]
    assert int8["bytes"] < 0.33 * float32["bytes"]
    # After two epochs the net is unsure; 8 bits may turn a few of its 360 answers.
    assert int8["agreement"] > 0.9


@pytest.mark.parametrize(
    "name", ["model_float32.tflite", "model_int8.tflite", "model_float32.onnx"]
)
def test_a_file_describes_itself(exported, tiny_run, name):
    metadata = Classifier(tiny_run.directory / "export" / name).metadata
    assert metadata["spec"] == tiny_run.spec.to_dict()
    assert metadata["arch"] == "resnet8"
    assert metadata["measured"]["n"] == 360
    assert metadata["measured"]["top1"] in [a["top1"] for a in exported["artifacts"]]
    assert metadata["data"]["dataset"] == "digits"


def test_labels_can_be_unzipped(exported, tiny_run):
    with zipfile.ZipFile(tiny_run.directory / "export" / "model_int8.tflite") as archive:
        assert archive.read("labels.txt").decode().split() == list("0123456789")


@pytest.mark.parametrize(
    "name", ["model_float32.tflite", "model_int8.tflite", "model_float32.onnx", "saved_model", "."]
)
def test_evaluate_takes_everything_that_export_writes(exported, tiny_run, name):
    path = tiny_run.directory if name == "." else tiny_run.directory / "export" / name
    result = evaluate_model.evaluate(path, {})
    assert set(result) == {"top1", "top5", "loss", "ece", "n", "per_class"}
    if name == ".":
        assert result["top1"] == pytest.approx(exported["checkpoint_top1"])
    else:
        measured = [a["top1"] for a in exported["artifacts"] if a["path"] == str(path)]
        assert measured == [pytest.approx(result["top1"])]


def test_evaluate_refuses_data_with_other_labels(exported, tiny_run, tmp_path):
    from tests.conftest import write_images

    folder = write_images(tmp_path, {"cat": 5, "dog": 5})
    with pytest.raises(UserError, match=r"expected the labels .*\['cat', 'dog'\]"):
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
    with pytest.raises(UserError, match="not trained to its end; go on with --resume"):
        export(runs.open_run(run_copy), Options())


def record(**values) -> dict:
    sound = {"quantization": "float32", "drop": 0.0, "max_abs_error": 1e-6}
    return sound | values


@pytest.mark.parametrize(
    ("values", "float_operations", "expected"),
    [
        ({}, [], None),
        ({"quantization": "int8", "max_abs_error": 0.3, "drop": 0.99}, [], None),
        ({"quantization": "int8", "drop": 1.01}, [], "top-1 dropped 1.01 points, more than 1"),
        ({"drop": float("nan")}, [], "dropped nan"),
        ({"max_abs_error": 2e-4}, [], "differs by 2.0e-04, more than 0.0001"),
        ({"quantization": "float16", "max_abs_error": 2e-3}, [], None),
        ({"quantization": "float16", "max_abs_error": 2e-2}, [], "more than 0.01"),
        ({"quantization": "int8"}, ["CONV_2D at x"], "1 operations are not integer: CONV_2D at x"),
        ({"quantization": "dynamic"}, ["CONV_2D at x"], None),
    ],
)
def test_the_gate(values, float_operations, expected):
    found = verify.failures(record(**values), 1.0, float_operations)
    if expected is None:
        assert found == []
    else:
        assert len(found) == 1
        assert expected in found[0]


def test_calibration_sees_training_images_only(tiny_run, monkeypatch):
    from tfresnet.deploy.formats import tflite

    seen = []
    monkeypatch.setattr(tflite, "_representative", lambda images: seen.append(images) or iter(()))
    monkeypatch.setattr(tflite, "float_operations", lambda content: [])
    with pytest.raises(Exception):  # noqa: B017 - the converter's own, for want of images
        export(tiny_run, Options(formats=("tflite",), quantizations=("int8",)))
    data = tiny_run.dataset()
    training = {image.tobytes() for image in data.train.images}
    assert len(seen[0]) == 500
    assert all(image.tobytes() in training for image in seen[0])


def test_comparison_by_hand():
    reference = verify.Reference(np.array([[0.9, 0.1], [0.2, 0.8]]), np.array([0, 1]))
    found = verify.compare(np.array([[0.7, 0.3], [0.6, 0.4]]), reference)
    assert found == {
        "top1": 0.5, "drop": 50.0, "agreement": 0.5, "max_abs_error": pytest.approx(0.4)
    }  # fmt: skip


def test_the_bundle_has_the_int8_model(exported, tiny_run):
    names = {path.name for path in Path(exported["bundle"]).iterdir()}
    assert names == {
        "classify.py", "model_int8.tflite", "requirements.txt", "README.md", "sample.png"
    }  # fmt: skip
    assert len((Path(exported["bundle"]) / "requirements.txt").read_text().split()) == 3
