"""A run on the bench: what every conversion needs, and one file made, measured, and sealed."""

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.config import loading
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline, sources
from tfresnet.deploy import calibration, gate, measured_data, selection
from tfresnet.deploy.device.benchmark import latency_ms
from tfresnet.deploy.device.runtime import InputError, read_metadata
from tfresnet.deploy.formats import artifact, graph
from tfresnet.deploy.plan import Options, Target
from tfresnet.deploy.reference import Reference, compare
from tfresnet.runs.run_directory import Run, weights_sha256
from tfresnet.runtime.spec import to_flat
from tfresnet.tasks import metrics
from tfresnet.tasks import task as tasks
from tfresnet.training import progress

BATCH = 100
KEPT_BYTES = 2**30  # of held-out images that are decoded once for all files
PROVENANCE = ("arch", "parameters", "macs", "preset", "seed", "epochs", "commit")
# Of whichever of these a task has.
MEASURED = (
    "metric", "value", "top1", "map", "top5", "micro_f1", "macro_f1", "exact_match", "loss", "ece",
    "drop", "agreement", "max_abs_error",
)  # fmt: skip
UNMEASURED = ".unmeasured"  # folder of a file that is being made
MODELS = (
    "*.tflite", "*.onnx", "saved_model*", "tflm*/*.tflite", "bundle/*.tflite", "bundle/*.onnx",
    "features/*.tflite", "features/*.onnx", "features/saved_model",
)  # fmt: skip


