"""Files that find boxes, where they run: the same objects from the page, C, and the runtime."""

import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import export, needs_browser
from tests.test_detection_files import folder  # noqa: F401  (a fixture)
from tests.test_native import COMPILER, LIBRARY
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.device import bundle
from tfresnet.runs.run_directory import Run
from tfresnet.runs.train_run import train
from tfresnet.runtime.boxes import CANDIDATES, LIMIT, suppressed
from tfresnet.runtime.predictor import Detector

HEIGHT, WIDTH = 32, 48  # of the network's input
NATIVE = Path(bundle.__file__).parent / "native"
C_COMPILER = shutil.which("gcc") or shutil.which("clang")


def finds_walls(folder, directory) -> Run:  # noqa: F811
    """A network that has learned to find the doors and windows of walls."""
    settings = [
        f"data.dataset={folder}", f"data.image_size=[{HEIGHT},{WIDTH}]", "data.flip=false",
        "data.crop_padding=0", "train.epochs=10", "train.batch_size=8", "train.warmup_epochs=1",
        "train.optimizer=adamw", "train.lr=0.01", "train.weight_decay=0.01",
    ]  # fmt: skip
    return train(loading.load("quickstart", settings), directory)


@pytest.fixture(scope="module")
def exports(folder, tmp_path_factory) -> Path:  # noqa: F811
    """The folder with its files."""
    run = finds_walls(folder, tmp_path_factory.mktemp("runs") / "walls")
    formats, kinds = ("tflite", "onnx", "tflm"), ("float32", "int8")
    export(run, ExportConfig(formats=formats, quantizations=kinds, max_drop=100))
    return run.directory / "export"


@pytest.fixture(scope="module")
def walls(folder) -> list[Path]:  # noqa: F811
    """Pictures that it was not trained on."""
    return sorted((folder / "images" / "test").glob("*.png"))


def outputs(seed: int, places: int, classes: int) -> tuple[np.ndarray, np.ndarray]:
    """Random boxes and scores with all that is special.

    Boxes and scores are of a coarse grid, so that many scores are equal and many overlaps are just
    a half; some boxes are without an area, turned over, outside of the picture or not a number.
    """
    rng = np.random.default_rng(seed)
    corner = rng.integers(-2, 10, (places, 2)) / 8
    size = rng.integers(-1, 6, (places, 2)) / 8
    boxes = np.concatenate([corner, corner + size], axis=1)
    fine = rng.random(places) < 0.3
    boxes[fine] += rng.normal(0, 0.05, (int(fine.sum()), 4))
    boxes[rng.random(places) < 0.05] = np.nan
    scores = rng.integers(0, 20, (places, classes)) / 19
    scores[rng.random((places, classes)) < 0.2] = rng.random() * 0.02
    scores[rng.random((places, classes)) < 0.1] = 0.01
    return boxes.astype(np.float32), scores.astype(np.float32)


# Few and many candidates, one class, as many as COCO has, and none at all.
CASES = [(1, 40, 3), (2, 400, 2), (3, 500, 1), (4, 60, 80), (5, 1000, 8), (6, 0, 2)]


def rows(boxes: np.ndarray, scores: np.ndarray, lowest: float) -> np.ndarray:
    """What the runtime finds: four corners, score and class, float64 [k, 6]."""
    found = suppressed(scores, boxes, lowest)
    return np.column_stack([found.boxes, found.scores, found.classes]).astype(float)


def test_the_cases_reach_the_limits():
    kept = [len(rows(*outputs(*case), 0.01)) for case in CASES]
    assert max(kept) == LIMIT and min(kept) == 0
    assert any(len(set(rows(*outputs(*case), 0.01)[:, 4])) < kept[0] for case in CASES)
    assert any((outputs(*case)[1] >= 0.01).sum() > CANDIDATES for case in CASES)


SUPPRESS = """async ([boxes, scores, classes, lowest]) => {
  const {suppressed} = await import("/web/boxes.js");
  const numbers = (values) => Float32Array.from(values, (x) => x ?? NaN);
  const found = suppressed(numbers(boxes), numbers(scores), classes, lowest);
  const plain = (x) => (Number.isNaN(x) ? null : x);
  return found.map(({box, score, kind}) => [...box, score, kind].map(plain));
}"""


