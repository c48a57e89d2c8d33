"""What tasks with a list of labels share: a probability for each of them."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.splits import Split, labels_of
from tfresnet.models import heads
from tfresnet.models.network import Head
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import PROBABILITIES
from tfresnet.runtime.spec import InputSpec
from tfresnet.tasks import losses
from tfresnet.tasks.base import Agreement, Loss, Task

ACTIVATIONS = {"softmax": tf.nn.softmax, "sigmoid": tf.sigmoid}


class LabelTask(Task):
    """A task whose network gives a logit for each label, and whose files give probabilities."""

    output_kinds = (PROBABILITIES,)

    @property
    def smoothing_target(self) -> float:
        """The value that label smoothing draws the targets of binary cross-entropy to."""
        raise NotImplementedError

    def head(self, config: ModelConfig, num_classes: int) -> Head:
        """Build a linear head; an ``InputError`` if another one is configured."""
        return heads.classification(config, num_classes)

    def loss(self, config: TrainConfig, train: Split) -> Loss:
        """Return a function of targets and logits, both float [batch, labels]."""
        weights = None
        if config.class_weights != "none":
            weights = losses.balanced_weights(labels_of(train), len(self.output.labels))

        def per_image(targets: Any, outputs: Any, teacher: Any = None) -> tf.Tensor:
            return losses.per_image(
                config, targets, outputs, teacher, weights, self.smoothing_target
            )

        return per_image

    def in_graph(self, outputs: tf.Tensor, spec: InputSpec, kind: str = "") -> dict[str, tf.Tensor]:
        """Return ``probabilities``, float32 [batch, labels]."""
        activation = ACTIVATIONS[self.output.activation]
        return {PROBABILITIES: activation(outputs, name=PROBABILITIES)}

    def agreement(self, predictions: np.ndarray, reference: np.ndarray) -> Agreement:
        """Compare probabilities, float [n, labels]."""
        equal = self.decisions(predictions) == self.decisions(reference)
        return Agreement(float(equal.mean()), float(np.abs(predictions - reference).max()))

    def check_calibration(self, truth: Sequence[np.ndarray]) -> None:
        """Raise an ``InputError`` if several images all have the same label."""
        if len(truth) > 1 and len(np.unique(np.stack(truth), axis=0)) == 1:
            raise InputError(
                f"calibration: expected images of several classes, got {len(truth)} of class "
                f"{truth[0]} only; raise --calibration-images or look at the training split"
            )
