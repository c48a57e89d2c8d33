"""From a folder of pictures to an int8 file, in two commands: minutes and accuracy.

The pictures are cut out of a VOC folder's boxes, 32 x 32 pixels, some of each class to train on;
all of its test pictures are held out. For pictures of this size the weights ship with tfresnet, so
no network is needed. In turn, from those weights and from nothing.

    python benchmarks/folder_to_file.py path/to/bccd --work runs/cells
"""

import argparse
import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import numpy as np
from PIL import Image

from tfresnet.data import voc
from tfresnet.sweep import markdown

SIDE = 32  # pixels
ARMS = {"from weights": "--pretrained", "from nothing": "--no-pretrained"}


def crops(root: Path, parts: tuple[str, ...]) -> list[tuple[str, Image.Image]]:
    """Return the label of each box of some parts, and the picture in it."""
    found = []
    for name in [n for p in parts for n in (root / f"ImageSets/Main/{p}.txt").read_text().split()]:
        marked = voc.marked(root / f"JPEGImages/{name}.jpg", root / f"Annotations/{name}.xml")
        with Image.open(marked.path) as picture:
            for mark in marked.marks:
                corners = [round(edge) for edge in mark.box]
                if min(corners[2] - corners[0], corners[3] - corners[1]) >= SIDE // 2:
                    cut = picture.convert("RGB").crop(corners).resize((SIDE, SIDE))
                    found.append((mark.label, cut))
    return found


def write(folder: Path, pictures: list[tuple[str, Image.Image]], most: int | None) -> Counter:
    """Write pictures into a sub-folder for each label, at most some of each; count them."""
    counts: Counter = Counter()
    for index in np.random.default_rng(0).permutation(len(pictures)):
        label, picture = pictures[index]
        if most is None or counts[label] < most:
            (folder / label).mkdir(parents=True, exist_ok=True)
            picture.save(folder / label / f"{counts[label]:05d}.png")
            counts[label] += 1
    return counts


def run(*words: str) -> float:
    """Run a command of tfresnet; return its minutes."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "tfresnet.cli", *words], check=True)
    return (time.perf_counter() - started) / 60


def main() -> None:
    """Run the two commands on each arm, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("boxes", type=Path, help="A VOC folder with the parts train, val and test.")
    parser.add_argument("--work", type=Path, default=Path("runs/cells"))
    parser.add_argument("--count", type=int, default=40, help="Pictures of each class.")
    options = parser.parse_args()
    folder = options.work / "pictures"
    counts = write(folder / "train", crops(options.boxes, ("train", "val")), options.count)
    held_out = write(folder / "val", crops(options.boxes, ("test",)), None)
    print(f"to train on: {dict(counts)}; held out: {dict(held_out)}")
    rows = []
    for arm, flag in ARMS.items():
        directory = options.work / arm.replace(" ", "-")
        training = run("train", str(folder), flag, "--run-dir", str(directory))
        exporting = run("export", str(directory), "--tflite", "--quantize", "int8")
        report = json.loads((directory / "export" / "report.json").read_text())
        (file,) = report["artifacts"]
        rows.append(
            {
                "": arm,
                "train, min": f"{training:.1f}",
                "export, min": f"{exporting:.1f}",
                "top-1": f"{report['checkpoint']['top1']:.2%}",
                "int8": f"{file['top1']:.2%}",
                "bytes": f"{file['bytes']:,}",
            }
        )
    print(markdown.table(rows))


if __name__ == "__main__":
    main()
