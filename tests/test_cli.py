"""The command line from outside: help, JSON, exit codes, and one line for a mistake."""

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests.conftest import TINY, write_images
from tfresnet.cli.main import COMMANDS, main


def tfresnet(*arguments: object) -> Result:
    return CliRunner().invoke(main, [str(a) for a in arguments])


def json_of(*arguments: object, run: Callable[..., Result] = tfresnet) -> dict:
    result = run(*arguments, "--json")
    assert result.exit_code == 0, result.stderr
    assert len(result.stdout.splitlines()) == 1
    return json.loads(result.stdout)


def refused(*arguments: object, run: Callable[..., Result] = tfresnet) -> str:
    """The one line that a mistake gets."""
    result = run(*arguments)
    assert result.exit_code == 2, result.output
    assert result.stdout == ""
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.stderr
    return lines[0]


@pytest.fixture(scope="session")
def files(exported, tiny_run) -> Path:
    return tiny_run.directory / "export"


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_has_help_with_an_example(name):
    result = tfresnet(name, "--help")
    assert result.exit_code == 0
    assert f"tfresnet {name}" in result.stdout.split("Example")[1]
    assert "--json" in result.stdout


def test_help_names_every_command():
    result = tfresnet("--help")
    assert all(name in result.stdout for name in COMMANDS)


def test_train_writes_a_run_and_says_so_in_json(tmp_path):
    sets = [word for s in [*TINY, "train.epochs=1"] for word in ("--set", s)]
    result = json_of("train", "--run-dir", tmp_path / "r", *sets, "--seed", 5, "--lr", "0.05")
    assert result["run"] == str(tmp_path / "r")
    assert (result["preset"], result["arch"], result["seed"]) == ("quickstart", "resnet8", 5)
    assert result["config"]["train"]["lr"] == 0.05
    assert 0 <= result["test_top1"] <= 1
    again = json_of("train", "--resume", "--run-dir", tmp_path / "r")
    assert again["test_top1"] == result["test_top1"]


def test_train_ends_with_the_next_commands(tmp_path):
    sets = [word for s in [*TINY, "train.epochs=1"] for word in ("--set", s)]
    result = tfresnet("train", "--run-dir", tmp_path / "my run", *sets)
    assert result.exit_code == 0, result.stderr
    for command in ("evaluate", "export", "predict", "benchmark"):
        assert f"tfresnet {command} '{tmp_path}/my run" in result.stdout
    for fact in (
        "10 classes: 1,437 images to train on, 360 held out", "16 x 16 pixels",
        "resnet8, 78,042 parameters", "1 epochs of 23 steps, batches of 64", "CPU",
        f"run       {tmp_path}/my run",
    ):  # fmt: skip
        assert fact in result.stderr.split("epoch 1/1")[0]


def test_train_on_a_folder_of_images(tmp_path):
    folder = write_images(tmp_path / "images", {"cat": 12, "dog": 12})
    result = json_of(
        "train", "--run-dir", tmp_path / "r", "--dataset", folder, "--epochs", 1,
        "--arch", "resnet8", "--batch-size", 8, "--set", "data.image_size=16",
    )  # fmt: skip
    assert result["config"]["data"]["dataset"] == str(folder)
    assert json_of("info", tmp_path / "r")["labels"] == ["cat", "dog"]


def test_evaluate(files):
    result = json_of("evaluate", files / "model_int8.tflite")
    assert {"top1", "top5", "loss", "ece", "n", "per_class"} <= set(result)
    assert "top-1" in tfresnet("evaluate", files / "model_int8.tflite").stdout


def test_evaluating_mirror_images_too_gives_the_same_for_a_run_and_its_file(tiny_run, files):
    run = json_of("evaluate", tiny_run.directory, "--flip")
    file = json_of("evaluate", files / "model_float32.tflite", "--flip")
    assert run["loss"] != json_of("evaluate", tiny_run.directory)["loss"]
    assert file["loss"] == pytest.approx(run["loss"], abs=1e-5)


def test_predict(files, tiny_run):
    samples = sorted((tiny_run.directory / "samples").glob("*.png"))[:2]
    for model in ("model_int8.tflite", "model_float32.onnx"):
        result = json_of("predict", files / model, *samples, "--top", 3)
        assert [p["image"] for p in result["predictions"]] == [str(s) for s in samples]
        for prediction in result["predictions"]:
            probabilities = [answer["probability"] for answer in prediction["top"]]
            assert len(probabilities) == 3
            assert probabilities == sorted(probabilities, reverse=True)
            assert all(answer["label"] in "0123456789" for answer in prediction["top"])


