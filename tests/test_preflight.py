"""What can be known without TensorFlow is said before it is imported, which takes seconds."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config.sections import ModelConfig
from tfresnet.models import options, zoo

# Runs every command of a list in one process, in which TensorFlow can't be imported.
WITHOUT_TENSORFLOW = """
import json, sys
from click.testing import CliRunner
for name in ("tensorflow", "tf_keras", "tensorflow_datasets"):
    sys.modules[name] = None
from tfresnet.cli.main import main
results = []
for arguments in json.loads(sys.argv[1]):
    result = CliRunner().invoke(main, arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    results.append([result.exit_code, result.stdout, result.stderr])
print(json.dumps(results))
"""


def without_tensorflow(commands: list[list[str]], folder: Path) -> list[tuple[int, str, str]]:
    command = [sys.executable, "-c", WITHOUT_TENSORFLOW, json.dumps(commands)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


# RUN is a finished run, FILE an exported file of it.
MISTAKES = [
    ("train --arch resnet19", "unknown architecture 'resnet19': did you mean 'resnet9'?"),
    ("train quikstart", "did you mean 'quickstart'"),
    ("train none.yaml", "none.yaml"),
    ("train --set train.precision=float8", "train.precision: expected 'float32'"),
    ("train --arch densenet121 --set model.variant=d", "as densenet121 has no such option"),
    ("train --dataset ./none", "./none, which does not exist"),
    ("train --dataset a/b/c", "a/b/c, which does not exist"),
    ("train cifar10-resnet8 --data-dir none", "expected a folder, none does not exist"),
    ("train --run-dir RUN", "already holds a run"),
    ("train --run-dir RUN --resume --arch resnet20", "expected model.arch='resnet8'"),
    ("train --run-dir RUN --resume --epochs 1", "--epochs: expected more than the 2 that "),
    ("train --run-dir none --resume", "expected a run to resume in none"),
    ("train --run-dir text.txt", "expected a folder for the run, text.txt is a file"),
    ("train --dry-run --strategy multiworker", "--strategy: expected one process in a dry run"),
    ("train --dry-run --arch resnet19", "unknown architecture 'resnet19'"),
    ("train --teacher none", "--teacher: expected a run directory, none does not exist"),
    (
        "train --init-from none",
        "--init-from: expected a run directory, a file of weights, or one of cifar10-",
    ),
    ("preview --arch resnet19", "unknown architecture 'resnet19'"),
    ("preview --dataset ./none", "./none, which does not exist"),
    ("evaluate none", "none does not exist"),
    ("evaluate text.txt", "expected a .tflite, .onnx or .xml file, got text.txt"),
    ("evaluate RUN --corruptions contrst", "did you mean 'contrast'"),
    ("evaluate RUN --split train", "has just one held-out part"),
    ("evaluate FILE --dataset ./none", "./none, which does not exist"),
    ("export none", "none does not exist"),
    ("export FILE", "is a model file; give its run: "),
    ("export SAVED", "is a SavedModel; give its run: "),
    ("export text.txt", "text.txt is a file; give its run"),
    ("export RUN --dataset ./none", "./none, which does not exist"),
    ("explain FILE", "is a model file; give its run: "),
    ("explain RUN none.png", "expected an image, none.png does not exist"),
    ("inspect none.tflite", "none.tflite does not exist"),
    ("inspect FILE --against none.tflite", "none.tflite does not exist"),
    ("convert-weights none.h5 --arch resnet50 --out new", "none.h5 does not exist"),
    ("convert-weights text.txt --arch resnet50 --out new", "expected weights in .safetensors"),
    ("convert-weights w.h5 --arch resnet51 --out new", "unknown architecture 'resnet51'"),
    ("convert-weights w.h5 --arch resnet18 --out new", "keras.applications' networks"),
    ("convert-weights w.h5 --arch resnet50 --out RUN", "is not empty"),
    ("convert-weights w.h5 --arch resnet50 --out new --labels none", "got none: "),
    ("benchmark none", "none does not exist"),
    ("benchmark text.txt", "expected a .tflite, .onnx or .xml file, or a SavedModel, got text.txt"),
    ("info resnet19", "unknown architecture 'resnet19'"),
    ("info none/x", "none/x does not exist"),
    ("info resnet18 --set model.arhc=x", "did you mean 'model.arch'"),
    ("sweep sweep.yaml --dry-run", "sweep.yaml: arch=resnet19: unknown architecture"),
]


def test_mistakes_are_found_without_tensorflow(exported, tiny_run, tmp_path):
    """Each gets one line and exit 2, and nothing is written."""
    (tmp_path / "text.txt").write_text("text")
    (tmp_path / "w.h5").write_text("")
    (tmp_path / "sweep.yaml").write_text("base: quickstart\ngrid: {model.arch: [resnet19]}\n")
    before = sorted(tmp_path.rglob("*"))
    names = {
        "RUN": str(tiny_run.directory),
        "FILE": str(tiny_run.directory / "export" / "model_int8.tflite"),
        "SAVED": str(tiny_run.directory / "export" / "saved_model"),
    }
    commands = [[names.get(word, word) for word in line.split()] for line, _ in MISTAKES]
    results = without_tensorflow(commands, tmp_path)
    for (line, expected), (status, stdout, stderr) in zip(MISTAKES, results, strict=True):
        assert (status, stdout) == (2, ""), (line, stderr)
        assert expected in stderr, line
        assert len(stderr.splitlines()) == 1, line
    assert sorted(tmp_path.rglob("*")) == before


def test_what_needs_no_tensorflow_works_without_it(exported, tiny_run, tmp_path):
    shutil.copytree(tiny_run.directory / "samples", tmp_path / "samples")
    file = f"{tiny_run.directory}/export/model_int8.tflite"
    commands = [
        ["info", "resnet18"], ["info", "resnet18", "--json"], ["info", file], ["models"],
        ["presets"], ["presets", "quickstart"], ["predict", file, "samples"],
        ["sweep", "--help"],
    ]  # fmt: skip
    results = without_tensorflow(commands, tmp_path)
    assert [status for status, _, _ in results] == [0] * len(commands)
    facts = json.loads(results[1][1])
    assert (facts["parameters"], facts["macs"]) == (11_689_512, 1_814_073_344)
    assert facts["input"] == {"height": 224, "width": 224, "channels": 3, "dtype": "float32"}
    assert facts["labels"] == []
    printed = {line.split()[0] for line in results[0][1].splitlines()}
    assert printed == {"arch", "parameters", "macs", "input", "quantization"}  # no empty labels


def test_recorded_costs_are_those_of_the_network():
    """With a setting that changes nothing, the network is built and counted."""
    built = json_of("info", "resnet8", "--set", "model.zero_gamma=false")
    assert built == json_of("info", "resnet8")


def test_every_option_of_a_family_is_a_key_and_every_architecture_has_a_family():
    for taken in options.FAMILIES.values():
        assert taken <= set(ModelConfig.model_fields)
    assert {row.family for row in zoo.ARCHITECTURES.values()} == set(options.FAMILIES)


def test_info_of_a_run_has_its_accuracy_data_and_preset(tiny_run, exported):
    facts = json_of("info", tiny_run.directory)
    assert facts["measured"]["top1"] == tiny_run.result.test_top1
    assert facts["measured"]["n"] == 360
    assert facts["provenance"]["preset"] == "quickstart"
    assert facts["provenance"]["data"]["dataset"] == "digits"
    printed = tfresnet("info", tiny_run.directory).stdout
    assert f"top1 {tiny_run.result.test_top1:.2%}" in printed
    assert "preset quickstart" in printed and "data digits" in printed


def test_a_run_that_is_not_finished_has_no_accuracy_yet(run_copy):
    (run_copy / "result.json").unlink()
    assert json_of("info", run_copy)["measured"] is None
    assert "go on with --resume" in refused("export", run_copy)


@pytest.mark.parametrize("command", ["models", "presets"])
def test_tables_fit_a_terminal_of_80_columns(command, monkeypatch):
    """No line is longer, and no word is broken."""
    monkeypatch.setenv("COLUMNS", "10000")
    wide = tfresnet(command).stdout
    monkeypatch.setenv("COLUMNS", "80")
    narrow = tfresnet(command).stdout
    assert max(map(len, narrow.splitlines())) <= 80
    assert max(map(len, wide.splitlines())) > 80
    assert set(narrow.replace(",", " ").split()) == set(wide.replace(",", " ").split())


def test_a_folder_of_images_passes(tmp_path, monkeypatch):
    """What is there is not refused: a folder by a relative path, and from a name with spaces."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "my pictures", {"a": 5, "b": 5})
    arguments = ["--arch", "resnet8", "--set", "data.image_size=16", "--batch-size", 4]
    result = tfresnet("preview", "--dataset", "my pictures", *arguments)
    assert result.exit_code == 0, result.stderr
