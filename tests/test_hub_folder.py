"""The folder for the hub: what is in it, that its card is read, and that its files run from it."""

import subprocess
import sys

import pytest
from huggingface_hub import ModelCard

from tests.conftest import export
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.publication import HubFolder
from tfresnet.runs import run_directory
from tfresnet.runtime.errors import InputError

QUICK = ("--tflite", "--onnx", "--quantize", "float32", "--quantize", "int8", "--max-drop", 100,
         "--verify-images", 50, "--calibration-images", 50)  # fmt: skip


@pytest.fixture(scope="module")
def folder(tiny_run, tmp_path_factory):
    """Written by the command, from a run whose weights came from the hub."""
    import shutil

    root = tmp_path_factory.mktemp("hub-folder")
    run = root / "run"
    shutil.copytree(tiny_run.directory, run, ignore=shutil.ignore_patterns("export"))
    file = run / "config.yaml"
    text = file.read_text()
    assert "init_from: null" in text
    file.write_text(text.replace("init_from: null", "init_from: timm/resnet18.a1_in1k"))
    out = root / "my-digits"
    result = tfresnet("export", run, *QUICK, "--hub-folder", out, "--license", "apache-2.0")
    assert result.exit_code == 0, result.stderr
    assert f"To publish it: hf upload OWNER/my-digits {out} ." in result.stdout
    return out


def test_the_card_is_what_the_hub_reads(folder, tiny_run):
    card = ModelCard.load(folder / "README.md", ignore_metadata_errors=False)
    data = card.data
    assert (data.license, data.library_name) == ("apache-2.0", "tfresnet")
    assert data.pipeline_tag == "image-classification"
    assert data.base_model == "timm/resnet18.a1_in1k"
    assert data.datasets is None  # of the hub's, which these digits are not
    found = {one.metric_name: one for one in data.eval_results}
    assert list(found) == ["checkpoint", "float32", "int8", "float32 (onnx)", "int8 (onnx)"]
    assert {one.metric_type for one in found.values()} == {"accuracy"}
    assert all(0 <= one.metric_value <= 1 for one in found.values())
    assert "hf download OWNER/my-digits" in card.text
    assert "[timm/resnet18.a1_in1k](https://huggingface.co/timm/resnet18.a1_in1k)" in card.text


def test_it_is_a_run_that_can_be_started_from(folder, tiny_run):
    opened = run_directory.open_run(folder)
    digest = run_directory.weights_sha256(opened.model())
    assert digest == run_directory.weights_sha256(tiny_run.model())
    assert not (folder / "samples").exists()  # somebody's pictures


def test_its_files_run_from_it_without_tfresnet(folder, tiny_run):
    assert {path.name for path in folder.iterdir()} >= {
        "README.md", "labels.txt", "requirements.txt", "classify.py", "tfresnet_runtime",
        "model_float32.tflite", "model_int8.tflite", "model_float32.onnx", "model_int8.onnx",
    }  # fmt: skip
    assert (folder / "labels.txt").read_text().split() == list(tiny_run.output.labels)
    packages = (folder / "requirements.txt").read_text()
    assert "ai-edge-litert" in packages and "onnxruntime" in packages
    assert packages.splitlines() == list(dict.fromkeys(packages.splitlines()))
    (command,) = [
        line.strip() for line in (folder / "README.md").read_text().splitlines()
        if "classify.py" in line
    ]  # fmt: skip
    assert "python classify.py model_int8.tflite photo.jpg" in command
    sample = next(iter(sorted((tiny_run.directory / "samples").glob("*.png"))))
    done = subprocess.run(
        [sys.executable, "classify.py", "model_int8.tflite", sample],
        cwd=folder, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0 and "%" in done.stdout, done.stderr


def test_an_earlier_folder_is_replaced_and_another_one_refused(folder, run_copy, tmp_path):
    (folder / ".git").mkdir(exist_ok=True)
    json_of("export", run_copy, "--tflite", "--quantize", "float32", "--verify-images", 50,
            "--max-drop", 100, "--hub-folder", folder)  # fmt: skip
    models = [path.name for path in folder.glob("model_*")]
    assert models == ["model_float32.tflite"] and (folder / ".git").is_dir()
    assert ModelCard.load(folder / "README.md").data.license == "unknown"
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.txt").write_text("mine")
    line = refused("export", run_copy, "--tflite", "--hub-folder", mine)
    assert "expected a new or empty folder" in line and "thesis.txt" in line
    assert "--license: expected --hub-folder" in tfresnet(
        "export", run_copy, "--license", "mit"
    ).stderr.replace("\n", " ")


def test_a_license_is_an_identifier(tmp_path):
    with pytest.raises(InputError, match=r"--license: expected an identifier .*, got Apache 2"):
        HubFolder(tmp_path / "out", "Apache 2")


def test_files_that_failed_are_not_published(tiny_run, run_copy, tmp_path):
    from tfresnet.deploy import export as stages

    config = ExportConfig(
        formats=("tflite",), quantizations=("int8",), max_drop=-100, verify_images=20,
        calibration_images=20,
    )  # fmt: skip
    run = run_directory.open_run(run_copy)
    with pytest.raises(InputError, match="expected a file that passed its checks"):
        stages.export(run, config, publish=HubFolder(tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert export(run, config.replaced(max_drop=100))["artifacts"]