@needs_browser
def test_the_page_chooses_the_same_boxes_to_the_bit(page, exports):
    found = page([exports / "model_int8.tflite"])
    for case in CASES:
        boxes, scores = outputs(*case)
        sent = [[None if np.isnan(x) else float(x) for x in v.ravel()] for v in (boxes, scores)]
        for lowest in (0.01, 0.3):
            given = found.evaluate(SUPPRESS, [*sent, case[2], lowest])
            got = np.array(given, dtype=float).reshape(-1, 6)
            np.testing.assert_array_equal(got, rows(boxes, scores, lowest), str(case))


PROGRAM = """
#include <stdio.h>
#include "boxes.h"
static float boxes[4 * 1000], scores[80 * 1000];
static Detections found;
int main(void) {
  int size[2];
  float lowest;
  if (fread(size, 4, 2, stdin) != 2 || fread(&lowest, 4, 1, stdin) != 1) return 1;
  if (fread(boxes, 16, size[0], stdin) != (size_t)size[0]) return 1;
  if (fread(scores, 4, size[0] * size[1], stdin) != (size_t)(size[0] * size[1])) return 1;
  DetectionsFind(&found, boxes, scores, size[0], size[1], lowest);
  for (int i = 0; i < found.count; ++i) {
    const Detection one = found.all[i];
    printf("%.9g %.9g %.9g %.9g %.9g %d\\n", one.x1, one.y1, one.x2, one.y2, one.score, one.label);
  }
  return 0;
}
"""


@pytest.mark.parametrize("compiler,standard", [(C_COMPILER, "c99"), (COMPILER, "c++11")])
def test_the_header_chooses_the_same_boxes_to_the_bit(compiler, standard, tmp_path):
    if not compiler:
        pytest.skip(f"needs a compiler of {standard}: gcc and g++, or clang and clang++")
    source, program = tmp_path / ("main.cc" if "+" in standard else "main.c"), tmp_path / "main"
    source.write_text(PROGRAM)
    command = [compiler, f"-std={standard}", "-pedantic", "-Wall", "-Wextra", "-Werror", "-O2",
               f"-I{NATIVE}", str(source), "-o", str(program)]  # fmt: skip
    subprocess.run(command, check=True)
    for case in CASES:
        boxes, scores = outputs(*case)
        for lowest in (0.01, 0.3):
            content = np.array(case[1:], np.int32).tobytes() + np.float32(lowest).tobytes()
            content += boxes.tobytes() + scores.tobytes()
            done = subprocess.run([program], input=content, capture_output=True, check=True)
            got = np.array(done.stdout.split(), np.float32).reshape(-1, 6)
            np.testing.assert_array_equal(got, rows(boxes, scores, lowest), str(case))


SHOW = """async ([bytes, name]) => {
  await window.show(new Blob([new Uint8Array(bytes)]), name);
  return [...document.querySelectorAll("#models article")].map((card) => {
    const scene = card.querySelector(".scene").getBoundingClientRect();
    const frames = [...card.querySelectorAll(".frame")].map((frame) => {
      const {left, top, right, bottom} = frame.getBoundingClientRect();
      const {width, height} = scene;
      return [(left - scene.left) / width, (top - scene.top) / height,
              (right - scene.left) / width, (bottom - scene.top) / height];
    });
    const all = (part, read) => [...card.querySelectorAll(part)].map(read);
    return {
      frames: frames.reverse(), // the best one is drawn last
      drawn: all(".marks .label", (it) => it.textContent).reverse(),
      colors: all(".frame", (it) => it.style.borderColor).reverse(),
      labels: all("li .label", (it) => it.textContent),
      squares: all("li .square", (it) => it.style.background),
      scores: all("li .value", (it) => parseFloat(it.textContent) / 100),
      said: card.querySelector(".whole").getAttribute("aria-label"),
    };
  });
}"""


