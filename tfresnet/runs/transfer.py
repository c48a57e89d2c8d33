"""Start training from other weights: those of a run, or of a file that another library wrote."""

from dataclasses import dataclass, replace
from pathlib import Path

from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.keras2 import keras
from tfresnet.models import named_weights, names, own_weights, pretrained, zoo
from tfresnet.models.names import OURS, Convention
from tfresnet.models.options import STRUCTURE
from tfresnet.models.weights_row import NamedWeights
from tfresnet.runs import hub, weights_file
from tfresnet.runs.run_directory import Run, open_run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec


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
        image_size: the side that they were trained for, in pixels; None is the architecture's.
        crop_fraction: that they were measured with; None is the usual one.
    """

    name: str
    model: ModelConfig
    mean: tuple[float, ...]
    std: tuple[float, ...]
    labels: tuple[str, ...]
    arrays: pretrained.Arrays
    convention: Convention
    image_size: int | None = None
    crop_fraction: float | None = None

    def load_into(self, model: keras.Model, spec: InputSpec, labels: tuple[str, ...]) -> None:
        """Put the weights into a model; into its head only if it has the same labels.

        Raises:
            InputError: the networks differ.
        """
        if not self.arrays:  # of a dry run, which downloads nothing
            return
        with_head = self.labels == labels
        pretrained.load(model, spec.shape, self.arrays, self.convention, with_head)


def initial_weights(config: RunConfig, download: bool = True) -> InitialWeights | None:
    """Return the weights that ``train.init_from`` names; None if it is empty.

    Args:
        config: names a run, a file, a shipped network, or weights on the hub.
        download: whether those of the hub may be downloaded; if not, and they are not in the cache,
            there are no arrays.

    Raises:
        InputError: there is no such run, file or name, or it can't be read.
    """
    if not config.train.init_from:
        return None
    path = Path(config.train.init_from)
    if row := named_weights.named(config.train.init_from):
        return _of_hub(row, download)
    if path.is_file():
        arch = config.model.arch if "arch" in config.model.model_fields_set else None
        return _of_file(path, arch)
    return _of_run(open_run(path), config.train.init_from)


def _of_run(run: Run, name: str) -> InitialWeights:
    stem = zoo.stem(run.config.model, run.spec.shape)
    return InitialWeights(
        name=name,
        model=run.config.model.model_copy(update={"stem": stem}),
        mean=run.spec.mean,
        std=run.spec.std,
        labels=run.output.labels,
        arrays=own_weights.arrays(run.model(), run.spec.shape),
        convention=OURS,
    )


def _of_file(path: Path, arch: str | None) -> InitialWeights:
    weights = weights_file.read(path, arch)
    pixels = weights.convention.pixels
    model = loading.from_overrides([f"model.arch={weights.arch}", *weights.settings]).model
    return InitialWeights(
        name=str(path),
        model=model,
        mean=pixels.mean,
        std=pixels.std,
        labels=weights_file.numbered_labels(weights.classes()) if weights.has_head() else (),
        arrays=weights.arrays,
        convention=weights.convention,
        image_size=zoo.native_size(model),
    )


def _of_hub(row: NamedWeights, download: bool) -> InitialWeights:
    fetched = download or hub.cached(row)
    weights = weights_file.read(hub.fetch(row), row.arch) if fetched else None
    family = zoo.architecture(row.arch).family
    library = "keras" if row.is_keras else "torch"
    return InitialWeights(
        name=row.name,
        model=row.model,
        mean=row.pixels.mean,
        std=row.pixels.std,
        labels=weights_file.numbered_labels(weights.classes()) if weights else (),
        arrays=weights.arrays if weights else {},
        convention=weights.convention if weights else names.convention(library, row.arch, family),
        image_size=row.size,
        crop_fraction=row.crop,
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
