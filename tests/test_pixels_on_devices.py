"""Files that give a class for each pixel, where they run: the same map from everything."""

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.conftest import export
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy import Segmenter
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train

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
    """Export the int8 and the float32 TFLite file, or those of ``options``, by their kind."""
    config = ExportConfig(
        **{"formats": ("tflite",), "quantizations": ("float32", "int8"), "max_drop": 100} | options
    )
    artifacts = export(run, config)["artifacts"]
    return {a["quantization"]: Path(a["path"]) for a in artifacts}


@pytest.fixture(scope="module")
def probabilities(run) -> dict[str, Path]:
    """Files that give the probability of each class, by their quantization."""
    return files(run, output="class_probabilities")


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
    model, pictures = probabilities[kind], []
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
