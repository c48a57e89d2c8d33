"""The C++ program of the bundle, compiled, and run with the library of ai-edge-litert."""

import shutil
import subprocess
import sys
from pathlib import Path

import ai_edge_litert
import pytest
from PIL import Image

from tfresnet.runtime.predictor import Classifier

LIBRARY = Path(ai_edge_litert.__file__).parent / "libLiteRt.so"
COMPILER = shutil.which("g++") or shutil.which("clang++")


@pytest.fixture(scope="module")
def program(exported, tmp_path_factory) -> Path:
    if not COMPILER or not LIBRARY.exists():
        pytest.skip(f"needs g++ or clang++, and {LIBRARY}")
    source = Path(exported["bundle"]) / "native" / "classify.cc"
    target = tmp_path_factory.mktemp("native") / "classify"
    command = [
        COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", source, "-I",
        Path(__file__).parent, LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-o", target,
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True)
    return target


def test_the_program_says_what_the_runtime_says(program, exported, tiny_run, tmp_path):
    bundle = Path(exported["bundle"])
    model = bundle / "model_int8.tflite"
    for sample in sorted((tiny_run.directory / "samples").glob("*.png"))[:3]:
        picture = tmp_path / "picture.ppm"
        Image.open(sample).convert("RGB").save(picture)
        labels = bundle / "native" / "labels.txt"
        done = subprocess.run([program, model, picture, labels], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        label, probability = done.stdout.split()
        ((expected, exact),) = Classifier(model).classify(sample, top=1)
        assert label == expected
        assert float(probability) == pytest.approx(exact, abs=1e-6)


def test_its_mistakes_get_one_line(program, exported, tmp_path):
    model = Path(exported["bundle"]) / "model_int8.tflite"
    wrong = tmp_path / "wrong.ppm"
    Image.new("RGB", (7, 5)).save(wrong)
    cut = tmp_path / "cut.ppm"
    cut.write_bytes(wrong.read_bytes()[:-3])
    for picture, message in ((wrong, "expected a picture of 768 bytes, got 105"),
                             (cut, "expected a whole binary PPM")):  # fmt: skip
        done = subprocess.run([program, model, picture], capture_output=True, text=True)
        assert done.returncode == 2
        assert message in done.stderr


def test_the_stream_answers_in_order_and_tells_its_times(exported, tiny_run):
    classifier = Classifier(Path(exported["bundle"]) / "model_int8.tflite")
    pixels = tiny_run.dataset().held_out.images[:20]
    answers = list(classifier.stream(iter(pixels), top=1))
    expected = classifier.probabilities(pixels).argmax(axis=1)
    assert [int(a.top[0][0]) for a in answers] == expected.tolist()
    assert all(a.prepare_ms > 0 and a.run_ms > 0 for a in answers)
    assert list(classifier.stream([])) == []


def test_a_folder_is_classified_with_times(exported, tiny_run):
    bundle = Path(exported["bundle"])
    samples = tiny_run.directory / "samples"
    command = [sys.executable, bundle / "classify.py", bundle / "model_int8.tflite", samples,
               "--times", "--top", "1"]  # fmt: skip
    done = subprocess.run([str(c) for c in command], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert len(lines) == len(list(samples.glob("*.png")))
    assert all(" ms + " in line for line in lines)
