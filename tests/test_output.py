"""What the commands print: in any encoding, into any pipe, and about what they could not read."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tests.test_damage import SPEC, with_metadata
from tfresnet.runtime.terminal import BROKEN_PIPE

FLOWER = "\N{CJK UNIFIED IDEOGRAPH-82B1}"
COMMAND = [sys.executable, "-m", "tfresnet.cli"]


@pytest.fixture(scope="module")
def files(exported, tiny_run) -> Path:
    return tiny_run.directory / "export"


@pytest.fixture(scope="module")
def samples(files, tiny_run) -> list[Path]:
    return sorted((tiny_run.directory / "samples").glob("*.png"))


@pytest.fixture
def flower_model(files, tmp_path) -> Path:
    """A model whose labels no Western encoding holds."""
    spec = SPEC | {"labels": [f"{FLOWER}{i}" for i in range(10)]}
    metadata = json.dumps({"spec": spec, "measured": {}}).encode()
    return with_metadata(files / "model_int8.tflite", tmp_path / f"{FLOWER}.tflite", metadata)


def in_cp1252(*arguments: object, **options) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONIOENCODING": "cp1252", "PYTHONUTF8": "0"}
    command = [str(argument) for argument in arguments]
    return subprocess.run(command, capture_output=True, env=environment, **options)


def test_labels_that_the_terminal_lacks_are_escaped(flower_model, samples, exported, tmp_path):
    sample = samples[0]
    bundle = shutil.copytree(exported["bundle"], tmp_path / "bundle")  # the other is for all tests
    shutil.copy(flower_model, bundle / "flower.tflite")
    classify = [sys.executable, "classify.py", "flower.tflite", sample]
    for done in (
        in_cp1252(*COMMAND, "predict", flower_model, sample),
        in_cp1252(*COMMAND, "info", flower_model),
        in_cp1252(*classify, cwd=bundle),
    ):
        assert done.returncode == 0, done.stderr
        assert b"\\u82b1" in done.stdout
    done = in_cp1252(*COMMAND, "predict", flower_model, sample, "--json")
    assert json.loads(done.stdout)["predictions"][0]["top"][0]["label"].startswith(FLOWER)


def test_every_command_may_print_any_text(monkeypatch, tmp_path):
    """The group that all commands are in sees to it; here with a command that prints a flower."""
    code = (
        "import click\nfrom tfresnet.cli import main as m\n"
        f"m.LazyGroup.get_command = lambda *_: click.command('models')(lambda: print('{FLOWER}'))\n"
        "m.main(['models'])"
    )
    done = in_cp1252(sys.executable, "-c", code)
    assert (done.returncode, done.stdout.strip(), done.stderr) == (0, b"\\u82b1", b"")


@pytest.mark.parametrize("arguments", [["models"], ["models", "--json"], ["--help"]])
def test_a_closed_pipe_ends_quietly_with_the_status_of_other_tools(arguments):
    """As ``| head -1`` closes it."""
    command = [*COMMAND, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == BROKEN_PIPE


def test_the_bundles_script_ends_quietly_too(exported, samples):
    bundle = Path(exported["bundle"])
    model = next(bundle.glob("model_*")).name
    command = [sys.executable, "classify.py", model, *map(str, samples)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=bundle
    ) as process:
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait() == BROKEN_PIPE


def odd(folder: Path) -> Path:
    """A path in ``folder`` whose bytes are no UTF-8, if the file system takes such."""
    path = Path(os.fsdecode(bytes(folder) + b"/caf\xe9"))
    try:
        path.mkdir()
    except OSError:
        pytest.skip("this file system takes no such names")
    return path


def test_model_files_in_folders_whose_names_are_no_text(files, samples, tmp_path):
    folder = odd(tmp_path)
    for name in ("model_int8.tflite", "model_float32.onnx"):
        shutil.copy(files / name, folder)
        model = folder / name
        assert json_of("predict", model, samples[0])["predictions"]
        assert json_of("info", model)["arch"] == "resnet8"
        assert tfresnet("predict", model, samples[0]).exit_code == 0


def test_a_run_in_a_folder_whose_name_is_no_text_is_explained(run_copy, tmp_path):
    """TensorFlow takes no such names; what it says is no traceback."""
    run = odd(tmp_path) / "run"
    shutil.copytree(run_copy, run)
    expected = "expected a name in UTF-8, got"
    for command in ("evaluate", "info", "explain"):
        message = refused(command, run)
        assert expected in message
        assert "caf\N{REPLACEMENT CHARACTER}" in message


def test_bad_pictures_are_named_and_the_others_classified(files, samples, tmp_path):
    bad, folder = tmp_path / "bad.pdf", write_images(tmp_path / "pictures", {"a": 1})
    bad.write_text("%PDF")
    (folder / "broken.jpg").write_bytes((folder / "a" / "0.jpg").read_bytes()[:300])
    result = tfresnet(
        "predict", files / "model_int8.tflite", samples[0], bad, folder, samples[1], "--json"
    )
    assert result.exit_code == 1
    answered, skipped = json.loads(result.stdout).values()
    expected = [samples[0], folder / "a" / "0.jpg", samples[1]]
    assert [prediction["image"] for prediction in answered] == [str(path) for path in expected]
    assert [list(each) for each in skipped] == [["image", "reason"]] * 2
    assert [each["image"] for each in skipped] == [str(bad), str(folder / "broken.jpg")]
    assert skipped[0]["reason"] == "expected a readable image: not an image"
    lines = result.stderr.splitlines()
    assert len(lines) == 2
    assert "bad.pdf" in lines[0] and "broken.jpg" in lines[1]
    printed = tfresnet("predict", files / "model_int8.tflite", bad, samples[0])
    assert printed.exit_code == 1
    assert printed.stdout.splitlines()[0] == str(samples[0])
    assert json_of("predict", files / "model_int8.tflite", samples[0])["skipped"] == []


def test_no_answer_at_all_is_bad_input(files, tmp_path):
    (tmp_path / "empty").mkdir()
    for arguments in ([tmp_path / "none.png"], [tmp_path / "empty", "--json"]):
        assert "expected" in refused("predict", files / "model_int8.tflite", *arguments)


def report(run: Path, *artifacts: tuple[str, str, int, list[str]], **more: object) -> None:
    """Write a report of exported files: name, quantization, bytes, failures."""
    records = [
        {
            "path": f"elsewhere/{run.name}/export/{name}",
            "format": name.partition(".")[2] or "saved_model",
            "quantization": quantization,
            "bytes": size,
            "failures": failures,
        }
        for name, quantization, size, failures in artifacts
    ]
    (run / "export").mkdir(exist_ok=True)
    (run / "export" / "report.json").write_text(json.dumps({"artifacts": records} | more))


ALL = [
    ("saved_model", "float32", 1, []),
    ("model_float32.tflite", "float32", 30, []),
    ("model_dynamic.tflite", "dynamic", 9, []),
    ("model_int8.onnx", "int8", 8, []),
    ("model_int8.tflite", "int8", 10, []),
    ("model_int8_qat.tflite", "int8", 11, []),
]


@pytest.mark.parametrize(
    ("failed", "expected"),
    [
        # Lists: a set's order differs between the processes of pytest-xdist, and names the test.
        ([], "model_int8.tflite"),
        (["model_int8.tflite"], "model_int8_qat.tflite"),
        (["model_int8.tflite", "model_int8_qat.tflite"], "model_int8.onnx"),
        ([f"model_int8{e}" for e in (".tflite", "_qat.tflite", ".onnx")], "model_dynamic.tflite"),
    ],
    ids=lambda value: value if isinstance(value, str) else str(len(value)),
)
def test_the_file_of_a_run_is_the_best_that_passed(tmp_path, failed, expected):
    from tfresnet.deploy import choice

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    report(run, *((name, *rest, ["x"] if name in failed else []) for name, *rest, _ in ALL))
    for name, *_ in ALL:
        (run / "export" / name).write_text("")
    assert choice.of_run(run) == run / "export" / expected


def test_predict_and_benchmark_take_a_run(run_copy, files, samples, monkeypatch):
    monkeypatch.setattr("tfresnet.deploy.device.benchmark.peak_memory_mb", lambda *_: None)
    assert "export it: tfresnet export" in refused("predict", run_copy, samples[0])
    report(run_copy, *ALL)
    assert "model_int8.tflite, as in" in refused("benchmark", run_copy)
    shutil.copy(files / "model_int8.tflite", run_copy / "export")
    file = run_copy / "export" / "model_int8.tflite"
    result = tfresnet("predict", run_copy, samples[0], "--json")
    assert result.stderr == f"Taking {file}, the best exported file of {run_copy}\n"
    assert json.loads(result.stdout) == json_of("predict", file, samples[0])
    measured = json_of("benchmark", run_copy, "--rounds", 1)["models"]
    assert [record["path"] for record in measured] == [str(file)]
    report(run_copy, *((*most, ["too large a drop"]) for *most, _ in ALL))
    assert "that passed, all failed" in refused("predict", run_copy, samples[0])


def test_the_file_of_an_automatic_export_is_the_chosen_one(tmp_path):
    from tfresnet.deploy import choice
    from tfresnet.runtime.errors import InputError

    run = tmp_path / "run"
    run.mkdir()
    (run / "config.yaml").write_text("")
    chosen = f"elsewhere/run/export/{ALL[2][0]}"
    report(run, *ALL, ladder=[], chosen=chosen)
    (run / "export" / ALL[2][0]).write_text("")
    assert choice.of_run(run).name == ALL[2][0]
    report(run, *ALL, ladder=[], chosen=None)
    with pytest.raises(InputError, match="all failed"):
        choice.of_run(run)


def test_other_folders_are_no_models(tmp_path, samples):
    for command in (["predict", tmp_path, samples[0]], ["benchmark", tmp_path]):
        assert "is a folder that is neither" in refused(*command)