def test_a_picture_whose_name_is_no_text_is_classified(files, tiny_run, tmp_path):
    sample = next((tiny_run.directory / "samples").glob("*.png"))
    folder = tmp_path / "pictures"
    folder.mkdir()
    try:
        shutil.copy(sample, os.fsencode(folder) + b"/caf\xe9.png")
    except OSError:
        pytest.skip("this file system takes no such names")
    result = tfresnet("predict", files / "model_int8.tflite", folder, "--top", 1)
    assert result.exit_code == 0
    assert "caf\N{REPLACEMENT CHARACTER}.png" in result.stdout


def test_benchmark(files):
    models = [files / "model_float32.tflite", files / "model_int8.tflite"]
    result = json_of("benchmark", *models, "--rounds", 1)
    assert [r["path"] for r in result["models"]] == [str(m) for m in models]
    for record in result["models"]:
        assert 0 < record["p50_ms"] <= record["p90_ms"] <= record["p95_ms"] <= record["p99_ms"]
        assert record["bytes"] == Path(record["path"]).stat().st_size
        assert record["peak_memory_mb"] is None or record["peak_memory_mb"] > 0


@pytest.fixture
def no_memory(monkeypatch):
    """The memory of a model is that of a process of its own, which takes seconds."""
    monkeypatch.setattr("tfresnet.deploy.device.benchmark.peak_memory_mb", lambda *_: None)


LACKING = "flags\t\t: fpu sse2 avx2\n"
CPUS = {
    "AVX2": (LACKING, "lacks VNNI (dot products of bytes)"),
    "VNNI": ("flags\t\t: fpu sse2 avx2 avx512_vnni\n", None),
    "Arm 8.0": ("Features\t: fp asimd crc32\n", "lacks dot products of bytes (asimddp)"),
    "Arm 8.2": ("Features\t: fp asimd asimddp\n", None),
    "unknown": ("", None),
}


