"""When a training is lost: a loss or a weight that is no number, or out of all proportion."""

import numpy as np

from tfresnet.backend import keras

EXPLODED = 1e4  # nats: far above anything that a network comes back from


class Diverged(Exception):
    """The loss is no number any more, or a number out of all proportion."""


def check_loss(loss: float, step: int) -> None:
    """Raise :class:`Diverged` if the mean loss up to ``step``, in nats, is lost."""
    if not loss < EXPLODED:  # not a number is not less either
        raise Diverged(f"the loss became {loss:.3g} at or before step {step}")


def check_weights(model: keras.Model, step: int) -> None:
    """Raise :class:`Diverged` if a weight is no number: a ReLU may hide that from the loss."""
    lost = [v.name for v in model.variables if not np.isfinite(v.numpy()).all()]
    if lost:
        raise Diverged(
            f"{len(lost)} weights, {lost[0]} first, became no numbers at or before step {step}"
        )