class Workshop:
    """A trained run with its data, ready to be converted and to be measured against.

    Attributes:
        result: what the run's training measured.
        model: the run's network, float32.
        data: the data section that it is measured with, the run's unless others were named.
        dataset: these data.
        calibration: training images that set ranges, none of which is measured on.
        held_out: batches of uint8 images, classes and weights to measure on.
        reference: the checkpoint's answers for them.
        directory: where files are written.
        metadata: what every file says about itself, before it is measured.
        tuned: the run as fine-tuning takes it, with these data.
        task: what the run does: one class an image, or any number of labels.
        predicted: what each measured file decided, as the task has it, by its path.
        selection: training images to choose a file on, which are not in the dataset's any more;
            None if nothing is chosen.
    """

    def __init__(
        self,
        run: Run,
        options: Options,
        data: dict[str, Any] | None = None,
        chooses: bool = False,
    ):
        self.result = run.finished_result()
        self.run, self.options = run, options
        self.predicted: dict[str, np.ndarray] = {}
        self.directory = run.directory / "export" / ("features" if options.features else "")
        self.data = _data(run, data or {})
        here = self.data.model_copy(update={"data_dir": run.config.data.data_dir})
        self.tuned = replace(run, config=run.config.model_copy(update={"data": here}))
        self.model, self.dataset = run.model(), sources.load_for(run.spec, run.output, self.data)
        progress.tell(self.dataset.notes)
        self.held_out = _held_out(self.dataset.held_out, run.spec.shape, options.verify_images)
        measured: set[bytes] = set()
        infer = metrics.probability_function(self.model, run.output)

        def answer(images: tf.Tensor) -> tf.Tensor:
            measured.update(calibration.digest(image) for image in images.numpy())
            return infer(pipeline.normalise(images, run.spec))

        self.task = tasks.of(run.output)
        self.reference = self._reference(answer, self.held_out)
        count = options.calibration_images if options.calibrates() else 0
        reserved = np.empty(0, np.int64)
        if chooses:
            total, seed = len(self.dataset.train), options.calibration_seed
            reserved = selection.draw(total, seed, options.verify_images)
        self.calibration = calibration.draw(
            self.dataset.train, count, options.calibration_seed, measured, reserved
        )
        self.selection = self._reserve(reserved) if chooses else None
        self.metadata = _metadata(self)

    def _reference(
        self, infer: Callable[[tf.Tensor], tf.Tensor], batches: tf.data.Dataset
    ) -> Reference:
        answers, truth = metrics.collect(infer, batches)
        return Reference(answers, truth, self.task, self.run.output.activation)

    def _reserve(self, indices: np.ndarray) -> selection.Selection:
        """Take training images out of the dataset, to choose on."""
        self.dataset, images = selection.divide(self.dataset, indices)
        batches = _held_out(images, self.run.spec.shape, None)
        infer = metrics.probability_function(self.model, self.run.output)
        reference = self._reference(
            lambda pixels: infer(pipeline.normalise(pixels, self.run.spec)), batches
        )
        return selection.Selection(batches, reference)

    def make(self, model: keras.Model, target: Target) -> dict[str, Any]:
        """Convert, write and measure; return what the report says about the file."""
        made = artifact.make(
            model,
            self.run.spec,
            self.run.output,
            target,
            self.options,
            self.calibration.images,
            self.directory,
        )
        return self.finish(made, target, model)

    def finish(self, made: artifact.Artifact, target: Target, model: keras.Model) -> dict[str, Any]:
        """Write and measure what ``model`` became; return what the report says about the file."""
        final, room = made.path, self.directory / UNMEASURED
        # Fine-tuned networks have weights of their own.
        network = {"network_sha256": weights_sha256(model)}
        try:
            # One that an earlier export left in its place stays until this one is measured.
            made.path = room / target.name
            made.write(self.metadata | network)
            record = self._measure(made, target, final)
            # Once more, now that the results are known: a file carries its own numbers.
            made.path = final
            made.write(self.with_results(record) | network)
        finally:
            shutil.rmtree(room, ignore_errors=True)
        return record | {"bytes": made.size()}

    def with_results(self, record: dict[str, Any]) -> dict[str, Any]:
        """Return the metadata of a file that was measured."""
        results = self.metadata["measured"] | {k: record[k] for k in MEASURED if k in record}
        return self.metadata | {"quantization": record["quantization"], "measured": results}

    def stale(self) -> list[str]:
        """Return the models in the directory that were made of other weights than the run's now."""
        found = []
        for path in sorted(p for pattern in MODELS for p in self.directory.glob(pattern)):
            try:
                digest = read_metadata(path).get("weights_sha256")
            except InputError:
                digest = None  # cut short, or written by something else
            if digest != self.metadata["weights_sha256"]:
                found.append(str(path))
        return found

    def has_the_runs_data(self) -> bool:
        """Tell whether what is measured here compares with the run's own result."""
        own, known = self.run.config.data, self.result.test.get("n")
        if known is None:
            return True
        # A folder may be in another place now.
        folder = Path(own.dataset)
        moved = folder.is_absolute() and not folder.exists() and known == len(self.dataset.held_out)
        same = moved or self.data.dataset == own.dataset
        return same and self.data.eval_split == own.eval_split

    def answers(self, opened: Any, batches: tf.data.Dataset | None = None) -> np.ndarray:
        """Return an opened file's probabilities [n, classes] for held-out images, or for others."""
        images = self.held_out if batches is None else batches
        answers, _ = metrics.collect(lambda pixels: opened.run(pixels.numpy()), images)
        if self.options.features:
            activation = keras.activations.get(self.run.output.activation)
            return activation(self.model.classify(answers)).numpy()
        return answers

    def _measure(self, made: artifact.Artifact, target: Target, final: Path) -> dict[str, Any]:
        answers = self.answers(made.open(self.options.threads))
        self.predicted[final.as_posix()] = self.task.decisions(answers)
        floats = made.float_operations()
        record = {
            "path": final.as_posix(),
            "format": target.format,
            "quantization": target.quantization,
            "bytes": made.size(),
            "gzip_bytes": made.gzip_size(),
            "sparsity": made.sparsity(),
            "unique_weights": made.unique_weights(),
            "delegates": made.delegates(),
            **compare(answers, self.reference),
            "n": len(answers),
            "latency_ms": latency_ms(made.open(threads=1)),
            "fully_integer": floats == [],
        }
        computing = [o for o in floats or [] if not o.startswith(graph.CONVERSIONS)]

        def failures(measured: dict[str, Any]) -> list[str]:
            return gate.failures(
                measured, self.options.max_drop, computing, bool(target.suffix), target.clusters
            )

        record["failures"] = failures(record)
        if self.selection:
            opened, chosen_on = made.open(self.options.threads), self.selection
            found = compare(self.answers(opened, chosen_on.batches), chosen_on.reference)
            record["selection"] = {
                "n": len(chosen_on.reference.classes),
                self.task.primary: found["value"],
                "drop": found["drop"],
                "failures": failures(record | found),
            }
        return record


def _held_out(split: Any, shape: tuple[int, ...], limit: int | None) -> tf.data.Dataset:
    batches = pipeline.raw_batches(split, BATCH, limit)
    count = min(len(split), limit or len(split))
    return batches.cache() if count * int(np.prod(shape)) <= KEPT_BYTES else batches


def _data(run: Run, changes: dict[str, Any]) -> DataConfig:
    """Return the run's data section with some keys replaced, its paths absolute."""
    data = loading.with_data(run.config.data, changes)
    return loading.absolute(run.config.model_copy(update={"data": data})).data


def _metadata(workshop: Workshop) -> dict[str, Any]:
    """Return what every file of a run says about itself."""
    run, options, reference = workshop.run, workshop.options, workshop.reference
    return {
        "format_version": 1,
        "output": "embedding" if options.features else "probabilities",
        "interface": options.interface,
        "spec": to_flat(run.spec, run.output),
        **{key: getattr(workshop.result, key) for key in PROVENANCE},
        "data": measured_data.public(workshop.data),
        "calibration_images": workshop.calibration.manifest["count"],
        "calibration": workshop.calibration.summary,
        "measured": {**reference.headline, "n": len(reference.classes)},
        "weights_sha256": weights_sha256(workshop.model),
    }