@pytest.mark.usefixtures("no_memory")
@pytest.mark.parametrize(("cpuinfo", "expected"), CPUS.values(), ids=CPUS)
def test_a_line_says_why_integers_are_slow(files, tmp_path, monkeypatch, cpuinfo, expected):
    monkeypatch.setattr("tfresnet.system.environment.CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(cpuinfo)
    lines = tfresnet("benchmark", files / "model_int8.tflite", "--rounds", 1).stdout.splitlines()
    assert len(lines) == 3 + bool(expected)
    assert expected is None or expected in lines[-1]


@pytest.mark.usefixtures("no_memory")
def test_nothing_is_said_of_integers_where_there_are_none(files, tmp_path, monkeypatch):
    """TFLite and ONNX files; pixels in are bytes in all of them."""
    monkeypatch.setattr("tfresnet.system.environment.CPUINFO", tmp_path / "cpuinfo")
    (tmp_path / "cpuinfo").write_text(LACKING)
    names = ("float32.tflite", "float16.tflite", "float32.onnx", "int8.onnx", "dynamic.tflite")
    models = [files / f"model_{name}" for name in names]
    result = json_of("benchmark", *models, "--rounds", 1)
    assert [record["integer"] for record in result["models"]] == [False] * 3 + [True] * 2
    assert "lacks VNNI" in result["note"]
    assert json_of("benchmark", *models[:3], "--rounds", 1)["note"] is None


@pytest.mark.usefixtures("no_memory")
def test_the_table_of_a_benchmark_is_narrow_and_relative_to_float32(files, monkeypatch):
    monkeypatch.setattr("tfresnet.system.environment.int8_note", lambda: None)
    models = [files / "model_int8.tflite", files / "model_float32.tflite"]
    head, *rows, where = tfresnet("benchmark", *models, "--rounds", 1).stdout.splitlines()
    assert head.split()[-1] == "speed"
    assert max(map(len, (head, *rows))) <= 80
    assert [row.split()[0] for row in rows] == [model.name for model in models]
    assert rows[1].endswith("1.00 x")
    assert where == f"ms of one image; speed against model_float32.tflite; in {files}"


@pytest.mark.usefixtures("no_memory")
def test_files_of_several_folders_are_compared_too(files, tmp_path, monkeypatch):
    """One by a relative path, the other by an absolute one."""
    shutil.copy(files / "model_int8.tflite", tmp_path / "other.tflite")
    monkeypatch.chdir(files)
    result = tfresnet("benchmark", "model_int8.tflite", tmp_path / "other.tflite", "--rounds", 1)
    assert result.exit_code == 0
    assert f"\n{tmp_path / 'other.tflite'} " in result.stdout


@pytest.mark.usefixtures("no_memory")
def test_benchmark_of_a_saved_model_and_of_operations(files):
    kinds = ("float32.onnx", "float32.tflite", "float16.tflite", "int8.tflite")
    models = [files / f"model_{kind}" for kind in kinds]
    folder = files / "saved_model"
    result = json_of("benchmark", *models, folder, "--rounds", 1, "--profile")
    *measured, saved = result["models"]
    assert saved["p50_ms"] > 0
    assert saved["bytes"] == sum(f.stat().st_size for f in folder.rglob("*") if f.is_file())
    assert list(result["profiles"]) == [str(model) for model in models]
    for times, whole in zip(result["profiles"].values(), measured, strict=True):
        assert max(times, key=times.get).upper().startswith(("CONV", "FUSEDCONV"))
        # Another unit of time would be off by 1,000; profiling slows onnxruntime down, and so does
        # what else this machine does.
        assert 0.02 * whole["p50_ms"] < sum(times.values()) < 100 * whole["p50_ms"]


CONTRACT = {"arch", "parameters", "macs", "input", "labels", "quantization"}


def test_info_of_a_file_a_run_and_an_architecture(files, tiny_run):
    file = json_of("info", files / "model_int8.tflite")
    assert set(file) >= CONTRACT
    assert (file["quantization"], file["parameters"]) == ("int8", 78042)
    run = json_of("info", tiny_run.directory)
    assert set(run) >= CONTRACT | {"step", "epoch", "weights_sha256"}
    assert (run["epoch"], run["step"]) == (2, 2 * 23)  # 1,437 images in batches of 64, the last too
    assert json_of("info", files / "saved_model")["arch"] == "resnet8"
    sets = ["--set", "model.stem=cifar", "--set", "model.num_classes=10"]
    arch = json_of("info", "resnet18", *sets)
    assert set(arch) >= CONTRACT
    assert arch["parameters"] == 11_173_962


def test_info_prints_what_a_person_asks(files):
    lines = tfresnet("info", files / "model_int8.tflite").stdout.splitlines()
    (origin,) = [line for line in lines if line.startswith("provenance")]
    assert "preset quickstart  seed 0" in origin
    assert "data digits" in origin
    assert "None" not in origin


def test_a_second_ctrl_c_is_not_said_to_have_saved(run_copy, tmp_path, monkeypatch):
    """Also on another machine than the first, where the run is in a folder of its own."""

    def stop(config, directory, resume):
        assert config.name == "quickstart"
        assert resume
        raise KeyboardInterrupt

    monkeypatch.setattr("tfresnet.runs.train_run.train", stop)
    shutil.copytree(run_copy, tmp_path / "cluster" / "worker1")
    for folder in (run_copy, tmp_path / "cluster"):
        result = tfresnet("train", "--resume", "--run-dir", folder)
        assert result.exit_code == 130
        assert "Stopped. To go on from the last checkpoint: tfresnet train" in result.stderr
    monkeypatch.setenv("TFRESNET_LAUNCHER", "tfresnet launch -n 2 --")
    launched = tfresnet("train", "--resume", "--run-dir", run_copy).stderr
    assert "checkpoint: tfresnet launch -n 2 -- train --resume --run-dir" in launched


def test_models_and_presets():
    models = json_of("models")["models"]
    assert {"name", "parameters", "macs", "image_size"} <= set(models[0])
    runs = next(m for m in models if m["name"] == "resnet20")["results"]
    # The recipe, one with XLA on a GPU and a shorter run are three results, not three seeds.
    assert sorted(m["epochs"] for m in runs if m["preset"] == "cifar10-resnet20") == [50, 200, 200]
    assert {m["name"] for m in models} >= {"resnet8", "resnet20", "resnet18", "wrn28_10"}
    presets = {p["name"]: p["results"] for p in json_of("presets")["presets"]}
    assert set(presets) >= {"quickstart", "cifar10-resnet8", "cifar10-resnet18"}
    assert sorted(m["epochs"] for m in presets["cifar10-resnet20"]) == [50, 200, 200]
    assert presets["imagenet-resnet50"] == []
    lines = {line.split()[0]: line.split()[1:5] for line in tfresnet("presets").stdout.splitlines()}
    # What is shown is the run with all of the preset's settings, which took 2 cores hours.
    recipe = max((m for m in runs if m["epochs"] == 200), key=lambda m: m["minutes"])
    minutes = f"{recipe['minutes']:.0f}"
    assert lines["cifar10-resnet20"] == ["200", "top-1", f"{recipe['test_top1']:.2%}", minutes]
    assert lines["imagenet-resnet50"][:3] == ["300", "-", "-"]
    assert "arch: resnet20" in tfresnet("presets", "cifar10-resnet20").stdout


def test_float_files_need_no_calibration(run_copy):
    """So training images that could set no range are no obstacle."""
    report = json_of(
        "export", run_copy, "--tflite", "--quantize", "float32", "--quantize", "dynamic",
        "--verify-images", 50, "--max-drop", 100,
    )  # fmt: skip
    assert report["calibration"]["count"] == 0
    assert "No file has integer activations." in (run_copy / "export/MODEL_CARD.md").read_text()
    assert "Integer ranges" not in (run_copy / "export/report.html").read_text()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["--saved-model", "--interface", "float"],
            "--interface: expected uint8 for saved_model, got float",
        ),
        (["--tflm", "--batch", "4"], "--batch: expected none for tflm, where it is 1, got 4"),
    ],
)
def test_export_refuses_what_it_would_ignore(tmp_path, arguments, expected):
    assert expected in refused("export", tmp_path / "none", *arguments)


