"""Files that give a class for each pixel, where they run: the same map from everything."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import export, needs_browser
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy import Segmenter
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.decode import predictions

LABELS = ("ground", "red", "green", "blue")
COLORS = ("#404040", "#c00000", "#00a000", "#0000c0")
HEIGHT, WIDTH = 32, 48  # of the network's input
needs_device = pytest.mark.skipif(
    "TFRESNET_DEVICE_PYTHON" not in os.environ,
    reason="needs TFRESNET_DEVICE_PYTHON, a Python with mediapipe and tflite-micro",
)


def scene(seed: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """A picture of three noisy rectangles in red, green and blue, and its mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((height, width), np.uint8)
    for label in rng.permutation([1, 2, 3]):
        y, x = rng.integers(0, [2 * height // 3, 2 * width // 3])
        mask[y : y + height // 3, x : x + width // 3] = label
    colors = np.array([[90, 90, 90], [200, 60, 60], [60, 190, 60], [60, 60, 200]])
    noise = rng.normal(0, 12, (height, width, 3))
    return (colors[mask] + noise).clip(0, 255).astype(np.uint8), mask


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> run_directory.Run:
    """A network that has learned to tell the rectangles of wide pictures."""
    root = tmp_path_factory.mktemp("data")
    for part, count in (("train", 64), ("test", 16)):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
        for i in range(count):
            pixels, mask = scene(1000 * (part == "test") + i, 48, 64)
            Image.fromarray(pixels).save(root / "images" / part / f"{i}.png")
            Image.fromarray(mask).save(root / "masks" / part / f"{i}.png")
    (root / "classes.txt").write_text(
        "".join(f"{label} {color}\n" for label, color in zip(LABELS, COLORS, strict=True))
    )
    config = loading.from_overrides(
        [
            f"data.dataset={root}", "model.arch=resnet8", "model.width=0.25", "data.flip=false",
            "data.color=0", f"data.image_size=[{HEIGHT},{WIDTH}]", "train.epochs=8",
            "train.batch_size=16", "train.optimizer=adamw", "train.lr=0.01",
        ]
    )  # fmt: skip
    return train(config, tmp_path_factory.mktemp("runs") / "pixels")


def files(run: run_directory.Run, **options) -> dict[str, Path]:
    """Export files, by default of two quantizations; return them by their names."""
    config = ExportConfig(**{"quantizations": ("float32", "int8"), "max_drop": 100} | options)
    artifacts = export(run, config)["artifacts"]
    return {Path(a["path"]).name: Path(a["path"]) for a in artifacts}


@pytest.fixture(scope="module")
def maps(run) -> dict[str, Path]:
    """Files that give a class map."""
    return files(run, formats=("tflite", "onnx"))


@pytest.fixture(scope="module")
def probabilities(run, tmp_path_factory) -> dict[str, Path]:
    """Files that give the probability of each class."""
    copy = tmp_path_factory.mktemp("copies") / "pixels"
    shutil.copytree(run.directory, copy, ignore=shutil.ignore_patterns("export"))
    options = {"formats": ("tflite",), "output": "class_probabilities"}
    return files(run_directory.open_run(copy), **options)


MEDIAPIPE = """
import json, sys
import mediapipe
import numpy as np
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageSegmenter, ImageSegmenterOptions
options = ImageSegmenterOptions(
    BaseOptions(model_asset_path=sys.argv[1]), output_category_mask=True
)
with ImageSegmenter.create_from_options(options) as segmenter:
    print(json.dumps(segmenter.labels))
    for path in sys.argv[2:]:
        found = segmenter.segment(mediapipe.Image.create_from_file(path))
        np.save(path + ".npy", np.squeeze(found.category_mask.numpy_view()))
"""


@needs_device
@pytest.mark.parametrize("kind", ["float32", "int8"])
def test_mediapipe_gives_the_same_map_of_our_files_unmodified(probabilities, tmp_path, kind):
    model, pictures = probabilities[f"model_{kind}.tflite"], []
    for number, factor in enumerate((1, 1, 2, 2)):
        pixels, _ = scene(500 + number, factor * HEIGHT, factor * WIDTH)
        pictures.append(str(tmp_path / f"{number}.png"))
        Image.fromarray(pixels).save(pictures[-1])
    command = [os.environ["TFRESNET_DEVICE_PYTHON"], "-c", MEDIAPIPE, model, *pictures]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout.splitlines()[-1]) == list(LABELS)
    assert "No activation type" not in done.stderr  # it found SEGMENTER_METADATA
    segmenter = Segmenter(model)
    maps = [(np.load(f"{path}.npy"), segmenter.segment(path)) for path in pictures]
    differ = [float((theirs != ours).mean()) for theirs, ours in maps]
    # At the network's own size nothing is resized: only a tie may fall otherwise in its kernels.
    assert max(differ[:2]) <= 0.002
    # Else MediaPipe resizes the picture without antialiasing and interpolates probabilities where
    # we repeat classes: some 3 % of the pixels, along the edges of so small a map.
    assert max(differ[2:]) <= 0.08
    assert all(len(np.unique(theirs)) == len(LABELS) for theirs, _ in maps)


SHOW = """async ([bytes, name]) => {
  await window.show(new Blob([new Uint8Array(bytes)]), name);
  return [...document.querySelectorAll("#models article")].map((card) => {
    const mask = card.querySelector(".mask");
    const image = mask.getContext("2d").getImageData(0, 0, mask.width, mask.height);
    const text = (item, part) => item.querySelector(part).textContent;
    const shares = [...card.querySelectorAll("li")].map((item) => [
      text(item, ".label"), text(item, ".value"), item.querySelector(".square").style.background,
    ]);
    return {size: [image.width, image.height], pixels: [...image.data], shares};
  });
}"""


@needs_browser
def test_the_page_shows_the_map_that_predict_gives(page, maps, probabilities, tmp_path):
    models = [maps["model_float32.tflite"], maps["model_int8.tflite"], maps["model_float32.onnx"],
              probabilities["model_int8.tflite"]]  # fmt: skip
    found = page(models)
    assert found.locator("#opacity").is_visible()
    colors = np.array([list(bytes.fromhex(color[1:])) for color in COLORS])
    for number, (height, width) in enumerate(((HEIGHT, WIDTH), (100, 70))):
        path = tmp_path / f"{number}.png"
        Image.fromarray(scene(700 + number, height, width)[0]).save(path)
        for model, card in zip(
            models, found.evaluate(SHOW, [list(path.read_bytes()), path.name]), strict=True
        ):
            expected = next(Segmenter(model).stream([path]))
            assert card["size"] == [WIDTH, HEIGHT]
            drawn = np.array(card["pixels"]).reshape(HEIGHT, WIDTH, 4)
            assert (drawn[..., 3] == 255).all()
            differ = (drawn[..., :3] != colors[expected.class_map]).any(-1).mean()
            # The page resizes as Pillow does, to the bit; a tie may fall otherwise in its kernels.
            assert differ <= 0.005
            (label, share, color), *_ = card["shares"]
            assert label == next(iter(expected.shares))
            assert float(share.split()[0]) == pytest.approx(100 * expected.shares[label], abs=0.6)
            assert color == f"rgb({', '.join(map(str, colors[LABELS.index(label)]))})"
    assert "ground" in found.locator(".whole").first.get_attribute("aria-label")


@needs_browser
def test_colors_fade_and_go_with_what_failed(page, maps):
    found = page([maps["model_int8.tflite"]])
    assert not found.locator(".scene").is_visible()
    picture = maps["model_int8.tflite"].parents[1] / "samples"
    content = next(picture.glob("*.png")).read_bytes()
    found.evaluate(SHOW, [list(content), "a"])
    found.locator("#share").fill("0")
    assert found.locator(".mask").evaluate("(it) => getComputedStyle(it).opacity") == "0"
    found.set_viewport_size({"width": 360, "height": 740})
    assert found.evaluate("document.documentElement.scrollWidth") <= 360
    found.evaluate("() => window.show(new Blob(['no picture']), 'text.txt')")
    found.wait_for_selector(".error")
    assert not found.locator(".scene").is_visible()
    assert found.locator("#models li").count() == 0


MICRO = """
import sys
import numpy as np
from tflite_micro.python.tflite_micro import runtime
interpreter = runtime.Interpreter.from_file(sys.argv[1])
maps = []
for pixels in np.load(sys.argv[2]):
    interpreter.set_input((pixels ^ 0x80).view(np.int8)[None], 0)
    interpreter.invoke()
    maps.append(interpreter.get_output(0)[0])
np.save(sys.argv[3], maps)
interpreter.print_allocations()
"""


@pytest.fixture(scope="module")
def micro(run, tmp_path_factory) -> Path:
    """The folder for TFLite Micro."""
    copy = tmp_path_factory.mktemp("copies") / "pixels"
    shutil.copytree(run.directory, copy, ignore=shutil.ignore_patterns("export"))
    options = {"formats": ("tflm",), "quantizations": ("int8",), "interface": "integer"}
    (path,) = files(run_directory.open_run(copy), **options).values()
    return path.parent


def test_the_header_has_what_a_program_needs_to_draw_the_map(micro):
    header = (micro / "model.h").read_text()
    assert f"kOutputHeight = {HEIGHT}, kOutputWidth = {WIDTH}" in header
    assert 'kLabels[kClasses] = {"ground", "red", "green", "blue"}' in header
    assert "kColors[kClasses] = {0x404040, 0xc00000, 0x00a000, 0x0000c0}" in header
    assert "AddArgMax" in header and "AddSoftmax" not in header


@needs_device
def test_tflite_micros_own_kernels_give_the_same_map(micro, tmp_path):
    pixels = np.stack([scene(900 + i, HEIGHT, WIDTH)[0] for i in range(8)])
    np.save(tmp_path / "pixels.npy", pixels)
    model, found = micro / "model_int8.tflite", tmp_path / "maps.npy"
    command = [
        os.environ["TFRESNET_DEVICE_PYTHON"],
        "-c",
        MICRO,
        model,
        tmp_path / "pixels.npy",
        found,
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    expected = predictions(Segmenter(model).outputs(pixels))
    # XNNPACK and the reference kernels round some values differently, which moves an edge.
    assert (np.load(found).view(np.uint8) != expected).mean() <= 0.01
    assert len(np.unique(expected)) == len(LABELS)
    used = int(re.search(r"Arena allocation total (\d+)", done.stdout + done.stderr)[1])
    estimate = int(re.search(r"kTensorArenaSize = (\d+)", (micro / "model.h").read_text())[1])
    assert used <= estimate <= 1.25 * used


def test_the_bundle_draws_what_it_finds(maps, run, tmp_path):
    bundle = maps["model_int8.tflite"].parent / "bundle"
    assert not (bundle / "native").exists()  # its programs read probabilities of labels
    readme = (bundle / "README.md").read_text()
    assert "python classify.py model_int8.tflite sample.png --out found" in readme
    assert 'Segmenter("model_int8.tflite").segment("sample.png")' in readme
    assert "resized as a whole" in readme and "MediaPipe" in readme
    command = [sys.executable, "classify.py", "model_int8.tflite", "sample.png", "--out", tmp_path]
    done = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("sample.png: ground ")
    expected = Segmenter(maps["model_int8.tflite"]).segment(bundle / "sample.png")
    np.testing.assert_array_equal(Image.open(tmp_path / "sample_mask.png"), expected)
    card = (run.directory / "export" / "MODEL_CARD.md").read_text()
    assert "that gives each pixel of 32 x 48 color pictures one of 4 classes" in card
