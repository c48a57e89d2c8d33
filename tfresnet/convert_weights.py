"""From a file of weights to a run directory, as if the network had been trained here."""

from pathlib import Path
from typing import Any

import tf_keras as keras

from tfresnet import config as configs
from tfresnet.errors import UserError
from tfresnet.files import read_text
from tfresnet.models import functional, pretrained, zoo
from tfresnet.run import Run, create
from tfresnet.spec import InputSpec
from tfresnet.training import checkpoint

# What the libraries normalise images with, on the 0-255 scale.
TORCH_SPEC: dict[str, Any] = {"mean": (123.675, 116.28, 103.53), "std": (58.395, 57.12, 57.375)}
KERAS_SPEC: dict[str, Any] = {"mean": (123.68, 116.779, 103.939), "std": (1.0, 1.0, 1.0)}


def convert(
    file: Path,
    arch: str,
    directory: Path,
    overrides: tuple[str, ...] = (),
    labels_file: Path | None = None,
) -> tuple[Run, list[str]]:
    """Write a run directory with the weights of ``file``; return it and the tensors with NaN.

    ``overrides`` are ``section.key=value``, such as ``data.image_size=288``. The
    classes are those of the file's head, named by the lines of ``labels_file``, else numbered.

    Raises:
        UserError: the file can't be read or does not fit, or the directory is taken.
    """
    zoo.architecture(arch)
    if directory.exists() and any(directory.iterdir()):
        raise UserError(f"expected a new folder for the run, {directory} is not empty")
    arrays, convention = pretrained.read(file)
    if convention.head not in arrays:
        raise UserError(f"the weights do not fit {arch}: 1 missing: {convention.head}")
    keras_file = convention is pretrained.KERAS
    variant = "v1" if keras_file else "v1.5"
    defaults = [f"model.arch={arch}", "model.stem=imagenet", "model.padding=symmetric"]
    config = configs.from_overrides(
        [*defaults, f"model.variant={variant}", "data.dataset=imagenet2012", *overrides],
        configs.safe_name(file),
    )
    head = arrays[convention.head].shape
    classes = convention.classes(head) if len(head) == 2 else 0
    if classes < 2:
        raise UserError(f"{file}: expected a head of 2 classes or more, got a kernel of {head}")
    size = config.data.image_size or zoo.architecture(arch).image_size
    crop = config.data.crop_fraction or 0.875
    normalisation = KERAS_SPEC if keras_file else TORCH_SPEC
    spec = InputSpec(size, size, _labels(labels_file, classes), crop_fraction=crop, **normalisation)
    model = zoo.build(config.model, spec.shape, classes)
    pretrained.load(model, spec.shape, arrays, convention)
    run = create(directory, config, spec)
    _write(run, model, file)
    return run, pretrained.not_finite(arrays)


def _labels(file: Path | None, classes: int) -> tuple[str, ...]:
    if file is None:
        return tuple(str(i) for i in range(classes))
    labels = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(labels) != classes:
        raise UserError(f"{file}: expected {classes} labels, one a line, got {len(labels)}")
    return labels


def _write(run: Run, model: keras.Model, file: Path) -> None:
    checkpoint.save_weights(run.directory / "checkpoints", model)
    recorded = run.environment
    run.write_result(
        {
            "preset": run.config.name,
            "arch": run.config.model.arch,
            "seed": None,
            "parameters": functional.parameters(model),
            "macs": functional.macs(model, run.spec.shape),
            "epochs": None,
            "test_top1": None,
            "commit": recorded["commit"],
            "command": recorded["command"],
            "weights": str(file),
            "artifacts": [],
            "config": run.config.model_dump(),
        }
    )