def test_a_drop_over_the_limit_exits_with_1_and_keeps_the_file(run_copy):
    # A limit below any possible drop: the gate must close, whatever int8 does to this net.
    arguments = ["--tflite", "--quantize", "int8", "--max-drop", "-101"]
    result = tfresnet("export", run_copy, *arguments, "--verify-images", 50)
    assert result.exit_code == 1
    assert "model_int8.tflite: top-1 dropped" in result.stderr
    assert (run_copy / "export" / "model_int8.tflite").exists()
    assert "Traceback" not in result.stderr


def test_export_json_names_every_artifact(run_copy):
    report = json_of("export", run_copy, "--tflite", "--quantize", "float32", "--verify-images", 50)
    assert [a["quantization"] for a in report["artifacts"]] == ["float32"]
    assert report["n"] == 50


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["train", "quikstart"], "did you mean 'quickstart'"),
        (["train", "--set", "train.epoch=3"], "did you mean 'train.epochs'"),
        (["train", "--epochs", "ten"], "Error: --epochs: expected a valid integer, got 'ten'"),
        (["train", "--arch", "resnet21"], "unknown architecture 'resnet21': did you mean"),
        (["train", "--dataset", "./none"], "got ./none, which does not exist"),
        (["train", "--batch-size", "5000"], "expected at most 1437"),
        (["train", "--set", "model.num_classes=0"], "greater than or equal to 2, got 0"),
        (["train", "--run-dir", "/proc/none"], "/proc/none"),
        (["evaluate", "none"], "none does not exist"),
        (["evaluate", "none", "--corruptions", "contrst"], "did you mean 'contrast'"),
        (["evaluate", "none", "--corruptions", "all", "--severities", "6"], "1 to 5, got 6"),
        (["evaluate", "none", "--corruptions", "all", "--severities", "x"], "1 to 5, as in"),
        (["evaluate", "none", "--severities", "1"], "expected --corruptions too"),
        (["export", "none"], "expected a run directory, none does not exist"),
        (["predict", "none.tflite", "image.png"], "none.tflite does not exist"),
        (["predict", "none", "image.png"], "none does not exist"),
        (["predict", ".", "image.png"], "is a folder"),
        (["benchmark", "none.tflite"], "none.tflite does not exist"),
        (["info", "none.tflite"], "none.tflite does not exist"),
        (["info", "resnet19"], "unknown architecture 'resnet19': did you mean"),
        (["info", "runs/none"], "runs/none does not exist"),
        (["info", "none.yaml"], "none.yaml does not exist"),
        (["presets", "none"], "unknown preset 'none'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_gets_one_line_and_exit_2(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    assert expected in refused(*arguments)
    assert not (tmp_path / "runs").exists()


def test_bad_pictures_and_models_get_one_line(files, tmp_path):
    text = tmp_path / "text.jpg"
    text.write_text("not a picture")
    model = files / "model_int8.tflite"
    assert "text.jpg: expected a readable image: not an image" in refused("predict", model, text)
    assert "none.png does not exist" in refused("predict", model, tmp_path / "none.png")
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(model.read_bytes()[:50_000])
    assert "is cut short or was not exported" in refused("predict", cut, text)
    assert "is cut short or was not exported" in refused("info", cut)
    assert "is cut short or was not exported" in refused("evaluate", cut)


def test_two_runs_into_one_directory_are_refused(run_copy):
    assert "already holds a run" in refused("train", "--run-dir", run_copy)
    message = refused("train", "--run-dir", run_copy, "--resume", "--arch", "resnet20")
    assert "expected model.arch='resnet8'" in message


def test_predict_from_a_cold_process_is_quick_and_clean(files, tiny_run):
    command = shutil.which("tfresnet", path=str(Path(sys.executable).parent))
    assert command, "the tfresnet command is not installed beside this Python"
    sample = next((tiny_run.directory / "samples").glob("*.png"))
    arguments = [command, "predict", str(files / "model_int8.tflite"), str(sample), "--json"]
    seconds = []
    for _ in range(3):
        started = time.perf_counter()
        done = subprocess.run(arguments, capture_output=True, text=True, check=True)
        seconds.append(time.perf_counter() - started)
    assert json.loads(done.stdout)["predictions"]
    assert done.stderr == ""
    # 0.43 s on the developers' 2 cores; a loaded CI machine may take three times as long, but
    # importing TensorFlow alone would take 5 s.
    assert min(seconds) < 1.8
