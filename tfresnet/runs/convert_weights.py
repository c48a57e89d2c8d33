"""Make a run directory from weights that another library wrote."""

from pathlib import Path

from tfresnet.config import loading
from tfresnet.config.sections import RunConfig
from tfresnet.data.dataset import default_crop
from tfresnet.keras2 import keras
from tfresnet.models import functional, pretrained, zoo
from tfresnet.models.names import Pixels
from tfresnet.runs import preflight, weights_file
from tfresnet.runs.result import RunResult
from tfresnet.runs.run_directory import Run, create
from tfresnet.runs.weights_file import WeightsFile
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import ACTIVATIONS, CLASSIFICATION, InputSpec, OutputSpec
from tfresnet.system.files import read_text
from tfresnet.training import checkpoint

Channels = tuple[float, float, float]


def convert(
    file: Path,
    arch: str | None,
    directory: Path,
    overrides: tuple[str, ...] = (),
    labels_file: Path | None = None,
    new_head: int | None = None,
    mean: Channels | None = None,
    std: Channels | None = None,
    entry: str | None = None,
) -> tuple[Run, list[str]]:
    """Write a run directory with the weights of a file, as if it had been trained here.

    Args:
        file: PyTorch's or Keras's weights.
        arch: the architecture that they are of; None to find it by their names and shapes.
        directory: the new run's.
        overrides: ``section.key=value``, such as ``data.image_size=288``.
        labels_file: a text file with the name of each class on a line; by default they are
            numbered.
        new_head: the number of classes of a head that has yet to be trained; by default the file's
            head is kept.
        mean: of the R, G and B that the network was trained with, 0 to 255; by default the one
            that is usual in that library. If no number of it and of ``std`` is above 1, the scale
            is 0 to 1.
        std: their standard deviation, likewise.
        entry: which of several dicts of weights in a file of PyTorch, as ``state_dict_ema``.

    Returns:
        The run, and the names of the arrays that hold NaN or infinity.

    Raises:
        InputError: the file can't be read or does not fit, or the directory is taken.
    """
    preflight.conversion(file, arch, directory, labels_file, overrides)
    of_model = tuple(o for o in overrides if o.startswith("model."))
    weights = weights_file.read(file, arch, of_model, entry)
    config = _config(weights, overrides)
    classes = new_head or weights.classes()
    spec = _input_spec(config, weights.convention.pixels, mean, std)
    labels = _labels(labels_file, classes)
    output = OutputSpec(CLASSIFICATION, labels, ACTIVATIONS[config.train.loss])
    model = zoo.build(config.model, spec.shape, classes)
    weights.load_into(model, spec.shape, with_head=not new_head)
    run = create(directory, config, spec, output)
    _write(run, model, file)
    return run, pretrained.not_finite(weights.arrays)


def _config(weights: WeightsFile, overrides: tuple[str, ...]) -> RunConfig:
    settings = [f"model.arch={weights.arch}", *weights.settings, *overrides]
    if not any(override.startswith("data.dataset=") for override in overrides):
        # ImageNet's test split has no labels.
        settings[:0] = ["data.dataset=imagenet2012", "data.eval_split=validation"]
    return loading.from_overrides(settings, loading.safe_name(weights.path))


def _input_spec(
    config: RunConfig, pixels: Pixels, mean: Channels | None, std: Channels | None
) -> InputSpec:
    native = zoo.native_size(config.model)
    mean, std = _scaled(mean, std)
    height, width = config.data.height_and_width or (native, native)
    return InputSpec(
        height,
        width,
        mean=mean or pixels.mean,
        std=std or pixels.std,
        crop_fraction=config.data.crop_fraction or default_crop(max(height, width)),
    )


def _scaled(mean: Channels | None, std: Channels | None) -> tuple[Channels | None, Channels | None]:
    """Return a mean and a standard deviation on the scale from 0 to 255; nothing above 1 is not."""
    if any(value > 1 for value in (*(mean or ()), *(std or ()))):
        return mean, std
    r, g, b = (255 * value for value in mean or (0, 0, 0))
    x, y, z = (255 * value for value in std or (0, 0, 0))
    return mean and (r, g, b), std and (x, y, z)


def _labels(file: Path | None, classes: int) -> tuple[str, ...]:
    if file is None:
        return weights_file.numbered_labels(classes)
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
            commit=recorded.commit,
            command=recorded.command,
            weights=str(file),
            artifacts=[],
            config=run.config.model_dump(),
        )
    )
