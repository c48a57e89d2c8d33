"""Few pictures: from nothing against from weights, on parts of CIFAR-10 and on digits.

A ResNet-8 learns eight classes of CIFAR-10. Folders of few pictures a class, of the other two
classes (ship, truck) and of the ten digits, are then trained in turn as the recipe for folders has
it, from nothing and from those weights: the same network. Accuracy is that of the final network on
all held-out pictures (ship and truck: 2,000; digits: 360), which choose nothing; seconds are those
of the training steps.

    TFDS_DATA_DIR=path/to/tensorflow_datasets python benchmarks/transfer.py --work runs/transfer
"""

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

import numpy as np
import tensorflow_datasets as tfds
from PIL import Image

from tfresnet.data import digits
from tfresnet.sweep import markdown

NEW = ("ship", "truck")  # the other eight are learned before
ARMS = {
    # Nothing looks at the epochs between, and seconds are those of the training steps.
    "from nothing": ["--no-pretrained", "--arch", "resnet8", "--set", "train.eval_every=1000"],
    "from weights": [],
}


def write(folder: Path, images: np.ndarray, names: list[str]) -> None:
    """Write pictures into a sub-folder for each name; none if the folder is there."""
    if folder.exists():
        return
    for number, (image, name) in enumerate(zip(images, names, strict=True)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(image).save(folder / name / f"{number:05d}.png")


def few(names: list[str], count: int, seed: int) -> list[int]:
    """Draw the indices of ``count`` pictures of each name."""
    rng, chosen = np.random.default_rng(seed), []
    for name in sorted(set(names)):
        chosen += sorted(rng.permutation([i for i, n in enumerate(names) if n == name])[:count])
    return chosen


def cifar() -> tuple[dict[str, np.ndarray], dict[str, list[str]]]:
    """Return the images of CIFAR-10 and their classes' names, each by ``train`` and ``test``."""
    images, names = {}, {}
    for split in ("train", "test"):
        found = tfds.as_numpy(tfds.load("cifar10", split=split, batch_size=-1))
        labels = tfds.builder("cifar10").info.features["label"]
        images[split] = found["image"]
        names[split] = [labels.int2str(int(number)) for number in found["label"]]
    return images, names


def part(images: np.ndarray, names: list[str], keep: list[int]) -> tuple[np.ndarray, list[str]]:
    """Return some of the images, and their names."""
    return images[keep], [names[i] for i in keep]


def folders(work: Path, counts: list[int], seeds: list[int]) -> dict[tuple[str, int, int], Path]:
    """Write all folders of pictures; return those of few, by set, pictures a class, and seed."""
    images, names = cifar()
    for split, folder in (("train", "train"), ("test", "val")):
        old = [i for i, name in enumerate(names[split]) if name not in NEW]
        write(work / "eight" / folder, *part(images[split], names[split], old))
    gray, classes = digits.load()
    written = [str(number) for number in classes]
    held_out = few(written, 36, seed=0)
    rest = [i for i in range(len(written)) if i not in set(held_out)]
    two = {s: [i for i, n in enumerate(names[s]) if n in NEW] for s in names}
    sets = {
        "ship, truck": (
            part(images["train"], names["train"], two["train"]),
            part(images["test"], names["test"], two["test"]),
        ),
        "digits": (part(gray, written, rest), part(gray, written, held_out)),
    }
    found = {}
    for title, (training, testing) in sets.items():
        for count in counts:
            for seed in seeds:
                folder = work / f"{title.partition(',')[0]}-{count}-{seed}"
                write(folder / "train", *part(*training, few(training[1], count, seed)))
                write(folder / "val", *testing)
                found[title, count, seed] = folder
    return found


def train(directory: Path, *arguments: str) -> dict:
    """Train into a directory, unless it is done; return its result."""
    if not (directory / "result.json").exists():
        command = [sys.executable, "-m", "tfresnet.cli", "train", *arguments]
        subprocess.run([*command, "--run-dir", str(directory)], check=True)
    result = json.loads((directory / "result.json").read_text())
    records = (directory / "metrics.jsonl").read_text().splitlines()
    return result | {"seconds": sum(json.loads(line)["seconds"] for line in records)}


def main() -> None:
    """Run all trainings, and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("runs/transfer"))
    parser.add_argument("--counts", type=int, nargs="+", default=[5, 20, 40])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", default="12", help="Of the eight classes.")
    parser.add_argument("--set", nargs="*", default=[], help="Settings of the runs from weights.")
    options = parser.parse_args()
    few_pictures = folders(options.work, options.counts, options.seeds)
    eight = options.work / "run-eight"
    data = ["--set", f"data.dataset={options.work / 'eight'}", "--set", "train.eval_every=4"]
    before = train(eight, "cifar10-resnet8", "--epochs", options.epochs, *data)
    print(f"eight classes: {before['test']['top1']:.2%}, {before['wall_seconds'] / 60:.1f} min")
    rows = []
    for title in dict.fromkeys(title for title, _, _ in few_pictures):
        for count in options.counts:
            found: dict[str, list[dict]] = {arm: [] for arm in ARMS}
            for seed in options.seeds:
                folder = few_pictures[title, count, seed]
                for arm, more in ARMS.items():
                    start = [] if more else ["--init-from", str(eight)]
                    tried = [] if more else [w for s in options.set for w in ("--set", s)]
                    run = options.work / f"run-{folder.name}-{arm.replace(' ', '-')}"
                    words = [str(folder), *more, *start, *tried, "--seed", str(seed)]
                    found[arm].append(train(run, *words))
            seconds = {a: statistics.fmean(r["seconds"] for r in rs) for a, rs in found.items()}
            row = {"pictures": title, "a class": str(count)}
            for arm, results in found.items():
                row[f"{arm}, top-1"] = markdown.percent([r["test"]["top1"] for r in results])
                row[f"{arm}, s"] = f"{seconds[arm]:.1f}"
            row["time"] = f"{seconds['from weights'] / seconds['from nothing']:.2f}"
            rows.append(row)
            print(row, flush=True)
    print(markdown.table(rows))


if __name__ == "__main__":
    main()
