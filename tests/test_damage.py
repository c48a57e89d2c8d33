"""Damaged files: each gets one clear line and exit 2, and loses nothing."""

import json
import os
import shutil
import zipfile
from pathlib import Path

import pytest

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.runtime.metadata import FILE_NAME


def stopped(*arguments: object) -> str:
    """Return the one line that ends a training which can't go on, below its header."""
    result = tfresnet(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    *header, error = result.stderr.strip().splitlines()
    assert error.startswith("Error: ") and not any("Error" in line for line in header)
    return error


@pytest.mark.parametrize(
    ("name", "content", "commands"),
    [
        ("result.json", b"{", ["export"]),
        ("result.json", b"[]", ["export"]),
        ("result.json", b'{"arch": "x"}', ["export"]),
        ("spec.json", b"[]", ["info", "evaluate", "export"]),
        ("spec.json", b'{"height": "x", "width": 8, "labels": ["a", "b"]}', ["info"]),
        ("spec.json", b'{"height": 8, "width": 8, "labels": []}', ["info"]),
        ("spec.json", b'{"height": 8, "width": 8, "labels": ["a", "b"], "new": 1}', ["info"]),
        ("config.yaml", b"\xff\xfe", ["info", "evaluate", "export"]),
        ("config.yaml", b"model: [", ["info"]),
        ("metrics.jsonl", b"nonsense\n{}\n", ["info"]),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_run_is_explained(run_copy, name, content, commands):
    (run_copy / name).write_bytes(content)
    for command in commands:
        assert name in refused(command, run_copy)


def resume(run: Path) -> list[object]:
    return ["train", "--resume", "--run-dir", run]


def checkpoint_data(run: Path) -> Path:
    return max((run / "checkpoints").glob("ckpt-*.data*"), key=lambda p: p.stat().st_mtime)


def test_a_cut_checkpoint_is_named_and_kept(run_copy):
    """Resuming goes on from the one before (test_training), if there is one."""
    data = checkpoint_data(run_copy)
    for older in data.parent.glob("*.data*"):
        older.write_bytes(older.read_bytes()[:1000])
    for arguments in (["evaluate", run_copy], ["info", run_copy], resume(run_copy)):
        assert "expected a whole checkpoint" in stopped(*arguments)
    data.unlink()
    for arguments in (["evaluate", run_copy], resume(run_copy)):
        assert "expected a whole checkpoint" in stopped(*arguments)


def test_resume_does_not_start_again_beside_checkpoints_it_cannot_find(run_copy):
    records = (run_copy / "metrics.jsonl").read_text()
    names = run_copy / "checkpoints" / "checkpoint"
    lines = names.read_text().splitlines(keepends=True)
    names.write_text("".join(line for line in lines if "timestamp" not in line))
    assert "to name the newest of the checkpoints" in stopped(*resume(run_copy))
    names.unlink()
    assert "to name the newest of the checkpoints" in stopped(*resume(run_copy))
    assert (run_copy / "metrics.jsonl").read_text() == records


def test_a_tensorboard_folder_that_is_a_file_is_named(run_copy):
    shutil.rmtree(run_copy / "tensorboard")
    (run_copy / "tensorboard").write_text("")
    assert "tensorboard" in stopped(*resume(run_copy))


def test_resume_needs_a_run(tmp_path):
    assert "expected a run to resume" in refused(*resume(tmp_path / "typo"))
    assert not (tmp_path / "typo").exists()


def test_a_last_record_that_was_cut_is_left_out(run_copy):
    path = run_copy / "metrics.jsonl"
    path.write_text(path.read_text() + '{"epoch": 3, "lo')
    assert json_of("info", run_copy)["epoch"] == 2


def test_resuming_a_finished_run_keeps_what_was_recorded(run_copy):
    result = json.loads((run_copy / "result.json").read_text())
    result["artifacts"] = [{"path": "model"}]
    (run_copy / "result.json").write_text(json.dumps(result))
    again = json_of(*resume(run_copy))
    assert again["artifacts"] == [{"path": "model"}]
    assert again["command"] == result["command"]
    assert again["test_top1"] == result["test_top1"]


def with_metadata(model: Path, path: Path, text: bytes) -> Path:
    """A copy of ``model`` whose metadata is ``text``."""
    content = model.read_bytes()
    with zipfile.ZipFile(model) as archive:
        start = min(entry.header_offset for entry in archive.infolist())
    path.write_bytes(content[:start])
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(FILE_NAME, text)
    return path


@pytest.fixture
def model(exported, tiny_run) -> Path:
    return tiny_run.directory / "export" / "model_int8.tflite"


SPEC = {
    "height": 16, "width": 16, "crop_fraction": 1.0, "interpolation": "bilinear",
    "labels": list("0123456789"), "mean": [128.0] * 3, "std": [128.0] * 3,
}  # fmt: skip


@pytest.mark.parametrize(
    "metadata",
    [
        b"", b"{", b"\xff", b"null", b"[1, 2]", b"{}", b'{"spec": {}}',
        *(
            json.dumps({"spec": SPEC | change}).encode()
            for change in (
                {"labels": 3}, {"labels": ["a", "b"]}, {"height": 0}, {"height": 17},
                {"interpolation": "none"}, {"crop_fraction": 0}, {"crop_fraction": "x"},
            )
        ),
    ],
    ids=lambda text: text.decode(errors="replace")[:60],
)  # fmt: skip
def test_bad_metadata_inside_a_model_is_explained(model, tiny_run, tmp_path, metadata):
    bad = with_metadata(model, tmp_path / "bad.tflite", metadata)
    sample = next((tiny_run.directory / "samples").glob("*.png"))
    assert "bad.tflite" in refused("predict", bad, sample)


def test_evaluate_compares_the_labels_with_the_models_outputs(model, tmp_path):
    few = json.dumps({"spec": SPEC | {"labels": ["a", "b"]}}).encode()
    assert "2 labels" in refused("evaluate", with_metadata(model, tmp_path / "few.tflite", few))


def test_metadata_of_a_later_version_is_read_as_far_as_it_is_known(model, tmp_path):
    later = {"spec": SPEC, "data": {"dataset": "digits", "image_size": 16}, "news": 1}
    path = with_metadata(model, tmp_path / "later.tflite", json.dumps(later).encode())
    assert json_of("info", path)["input"]["height"] == 16
    assert 0 <= json_of("evaluate", path)["top1"] <= 1
    unknown = later | {"data": {"from_the_future": 1}}
    path = with_metadata(model, tmp_path / "unknown.tflite", json.dumps(unknown).encode())
    assert "from_the_future" in refused("evaluate", path)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "--bogus"], "No such option"),
        (["nonsense"], "unknown command 'nonsense': expected one of train"),
        (["trian"], "did you mean 'train'?"),
        (["predict", "m.tflite", "i.png", "--top", "0"], "--top"),
        (["benchmark", "m.tflite", "--threads", "²"], "expected positive whole numbers"),
        (["train", "--name", "a", "--run-dir", "b"], "expected --name or --run-dir, got both"),
        (["train", "--name", "../a"], "expected a folder's name"),
        (["train", "--name", ""], "expected a folder's name"),
        (["train", "--set", "name="], "expected section.key=value"),
        (["train", "--set", "data.crop_padding=100"], "expected less than the image's 32 pixels"),
        (["train", "--set", "train.warmup_epochs=.inf"], "expected a finite number"),
        (["train", "--epochs", "99999999999999999999"], "--epochs: expected less than"),
        (["train", "--dataset", ""], "--dataset: expected"),
        (["train", "--dataset", "no/folder"], "expected digits, a TFDS name or an existing folder"),
        (["info", "setup.cfg"], "expected a .tflite, .onnx or .xml file"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_usage_gets_one_line_too(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "setup.cfg").write_text("")
    assert expected in refused(*arguments)


def test_a_split_is_only_for_tfds(tiny_run):
    assert "has just one held-out part" in refused(
        "evaluate", tiny_run.directory, "--split", "train"
    )


def test_folder_names_are_taken_as_they_are(tmp_path, monkeypatch):
    """A folder called 2024 is no number, and one with a $ and a # is no formula and no comment."""
    from tests.conftest import write_images

    monkeypatch.chdir(tmp_path)
    for name in ("2024", "a$x^$b #1"):
        write_images(Path(name), {"cat": 8, "a long/name".replace("/", " "): 8})
        result = json_of(
            "train", "--dataset", name, "--name", f"run{len(name)}", "--epochs", 1,
            "--arch", "resnet8", "--batch-size", 4, "--set", "data.image_size=16",
        )  # fmt: skip
        assert result["preset"] == "photos"
        assert result["config"]["data"]["dataset"] == str(tmp_path / name)
    assert (Path("runs") / f"run{len(name)}" / "curves.png").exists()


def test_a_folder_that_moved_is_found_again(tmp_path):
    from tests.conftest import write_images

    write_images(tmp_path / "old", {"cat": 8, "dog": 8})
    run = tmp_path / "run"
    json_of(
        "train", "--dataset", tmp_path / "old", "--run-dir", run, "--epochs", 1,
        "--arch", "resnet8", "--batch-size", 4, "--set", "data.image_size=16",
    )  # fmt: skip
    shutil.move(tmp_path / "old", tmp_path / "new")
    assert "old" in refused("export", run)
    report = json_of(
        "export", run, "--dataset", tmp_path / "new", "--tflite", "--quantize", "float32"
    )
    assert report["n"] == 4
    json_of(*resume(run), "--dataset", tmp_path / "new")


def test_a_few_held_out_images_are_not_shown_twice(tmp_path):
    from tests.conftest import write_images

    write_images(tmp_path / "images", {"cat": 5, "d" * 200: 5})
    json_of(
        "train", "--dataset", tmp_path / "images", "--run-dir", tmp_path / "run", "--epochs", 1,
        "--arch", "resnet8", "--batch-size", 4, "--set", "data.image_size=16",
    )  # fmt: skip
    assert len(list((tmp_path / "run" / "samples").iterdir())) == 2


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_read_only_target_is_named(tmp_path):
    tmp_path.chmod(0o500)
    assert "Permission denied" in refused("train", "--run-dir", tmp_path / "run")
