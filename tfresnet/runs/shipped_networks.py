"""Describe the trained networks that ship with tfresnet; loads no TensorFlow."""

from dataclasses import dataclass

from tfresnet.runs import shipped
from tfresnet.runs.run_directory import open_run
from tfresnet.tasks.headings import HEADINGS


@dataclass(frozen=True)
class ShippedNetwork:
    """A trained network in the package.

    Attributes:
        name: taken wherever a run is.
        arch: its architecture.
        preset: the configuration that it was trained with.
        epochs: that it was trained for.
        metric: the primary number of its task, as in JSON: ``top1``.
        heading: the same in tables.
        value: that number, on all held-out images; a fraction of 1.
        bytes: size of the weights' file.
        weights_sha256: digest of its variables.
    """

    name: str
    arch: str
    preset: str
    epochs: int | None
    metric: str
    heading: str
    value: float
    bytes: int
    weights_sha256: str | None


def networks() -> tuple[ShippedNetwork, ...]:
    """Return the networks in the package, by name."""
    return tuple(map(_described, shipped.names()))


def _described(name: str) -> ShippedNetwork:
    run = open_run(shipped.FOLDER / name)
    result, headings = run.finished_result(), HEADINGS[run.output.task]
    return ShippedNetwork(
        name=name,
        arch=result.arch,
        preset=result.preset,
        epochs=result.epochs,
        metric=headings.primary,
        heading=headings.heading,
        value=result.test[headings.primary],
        bytes=(run.directory / shipped.WEIGHTS).stat().st_size,
        weights_sha256=result.weights_sha256,
    )
