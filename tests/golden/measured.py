"""Numbers that a golden file holds: what training, augmentation and export came to."""

import hashlib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline
from tfresnet.data.splits import ArraySplit
from tfresnet.runs.train_run import train
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system import environment

FOLDER = Path(__file__).parent
# 20 steps of 72 images each: 1,437 images in an epoch. At the presets' own rates the rounding of
# another processor's kernels grows to half of some norms within 20 steps.
SHORT = (
    "data.dataset=digits", "data.image_size=16", "data.eval_fraction=0.2", "model.width=0.25",
    "train.batch_size=72", "train.lr=0.001", "train.epochs=1", "train.warmup_epochs=0",
    "train.precision=float32", "train.strategy=one",
)  # fmt: skip
TRAININGS = {
    "quickstart": (),
    "cifar10-resnet8": (),
    "cifar10-resnet20": ("train.ema_decay=0.9",),
}
AUGMENTATIONS: dict[str, dict[str, Any]] = {
    "crop and flip": {"crop_padding": 2, "flip": True},
    "alternating flip, zeros": {"crop_padding": 2, "crop_mode": "zero", "flip": "alternating"},
    "random resized crop": {"random_resized_crop": 0.3, "flip": True},
    "randaugment, erasing": {"randaugment": 2, "erasing": 0.5},
    "trivialaugment, cutout": {"policy": "trivialaugment", "cutout": 4},
    "autoaugment": {"policy": "autoaugment"},
    "mixup and cutmix": {"mixup_alpha": 0.2, "cutmix_alpha": 1.0},
    "repeats": {"repeats": 2, "flip": True},
}

SMALL = "--set data.image_size=16 --set model.width=0.25 --set train.warmup_epochs=0"
# What is run for the keys and types of its --json; {files}, {runs} and {sweep} are golden ones.
COMMANDS = (
    "info {runs}/finished",
    "info {files}/model_int8.tflite",
    "info resnet18",
    "evaluate {runs}/finished",
    "evaluate {files}/model_int8.onnx",
    "predict {files}/model_int8.tflite {runs}/finished/samples --top 3",
    "benchmark {files}/model_float32.tflite {files}/model_int8.onnx --rounds 1",
    "inspect {files}/model_int8.tflite",
    "explain {runs}/finished --count 2 --out explained",
    "export {runs}/finished --tflite --onnx --quantize int8 --max-drop 100",
    f"train quickstart --run-dir trained --epochs 1 {SMALL}",
    f"train quickstart --dry-run {SMALL}",
    f"preview quickstart --out preview.png {SMALL}",
    "sweep {sweep} --run-dir swept",
    "models",
    "presets",
)


def machine() -> dict[str, Any]:
    """Return what decides about the bits of a result: processor and versions."""
    record = environment.record()
    return {"processor": record.processor, "packages": record.packages}


def weights_after(preset: str, directory: Path) -> dict[str, Any]:
    """Return digest and norms of a preset's weights after 20 steps on digits."""
    run = train(loading.load(preset, [*SHORT, *TRAININGS[preset]]), directory)
    return summary(run.model().get_weights())


def batches_of(name: str) -> dict[str, Any]:
    """Return digest and norms of two batches of smooth pictures, augmented in one way."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, (24, 4, 4, 3)).astype(np.float32)
    pictures = tf.image.resize(coarse, (16, 16)).numpy().round().astype(np.uint8)
    split = ArraySplit(pictures, np.arange(24) % 3)
    spec, output = InputSpec(16, 16), OutputSpec("classification", ("a", "b", "c"))
    targets = tasks.of(output).targets
    batches = pipeline.train_batches(
        split, spec, targets, DataConfig(**AUGMENTATIONS[name]), 8, 7, 2, 4
    )
    return summary(part.numpy() for batch in batches for part in batch)


def summary(arrays: Iterable[np.ndarray]) -> dict[str, Any]:
    """Return ``sha256`` of some float32 arrays, and the ``norms`` of each."""
    digest, norms = hashlib.sha256(), []
    for array in arrays:
        digest.update(np.ascontiguousarray(array, np.float32).tobytes())
        norms.append(float(f"{np.linalg.norm(array):.6g}"))
    return {"sha256": digest.hexdigest(), "norms": norms}


def words(line: str, old_runs: Path) -> list[str]:
    """Return the words of one of ``COMMANDS``, given where copies of the runs are."""
    places = {
        "runs": old_runs,
        "files": FOLDER / "files",
        "sweep": FOLDER / "sweep.yaml",
    }
    return [word.format(**places) for word in line.split()]


def kinds(value: Any) -> Any:
    """Return the keys and types of a JSON value: of a list, those of its first element."""
    if isinstance(value, dict):
        return {key: kinds(inner) for key, inner in sorted(value.items())}
    if isinstance(value, list):
        return [kinds(value[0])] if value else []
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return "number"
    return type(value).__name__
