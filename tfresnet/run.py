"""A run directory: make one, train in it, open it again, load its model.

config.yaml  spec.json  environment.json  result.json
checkpoints/  metrics.jsonl  tensorboard/  curves.png  samples/  export/
"""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfresnet import config as configs
from tfresnet import environment
from tfresnet.config import RunConfig
from tfresnet.errors import UserError
from tfresnet.files import read_json, read_json_lines, write_text
from tfresnet.spec import InputSpec

if TYPE_CHECKING:
    import tf_keras as keras

    from tfresnet.data.sources import Dataset

RESULT_KEYS = {"preset", "arch", "seed", "parameters", "macs", "epochs", "test_top1", "commit"}
SAMPLES = 5


@dataclass(frozen=True)
class Run:
    """A directory that holds a run, with its configuration and input spec."""

    directory: Path
    config: RunConfig
    spec: InputSpec

    def model(self) -> "keras.Model":
        """Return the model with the newest checkpoint's weights, in float32."""
        return self.model_and_step()[0]

    def model_and_step(self) -> "tuple[keras.Model, int]":
        """Return the model and the number of steps that its weights were trained for."""
        from tfresnet.models import zoo
        from tfresnet.training import checkpoint

        model = zoo.build(self.config.model, self.spec.shape, len(self.spec.labels))
        return model, checkpoint.load_weights(self.directory / "checkpoints", model)

    def records(self) -> list[dict]:
        """Return the records of ``metrics.jsonl``, one an epoch."""
        return read_json_lines(self.directory / "metrics.jsonl")

    def dataset(self, **overrides: Any) -> "Dataset":
        """Return the run's data; ``overrides`` replace keys of the data section.

        Raises:
            UserError: the data's classes or image size are not those that the run learnt.
        """
        from tfresnet.data import sources

        return sources.load_for(self.spec, configs.with_data(self.config.data, overrides))

    @property
    def environment(self) -> dict:
        """The command, commit, versions and machine that the run was made with."""
        return read_json(self.directory / "environment.json")

    @property
    def result(self) -> dict:
        """What training and export recorded; empty before the training is done."""
        path = self.directory / "result.json"
        result = read_json(path) if path.exists() else {}
        if result and not set(result) >= RESULT_KEYS:
            lost = ", ".join(sorted(RESULT_KEYS - set(result)))
            raise UserError(f"{path}: expected also {lost}; write it anew with --resume")
        return result

    def write_result(self, result: dict) -> None:
        """Record what was measured."""
        write_text(self.directory / "result.json", json.dumps(result, indent=1))


def open_run(directory: Path) -> Run:
    """Return the run in ``directory``, or raise a ``UserError`` that says what is missing."""
    if not directory.is_dir():
        raise UserError(f"expected a run directory, {directory} does not exist; see tfresnet train")
    for name in ("config.yaml", "spec.json"):
        if not (directory / name).is_file():
            raise UserError(f"expected a run directory with {name}, {directory} has none")
    try:
        spec = InputSpec.from_dict(read_json(directory / "spec.json"))
    except (ValueError, TypeError) as error:
        raise UserError(f"{directory}/spec.json: expected an input spec: {error}") from None
    return Run(directory, configs.read(directory / "config.yaml"), spec)


def create(directory: Path, config: RunConfig, spec: InputSpec) -> Run:
    """Write what a run is into ``directory``; one that is there keeps its first environment."""
    directory.mkdir(parents=True, exist_ok=True)
    write_text(directory / "config.yaml", config.to_yaml())
    write_text(directory / "spec.json", json.dumps(spec.to_dict(), indent=1))
    if not (directory / "environment.json").exists():
        write_text(directory / "environment.json", json.dumps(environment.record(), indent=1))
    return Run(directory, config, spec)


