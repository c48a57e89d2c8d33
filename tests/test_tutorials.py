"""The tutorials about masks and boxes: each command of theirs runs, on small pictures."""

import glob
import shlex
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_cli import tfresnet
from tests.test_docs import ROOT, commands, fenced

COLORS = np.array([[90, 120, 200], [140, 100, 60], [60, 60, 60], [200, 60, 60]])
# What makes a training short; its pictures would have its network's size otherwise.
SHORT = (
    "--epochs", "1", "--set", "data.image_size=[48, 64]", "--set", "model.arch=resnet8",
    "--set", "train.batch_size=4", "--set", "train.warmup_epochs=0",
)  # fmt: skip
ANNOTATION = """<annotation><filename>{name}.jpg</filename>
<size><width>64</width><height>48</height><depth>3</depth></size>
<object><name>{kind}</name><bndbox><xmin>{x}</xmin><ymin>{y}</ymin><xmax>{right}</xmax>
<ymax>{bottom}</ymax></bndbox></object></annotation>"""


def streets(root: Path) -> None:
    """Pictures of colored rectangles with their masks, in three parts."""
    rng = np.random.default_rng(0)
    for part, count in (("train", 8), ("val", 4), ("test", 4)):
        for kind in ("images", "masks"):
            (root / kind / part).mkdir(parents=True)
        for number in range(count):
            mask = np.zeros((48, 64), np.uint8)
            for label in range(1, len(COLORS)):
                y, x = rng.integers(0, [32, 44])
                mask[y : y + 16, x : x + 20] = label
            noise = rng.integers(-20, 20, (48, 64, 3))
            image = (COLORS[mask] + noise).clip(0, 255).astype(np.uint8)
            Image.fromarray(image).save(root / f"images/{part}/{number}.jpg")
            Image.fromarray(mask).save(root / f"masks/{part}/{number}.png")
    (root / "classes.txt").write_text("sky #87ceeb\nbuilding #8b4513\nroad #808080\ncar #ff4040\n")


def cells(root: Path) -> None:
    """Pictures with a disc each in the format of Pascal VOC."""
    rng = np.random.default_rng(0)
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main"):
        (root / folder).mkdir(parents=True)
    names = [f"p{number}" for number in range(12)]
    for number, name in enumerate(names):
        image = rng.integers(200, 240, (48, 64, 3)).astype(np.uint8)
        x, y = rng.integers(2, 40), rng.integers(2, 24)
        image[y : y + 20, x : x + 20] = COLORS[1 + number % 2]
        Image.fromarray(image).save(root / f"JPEGImages/{name}.jpg")
        text = ANNOTATION.format(
            name=name, kind=("RBC", "WBC")[number % 2], x=x, y=y, right=x + 20, bottom=y + 20
        )
        (root / f"Annotations/{name}.xml").write_text(text)
    for part, of_part in (("trainval", names[:8]), ("test", names[8:])):
        (root / f"ImageSets/Main/{part}.txt").write_text("\n".join(of_part) + "\n")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "folder", "make"),
    [("street-scenes", "streets", streets), ("count-cells", "cells", cells)],
)
def test_every_command_of_a_tutorial_runs(page, folder, make, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / folder)
    first = next((tmp_path / folder).rglob("*.jpg"))
    Path("photo.jpg").write_bytes(first.read_bytes())
    Path("folder").mkdir()
    Path("folder/photo.jpg").write_bytes(first.read_bytes())
    ran = []
    for block in fenced(ROOT / f"docs/tutorials/{page}.md"):
        if not block.info.startswith("console"):
            continue
        for words in commands(block.text):
            name = words[0]
            if name == "demo":  # a server, see tests/test_demo.py
                continue
            words = [each for word in words for each in (sorted(glob.glob(word)) or [word])]
            extra = {"train": SHORT, "export": ("--max-drop", "100")}.get(name, ())
            result = tfresnet(*words, *extra)
            # What has learned nothing need not agree with itself in 8 bits.
            failed = name == "export" and "Failed: " in result.output
            assert result.exit_code == int(failed), f"{shlex.join(words)}: {result.output}"
            ran.append(name)
    assert {"train", "export", "evaluate", "predict"} <= set(ran)
