"""What earlier versions made still works, and what must not change has not.

``tests/golden`` holds it; ``python -m tests.golden.make`` writes anew what is meant to change.
"""

import json
import shutil

import numpy as np
import pytest
import yaml

from tests.conftest import NEAR
from tests.golden import make, measured
from tests.test_cli import json_of
from tfresnet.deploy import Classifier
from tfresnet.runs import run_directory

NUMBERS = json.loads((measured.FOLDER / "numbers.json").read_text())
ANSWERS = json.loads((measured.FOLDER / "answers.json").read_text())
COMMANDS = json.loads((measured.FOLDER / "commands.json").read_text())
SAME_MACHINE = measured.machine() == NUMBERS["machine"]


def check(found: dict, expected: dict, tolerance: float) -> None:
    """Compare to the bit where it was made, else how far the norms are off in the mean."""
    if SAME_MACHINE:
        assert found["sha256"] == expected["sha256"]
    ours, theirs = np.array(found["norms"]), np.array(expected["norms"])
    assert (abs(ours - theirs) / theirs).mean() < tolerance


@pytest.fixture(scope="module")
def old_runs(tmp_path_factory):
    """Copies of the runs, which are written to."""
    folder = tmp_path_factory.mktemp("golden") / "runs"
    shutil.copytree(measured.FOLDER / "runs", folder)
    return folder


def test_presets_say_what_they_said():
    golden = yaml.safe_load((measured.FOLDER / "presets.yaml").read_text(encoding="utf-8"))
    assert make.presets() == golden


@pytest.mark.parametrize("preset", measured.TRAININGS)
def test_twenty_steps_lead_to_the_same_weights(preset, tmp_path):
    # Kernels of other processors leave 0.0002 to 0.003; label smoothing of 0.15 instead of
    # 0.1 leaves 0.012, another crop 0.06.
    check(measured.weights_after(preset, tmp_path / "run"), NUMBERS["weights"][preset], 0.005)


@pytest.mark.parametrize("name", measured.AUGMENTATIONS)
def test_batches_are_augmented_in_the_same_way(name):
    # A pixel may be rounded otherwise.
    check(measured.batches_of(name), NUMBERS["batches"][name], 1e-3)


@pytest.mark.parametrize("name", ["finished", "stopped"])
def test_an_old_run_opens_and_is_evaluated(old_runs, name):
    found = json_of("evaluate", old_runs / name)
    recorded = run_directory.open_run(old_runs / name).records()[-1]
    assert found["n"] == 360
    if name == "finished":  # an image or two may be on the edge for other kernels
        assert abs(found["top1"] - recorded["held_out_top1"]) < 0.01


@pytest.mark.slow
def test_an_old_run_goes_on(old_runs):
    run = old_runs / "stopped"
    before = run_directory.open_run(run).epochs_done()
    json_of("train", "--resume", "--run-dir", run)
    assert run_directory.open_run(run).epochs_done() == 30 > before >= 1


def test_an_old_run_is_exported_as_it_was(old_runs):
    json_of("export", old_runs / "finished", "--tflite", "--onnx", "--max-drop", 100)
    for name in ANSWERS:
        assert distance_to_golden(old_runs / "finished" / "export" / name) < NEAR[8]


@pytest.mark.parametrize("name", ANSWERS)
def test_old_files_answer_as_they_did(name):
    assert distance_to_golden(measured.FOLDER / "files" / name) < NEAR[8]


def distance_to_golden(file) -> float:
    """The mean absolute difference of a file's probabilities from those that were recorded."""
    classifier, samples = Classifier(file), measured.FOLDER / "runs" / "finished" / "samples"
    differences = [
        abs(p - recorded[label])
        for sample, recorded in ANSWERS[file.name].items()
        for label, p in classifier.classify(samples / sample, 10)
    ]
    assert len(differences) == 50
    return float(np.mean(differences))


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(line, marks=[pytest.mark.slow] if {"sweep", "--dry-run"} & {*words} else [])
        for line in COMMANDS
        for words in [line.split()]
    ],
)
def test_json_has_the_same_keys_and_types(line, old_runs, tmp_path, monkeypatch):
    """Keys may be added, none may go or hold something else."""
    monkeypatch.chdir(tmp_path)
    found = json_of(*measured.words(line, old_runs))
    if line == "presets":  # kinds are those of a list's first element, which has to be the same one
        found["presets"].sort(key=lambda preset: preset["name"] != "cifar10-preact18")
    assert not missing(COMMANDS[line], measured.kinds(found))


def missing(expected, found, where: str = "") -> list[str]:
    """Return where ``found`` lacks a key of ``expected``, or has another type."""
    if isinstance(expected, dict) and isinstance(found, dict):
        return [
            line
            for key, inner in expected.items()
            for line in (
                missing(inner, found[key], f"{where}.{key}") if key in found else [f"{where}.{key}"]
            )
        ]
    if isinstance(expected, list) and isinstance(found, list):
        return missing(expected[0], found[0], f"{where}[]") if expected and found else []
    if "NoneType" in (expected, found):  # what is not known on this machine
        return []
    return [] if expected == found else [f"{where}: {expected}, now {found}"]