def train(config: RunConfig, directory: Path, resume: bool = False) -> Run:
    """Train in ``directory`` and return the finished run.

    With ``resume`` an existing run goes on from its newest checkpoint.

    Raises:
        UserError: the directory holds a run and ``resume`` is off, or that run's configuration
            is another; or anything that the data, the model or the devices object to.
    """
    config = _absolute(config)
    _check_directory(config, directory, resume)
    from tfresnet.data import sources
    from tfresnet.models import zoo
    from tfresnet.training.loop import Trainer

    row = zoo.architecture(config.model.arch)
    if resume:
        dataset = sources.load_for(open_run(directory).spec, config.data)
    else:
        dataset = sources.load(config.data, default_size=row.image_size)
    spec = dataset.spec
    trainer = Trainer(
        config,
        dataset,
        directory,
        lambda: zoo.build(config.model, spec.shape, len(spec.labels), config.train.precision),
    )
    # Only now, when everything fits, does the directory come into being.
    run = create(directory, config, spec)
    _write_samples(dataset, directory / "samples")
    trainer.run()
    _write_result(run, dataset)
    return run


def _absolute(config: RunConfig) -> RunConfig:
    """Return the configuration with a folder of images named so that any folder can open it."""
    path = Path(config.data.dataset).expanduser()
    if config.data.dataset == "digits" or not path.is_dir():
        return config
    data = config.data.model_copy(update={"dataset": str(path.resolve())})
    return config.model_copy(update={"data": data})


def weights_sha256(model: "keras.Model") -> str:
    """Return a digest of all weights, statistics included; equal for equal weights."""
    digest = hashlib.sha256()
    for variable in model.variables:
        digest.update(variable.numpy().tobytes())
    return digest.hexdigest()


def _check_directory(config: RunConfig, directory: Path, resume: bool) -> None:
    if directory.exists() and not directory.is_dir():
        raise UserError(f"expected a folder for the run, {directory} is a file")
    if not (directory / "config.yaml").exists():
        if resume:
            raise UserError(f"expected a run to resume in {directory}, found none; drop --resume")
        return
    if not resume:
        raise UserError(
            f"{directory} already holds a run; add --resume to go on with it, "
            "or --name NAME for another"
        )
    changed = configs.differences(open_run(directory).config, config)
    for key, (old, new) in changed.items():
        # A folder may have moved; its classes and sizes are compared with the run's spec.
        moved = key == "data.data_dir" or (key == "data.dataset" and Path(str(new)).is_dir())
        if not moved:
            raise UserError(
                f"--resume keeps a run's configuration: expected {key}={old!r} as in {directory}, "
                f"got {new!r}; start another run with --name NAME"
            )


def _write_samples(dataset: "Dataset", folder: Path) -> None:
    """Write a few held-out pictures, so that there is something to predict."""
    from PIL import Image

    from tfresnet.data import pipeline

    folder.mkdir(exist_ok=True)
    batch = next(iter(pipeline.raw_batches(dataset.held_out, SAMPLES, SAMPLES)))
    images, classes, weights = (part.numpy() for part in batch)
    real = weights > 0
    for i, (image, label) in enumerate(zip(images[real], classes[real], strict=True), start=1):
        name = re.sub(r"[^\w.-]+", "_", dataset.spec.labels[label])[:50]
        Image.fromarray(image).save(folder / f"{i}_{name}.png")


def _write_result(run: Run, dataset: "Dataset") -> None:
    """Measure the final weights in float32, as they will be exported, and record the run."""
    from tfresnet import evaluate
    from tfresnet.models import functional

    model, records = run.model(), run.records()
    if not records:
        raise UserError(
            f"expected the epochs' records in {run.directory}/metrics.jsonl, found none"
        )
    measured = evaluate.of_model(model, dataset.held_out, run.spec)
    recorded = run.environment
    seconds, wall = (sum(r[key] for r in records) for key in ("seconds", "wall_seconds"))
    images = records[-1]["step"] * run.config.train.batch_size
    run.write_result(
        {
            "preset": run.config.name,
            "arch": run.config.model.arch,
            "seed": run.config.train.seed,
            "parameters": functional.parameters(model),
            "macs": functional.macs(model, run.spec.shape),
            "epochs": run.config.train.epochs,
            "test_top1": measured["top1"],
            "ema_top1": None,  # no moving average of the weights is kept
            "test": measured,
            "wall_seconds": round(wall, 1),
            "images_per_second": round(images / seconds, 1),
            "command": recorded["command"],
            "commit": recorded["commit"],
            "artifacts": _exported(run),
            "config": run.config.model_dump(),
            "environment": recorded,
        }
    )


def _exported(run: Run) -> list[dict]:
    """Return the artifacts of a finished run that was resumed; damaged results have none."""
    try:
        return run.result.get("artifacts", [])
    except UserError:
        return []
