"""Start training from other weights: those of a run, or of a file that another library wrote."""

from dataclasses import dataclass, replace
from pathlib import Path

from tfresnet.backend import keras
from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.models import pretrained, zoo
from tfresnet.models.functional import functional
from tfresnet.models.names import OURS, Convention, variable_kind
from tfresnet.runs import weights_file
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec

# What must be the same for weights to mean the same.
STRUCTURE = (
    "arch", "variant", "pre_activation", "shortcut", "padding", "attention", "width", "stem",
)  # fmt: skip


@dataclass(frozen=True)
class InitialWeights:
    """Weights to start from, and the network and the input that they belong to.

    Attributes:
        name: where they are from, for messages.
        model: the network's structure.
        mean: of the pixels that the network expects, one number a channel, 0 to 255.
        std: their standard deviation, likewise.
        labels: the names of the classes of their head; empty if there is none.
        arrays: the weights, by the names of ``convention``.
        convention: how the weights of our layers are named in ``arrays``.
    """

    name: str
    model: ModelConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    arrays: pretrained.Arrays
    convention: Convention

    def load_into(self, model: keras.Model, spec: InputSpec, labels: tuple[str, ...]) -> None:
        """Put the weights into a model; into its head only if it has the same labels.

        Raises:
            InputError: the networks differ.
        """
        with_head = self.labels == labels
        pretrained.load(model, spec.shape, self.arrays, self.convention, with_head)


def initial_weights(config: RunConfig) -> InitialWeights | None:
    """Return the weights that ``train.init_from`` names, a run or a file; None if it is empty.

    Raises:
        InputError: there is no such run or file, or it can't be read.
    """
    if not config.train.init_from:
        return None
    path = Path(config.train.init_from)
    return _of_file(path, config.model.arch) if path.is_file() else _of_run(open_run(path))


def _of_run(run: Run) -> InitialWeights:
    stem = zoo.stem(run.config.model, run.spec.shape)
    arrays = {
        f"{layer.name}/{variable_kind(variable)}": variable.numpy()
        for layer in functional(run.model(), run.spec.shape).layers
        for variable in layer.variables
    }
    return InitialWeights(
        name=str(run.directory),
        model=run.config.model.model_copy(update={"stem": stem}),
        mean=run.spec.mean,
        std=run.spec.std,
        labels=run.output.labels,
        arrays=arrays,
        convention=OURS,
    )


def _of_file(path: Path, arch: str) -> InitialWeights:
    weights = weights_file.read(path, arch)
    pixels = weights.convention.pixels
    return InitialWeights(
        name=str(path),
        model=loading.from_overrides([f"model.arch={arch}", *weights.settings]).model,
        mean=pixels.mean,
        std=pixels.std,
        labels=weights_file.numbered_labels(weights.classes()),
        arrays=weights.arrays,
        convention=weights.convention,
    )


def with_structure(config: RunConfig, weights: InitialWeights) -> RunConfig:
    """Return the configuration with the weights' network where it leaves that open.

    Raises:
        InputError: it asks for another network.
    """
    changes = {}
    for key in STRUCTURE:
        wanted, got = getattr(weights.model, key), getattr(config.model, key)
        if key in config.model.model_fields_set and got not in ("auto", wanted):
            raise InputError(
                f"train.init_from: expected model.{key}={wanted!r} as in {weights.name}, "
                f"got {got!r}"
            )
        changes[key] = wanted
    return config.model_copy(update={"model": config.model.model_copy(update=changes)})


def with_normalization(spec: InputSpec, weights: InitialWeights) -> InputSpec:
    """Return ``spec`` with the mean and standard deviation that the weights were trained with.

    Raises:
        InputError: one is grey and the other RGB.
    """
    expected, got = len(weights.mean), len(spec.mean)
    if expected != got:
        raise InputError(f"data.channels: expected {expected} as in {weights.name}, got {got}")
    return replace(spec, mean=weights.mean, std=weights.std)
