"""From a file of weights to a run directory, as if the network had been trained here."""

from pathlib import Path

import numpy as np

from tfresnet.backend import keras
from tfresnet.config import loading
from tfresnet.data.sources import default_crop
from tfresnet.models import functional, names, pretrained, zoo
from tfresnet.runs import preflight
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import Run, create
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import ACTIVATIONS, CLASSIFICATION, InputSpec, OutputSpec
from tfresnet.system.files import read_text
from tfresnet.training import checkpoint

Channels = tuple[float, float, float]


def convert(
    file: Path,
    arch: str,
    directory: Path,
    overrides: tuple[str, ...] = (),
    labels_file: Path | None = None,
    new_head: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
) -> tuple[Run, list[str]]:
    """Write a run directory with the weights of ``file``; return it and the tensors with NaN.

    ``overrides`` are ``section.key=value``, such as ``data.image_size=288``. The
    classes are those of the file's head, or ``new_head`` of them with a head that has yet to be
    trained; they are named by the lines of ``labels_file``, else numbered. ``mean`` and ``std``
    are of the pixels, 0 to 255, by default those that the library's networks expect.

    Raises:
        InputError: the file can't be read or does not fit, or the directory is taken.
    """
    preflight.conversion(file, arch, directory, labels_file, overrides)
    row = zoo.architecture(arch)
    convention = names.convention(names.library(file), arch, row.family)
    arrays = pretrained.read(file, arch)
    config = loading.from_overrides(
        [
            f"model.arch={arch}",
            "data.dataset=imagenet2012",
            "data.eval_split=validation",  # its test split has no labels
            *_settings(arrays, convention, row),
            *overrides,
        ],
        loading.safe_name(file),
    )
    classes = new_head or _classes(file, arch, arrays, convention)
    height, width = config.data.height_and_width or (row.image_size, row.image_size)
    spec = InputSpec(
        height,
        width,
        mean=mean or convention.pixels.mean,
        std=std or convention.pixels.std,
        crop_fraction=config.data.crop_fraction or default_crop(max(height, width)),
    )
    labels = _labels(labels_file, classes)
    output = OutputSpec(CLASSIFICATION, labels, ACTIVATIONS[config.train.loss])
    model = zoo.build(config.model, spec.shape, classes)
    pretrained.load(model, spec.shape, arrays, convention, with_head=not new_head)
    run = create(directory, config, spec, output)
    _write(run, model, file)
    return run, pretrained.not_finite(arrays)


def _settings(arrays: pretrained.Arrays, convention: names.Convention, row: zoo.Row) -> list[str]:
    """Return what the file's names and shapes tell about its network."""
    settings = {"stem": "imagenet", "padding": convention.padding}
    if row.family == "resnet":
        settings["variant"] = "d" if "conv1.6.weight" in arrays else convention.variant
        if any(".se.fc1." in name for name in arrays):
            settings["attention"] = "se"
        if any(name.endswith(".se.conv.weight") for name in arrays):
            settings["attention"] = "eca"
    if arrays.get("conv1.weight", np.empty(0)).shape[2:] == (3, 3):
        settings["stem"] = "cifar"
    return [f"model.{key}={value}" for key, value in settings.items()]


def _classes(file: Path, arch: str, arrays: pretrained.Arrays, convention: names.Convention) -> int:
    if convention.head_kernel not in arrays:
        raise InputError(f"the weights do not fit {arch}: 1 missing: {convention.head_kernel}")
    head = arrays[convention.head_kernel].shape
    classes = convention.classes(head) if len(head) == 2 else 0
    if classes < 2:
        raise InputError(f"{file}: expected a head of 2 classes or more, got a kernel of {head}")
    return classes


def _labels(file: Path | None, classes: int) -> tuple[str, ...]:
    if file is None:
        width = len(str(classes - 1))  # so that their order is that of a folder's classes
        return tuple(f"{i:0{width}}" for i in range(classes))
    labels = tuple(line.strip() for line in read_text(file).splitlines() if line.strip())
    if len(labels) != classes:
        raise InputError(f"{file}: expected {classes} labels, one a line, got {len(labels)}")
    return labels


def _write(run: Run, model: keras.Model, file: Path) -> None:
    checkpoint.save_weights(run.directory / "checkpoints", model)
    recorded = run.environment
    run.write_result(
        RunResult(
            preset=run.config.name,
            arch=run.config.model.arch,
            seed=None,
            parameters=functional.parameters(model),
            macs=functional.macs(model, run.spec.shape),
            epochs=None,
            test_top1=None,
            commit=recorded["commit"],
            command=recorded["command"],
            weights=str(file),
            artifacts=[],
            config=run.config.model_dump(),
        )
    )