@needs_browser
def test_the_page_shows_what_detect_gives(page, exports, walls, tmp_path):
    names = ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx")
    models = [exports / f"model_{name}" for name in names]
    found = page(models)
    assert not found.locator("#opacity").is_visible()  # nothing is covered
    wide = tmp_path / "wide.png"
    Image.open(walls[2]).resize((150, 70)).save(wide)
    colors = {"door": "rgb(128, 0, 0)", "window": "rgb(0, 128, 0)"}
    for path in (*walls[:2], wide):
        with Image.open(path) as picture:
            size = picture.size * 2
        cards = found.evaluate(SHOW, [list(path.read_bytes()), path.name])
        for model, card in zip(models, cards, strict=True):
            expected = {one.label: one for one in Detector(model).detect(path)}
            assert sorted(expected) == sorted(card["labels"]) == ["door", "window"]
            assert card["said"] == f"{path.name} with 1 door, 1 window"
            for i, label in enumerate(card["labels"]):
                one = expected[label]
                # The pixels are the same to the bit; other kernels move a score or a corner of an
                # integer file by a step or two, which are 1/256 of a score and some 0.01 of a side.
                assert card["scores"][i] == pytest.approx(one.score, abs=0.02)
                np.testing.assert_allclose(card["frames"][i], np.divide(one.box, size), atol=0.03)
                drawn, percent, _ = card["drawn"][i].split()
                assert drawn == label
                assert float(percent) / 100 == pytest.approx(card["scores"][i], abs=0.006)
                assert card["colors"][i] == card["squares"][i] == colors[label]


@needs_browser
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_boxes_fit_a_phone_and_go_with_what_failed(page, exports, walls, scheme):
    found = page([exports / "model_int8.tflite"])
    found.emulate_media(color_scheme=scheme)
    found.set_viewport_size({"width": 360, "height": 740})
    found.evaluate(SHOW, [list(walls[0].read_bytes()), "a"])
    assert "a: 1 door, 1 window" in found.locator("[role=status]").inner_text()
    assert found.evaluate("document.documentElement.scrollWidth") <= 360
    scene = found.locator(".scene").bounding_box()
    for label in found.locator(".marks .label").all():
        box = label.bounding_box()
        assert scene["x"] - 1 <= box["x"] <= scene["x"] + scene["width"] - box["width"] + 1
        assert scene["y"] - 1 <= box["y"] <= scene["y"] + scene["height"] - box["height"] + 1
    found.evaluate("() => window.show(new Blob(['no picture']), 'text.txt')")
    found.wait_for_selector(".error")
    assert not found.locator(".scene").is_visible()
    assert found.locator("#models li").count() == 0


def test_the_program_of_the_bundle_prints_what_detect_gives(exports, walls, tmp_path):
    if not COMPILER or not LIBRARY.exists():
        pytest.skip(f"needs g++ or clang++, and {LIBRARY}")
    native, program = exports / "bundle" / "native", tmp_path / "detect"
    files = {"detect.cc", "boxes.h", "picture_model.h", "labels.txt"}
    assert {path.name for path in native.iterdir()} == files
    readme = (exports / "bundle" / "README.md").read_text()
    assert "`detect.cc`" in readme and "32 x 48" in readme and "`boxes.h`" in readme
    command = [
        COMPILER, "-std=c++17", "-Wall", "-Wextra", "-Werror", native / "detect.cc", "-I",
        Path(__file__).parent, LIBRARY, f"-Wl,-rpath,{LIBRARY.parent}", "-o", program,
    ]  # fmt: skip
    subprocess.run([str(c) for c in command], check=True)
    (model,) = (exports / "bundle").glob("*.tflite")
    detector = Detector(model)
    for path in walls[:3]:
        picture = tmp_path / "picture.ppm"
        Image.fromarray(detector.prepare(path)).save(picture)
        labels = native / "labels.txt"
        done = subprocess.run([program, model, picture, labels], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        expected = detector.detect(picture)
        got = [line.split() for line in done.stdout.splitlines()]
        assert [label for label, *_ in got] == [one.label for one in expected]
        assert len(got) == 2
        # The same library and the same pixels: only what is printed is rounded.
        for (_, score, *box), one in zip(got, expected, strict=True):
            assert float(score) == pytest.approx(one.score, abs=1e-6)
            np.testing.assert_allclose(np.array(box, float), one.box, atol=0.011)


def test_a_firmware_gets_the_header_beside_the_model(exports):
    micro = exports / "tflm"
    assert (micro / "boxes.h").read_text() == (NATIVE / "boxes.h").read_text()
    header = (micro / "model.h").read_text()
    assert "constexpr int kPlaces = 96;" in header  # 8 x 12 cells of 4 x 4 pixels
    assert 'kLabels[kClasses] = {"door", "window"}' in header
    assert "kColors[kClasses] = {0x800000, 0x008000}" in header
