"""What training, evaluation and export ask of a task."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, Protocol

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.splits import Split
from tfresnet.models.network import Head
from tfresnet.runtime import decode
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks.headings import Headings


class Loss(Protocol):
    """What training minimizes."""

    def __call__(self, targets: Any, outputs: Any, teacher: Any = None) -> tf.Tensor:
        """Return the loss of every image, float32 [batch].

        Args:
            targets: what :meth:`Task.targets` gives, mixed with those of other images if the
                configuration says so.
            outputs: of the network in training.
            teacher: the outputs of the network that is distilled, if there is one.
        """
        ...


class Metrics(Protocol):
    """Metrics of a model, accumulated over batches of held-out images."""

    def update(self, predictions: Any, truth: Any) -> None:
        """Add a batch.

        Args:
            predictions: what :meth:`Task.predictions` gives.
            truth: what the data set knows of these images, as NumPy arrays.
        """
        ...

    def scores(self) -> dict[str, Any]:
        """Return the numbers that files are compared by: the task's primary one among them.

        If there is a ``loss``, it is drawn beside that of training.
        """
        ...

    def result(self) -> dict[str, Any]:
        """Return the scores, ``n`` (images) and what else is reported: intervals, each class."""
        ...


class Agreement(NamedTuple):
    """How near the predictions of a file are to those of the checkpoint.

    Attributes:
        agreement: the share of equal decisions, 0 to 1.
        max_abs_error: the largest difference of a predicted number.
    """

    agreement: float
    max_abs_error: float


@dataclass(frozen=True)
class Task(ABC):
    """What one model does; made by :func:`tfresnet.tasks.of`.

    A new task overrides the abstract methods. ``truth`` below is what a data set knows of a batch
    of images (classes, a map), tensors of fixed shapes; ``targets`` are what the loss sees.

    Attributes:
        output: what the outputs mean: the classes' names, the activation.
        headings: what its numbers are called.
        output_kinds: what its files can give, see ``tfresnet.runtime.metadata``; the first is what
            they give unless something else is asked for.
        least_agreement: the share of equal decisions, 0 to 1, below which a file fails.
        averages_flips: whether the mean of the predictions for an image and its mirror image is a
            prediction, see :meth:`unmirrored`.
    """

    output: OutputSpec
    headings: ClassVar[Headings]
    output_kinds: ClassVar[tuple[str, ...]]
    least_agreement: ClassVar[float] = 0.0
    averages_flips: ClassVar[bool] = True

    @property
    def primary(self) -> str:
        """The key of the number that models are judged by; higher is better."""
        return self.headings.primary

    @abstractmethod
    def head(self, config: ModelConfig, num_classes: int) -> Head:
        """Build the head of the network, see :func:`tfresnet.models.zoo.build`."""

    @abstractmethod
    def targets(self, truth: Any) -> Any:
        """Return the targets of a batch; called in ``tf.data``, before images are mixed."""

    @abstractmethod
    def loss(self, config: TrainConfig, train: Split) -> Loss:
        """Return the configured loss; ``train`` is for weights by the shares of classes."""

    @abstractmethod
    def correct(self, targets: Any, outputs: Any) -> tf.Tensor:
        """Return how well each training image is predicted, 0 to 1, float32 [batch].

        It is what an epoch's record has under ``headings.fit``.
        """

    @abstractmethod
    def in_graph(self, outputs: Any, spec: InputSpec, kind: str = "") -> dict[str, tf.Tensor]:
        """Return what an exported file gives, by name: part of the file's graph.

        Args:
            outputs: of the network.
            spec: of its images.
            kind: one of ``output_kinds``; by default the first.
        """

    def predictions(self, outputs: Mapping[str, np.ndarray]) -> Any:
        """Return the predictions that a file's outputs stand for, arrays [n, ...].

        Args:
            outputs: what :meth:`in_graph` gives, of one of the kinds.
        """
        return decode.predictions(outputs)

    @abstractmethod
    def metrics(self) -> Metrics:
        """Return metrics of no images yet."""

    @abstractmethod
    def decisions(self, predictions: Any) -> np.ndarray:
        """Return what predictions decide on, comparable with the truth, [n, ...]."""

    @abstractmethod
    def name_of(self, decision: np.ndarray) -> str:
        """Return the decision on one image, or the truth, as text."""

    @abstractmethod
    def agreement(self, predictions: Any, reference: Any) -> Agreement:
        """Compare the predictions of a file with those of the checkpoint for the same images."""

    def unmirrored(self, predictions: Any) -> Any:
        """Return the predictions for mirrored images as predictions for the images."""
        return predictions

    def check_calibration(self, truth: Sequence[np.ndarray]) -> None:  # noqa: B027
        """Check, by what is true of each, the images that set the ranges of an integer file.

        By default any images do.

        Raises:
            InputError: ranges can't be set with them.
        """
