"""From a run to verified model files: convert, measure against the checkpoint, bundle."""

import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import evaluate
from tfresnet.data import pipeline
from tfresnet.data.splits import Split
from tfresnet.deploy.compress import qat
from tfresnet.deploy.device import bundle
from tfresnet.deploy.device.benchmark import latency_ms
from tfresnet.deploy.formats import artifact, tflite, wrap
from tfresnet.deploy.proof import verify
from tfresnet.errors import UserError
from tfresnet.files import write_text
from tfresnet.run import Run

BATCH = 100
Progress = Callable[[str], None]


@dataclass(frozen=True)
class Options:
    """What to export and how strictly to judge it.

    Attributes:
        formats: of ``tflite``, ``onnx`` and ``saved_model``. ONNX and SavedModel are float32.
        quantizations: of ``tflite.QUANTIZATIONS``, for TFLite.
        max_drop: largest loss of top-1 against the checkpoint, in percentage points.
        calibration_images: training images that set int8's ranges.
        verify_images: held-out images to measure on; None for all.
        qat_epochs: of quantisation-aware training; its int8 file comes beside the others.
        features: export the embedding (the head's input), into ``export/features/``. It is measured
            with the checkpoint's head behind it.
        threads: for measuring accuracy (latency is always that of one thread).
    """

    formats: tuple[str, ...] = ("tflite", "onnx")
    quantizations: tuple[str, ...] = tflite.QUANTIZATIONS
    max_drop: float = 1.0
    calibration_images: int = 500
    verify_images: int | None = None
    qat_epochs: int = 0
    features: bool = False
    threads: int = 1

    def targets(self) -> list[tuple[str, str]]:
        """Return the (format, quantization) pairs to write."""
        pairs = [("tflite", kind) for kind in self.quantizations if "tflite" in self.formats]
        return pairs + [(f, "float32") for f in self.formats if f != "tflite"]


def export(
    run: Run,
    options: Options,
    progress: Progress = lambda stage: None,
    data: dict[str, Any] | None = None,
) -> dict:
    """Write ``export/`` in the run directory and return what its ``report.json`` holds.

    The report has ``checkpoint_top1``, ``n`` (images measured on), ``bundle`` and ``artifacts``:
    dictionaries with ``path format quantization bytes top1 drop agreement max_abs_error
    latency_ms fully_integer failures``. An artifact with failures is kept. ``data`` replaces keys
    of the run's data section: where the same data are now.
    """
    if not run.result:
        raise UserError(f"{run.directory} is not trained to its end; go on with --resume")
    progress("loading the run and its data")
    model, dataset = run.model(), run.dataset(**(data or {}))
    calibration = _some_images(dataset.train, options.calibration_images)
    held_out = pipeline.raw_batches(dataset.held_out, BATCH, options.verify_images)
    progress("asking the checkpoint")
    infer = evaluate.probability_function(model)
    reference = verify.Reference(
        *evaluate.collect(lambda images: infer(pipeline.normalise(images, run.spec)), held_out)
    )
    metadata = _metadata(run, reference, options)
    directory = run.directory / "export" / ("features" if options.features else "")
    exported = wrap.Embedding(model) if options.features else model
    jobs = [(exported, target, kind, "") for target, kind in options.targets()]
    if options.qat_epochs:
        progress("training with fake quantisation")
        aware = qat.fine_tune(run, dataset, options.qat_epochs, directory / "qat")
        jobs.append((aware, "tflite", "int8", "_qat"))
    artifacts = []
    for source, target, kind, suffix in jobs:
        progress(f"converting to {target}, {kind}")
        made = artifact.make(source, run.spec, target, kind, calibration, directory, suffix)
        made.write(metadata)
        progress(f"measuring {made.path.name}")
        head = model.classify if options.features else None
        artifacts.append(_measure(made, target, kind, held_out, reference, options, head))
        # Once more, now that the results are known: a file carries its own numbers.
        made.write(_with_results(metadata, artifacts[-1]))
        artifacts[-1]["bytes"] = made.size()
    report = {
        "checkpoint_top1": reference.top1,
        "n": len(reference.classes),
        "artifacts": artifacts,
        "bundle": _bundle(run, directory / "bundle", artifacts, metadata),
    }
    write_text(directory / "report.json", json.dumps(report, indent=1))
    if not options.features:
        run.write_result(run.result | {"artifacts": artifacts})
    return report


def _some_images(split: Split, count: int) -> np.ndarray:
    """Return ``count`` images, uint8 [count, H, W, 3], evenly spread over a split."""
    batches = pipeline.raw_batches(split, BATCH, count)
    return np.concatenate([images.numpy()[w.numpy() > 0] for images, _, w in batches])


def _measure(
    made: artifact.Artifact,
    target: str,
    kind: str,
    held_out: tf.data.Dataset,
    reference: verify.Reference,
    options: Options,
    head: Callable[[np.ndarray], tf.Tensor] | None,
) -> dict[str, Any]:
    opened = made.open(options.threads)
    answers, _ = evaluate.collect(lambda images: opened.run(images.numpy()), held_out)
    probabilities = tf.nn.softmax(head(answers)).numpy() if head else answers
    float_operations = made.float_operations()
    record = {
        "path": str(made.path),
        "format": target,
        "quantization": kind,
        "bytes": made.size(),
        **verify.compare(probabilities, reference),
        "latency_ms": latency_ms(made.open(threads=1)),
        "fully_integer": float_operations == [],
    }
    record["failures"] = verify.failures(record, options.max_drop, float_operations)
    return record


def _metadata(run: Run, reference: verify.Reference, options: Options) -> dict[str, Any]:
    """Return what every file of this run says about itself."""
    keys = ("arch", "parameters", "macs", "preset", "seed", "epochs", "commit")
    data = run.config.data.model_dump(exclude={"data_dir"})
    return {
        "format_version": 1,
        "output": "embedding" if options.features else "probabilities",
        "spec": run.spec.to_dict(),
        **{key: run.result[key] for key in keys},
        "data": data,
        "calibration_images": options.calibration_images,
        "measured": {"checkpoint_top1": reference.top1, "n": len(reference.classes)},
    }


def _with_results(metadata: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    keys = ("top1", "drop", "agreement", "max_abs_error")
    measured = metadata["measured"] | {key: record[key] for key in keys}
    return metadata | {"quantization": record["quantization"], "measured": measured}


def _bundle(run: Run, folder: Path, artifacts: list[dict], metadata: dict[str, Any]) -> str | None:
    """Write the bundle of the int8 model, else of the smallest sound one; return its folder."""
    sound = [a for a in artifacts if a["format"] != "saved_model" and not a["failures"]]
    if not sound:
        shutil.rmtree(folder, ignore_errors=True)  # one of an earlier export would look current
        return None
    best = min(sound, key=lambda a: (a["quantization"] != "int8", a["bytes"]))
    sample = next(iter(sorted((run.directory / "samples").glob("*.png"))), None)
    bundle.write(folder, Path(best["path"]), _with_results(metadata, best), sample)
    return str(folder)
