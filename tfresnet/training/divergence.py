"""Detect that training diverged: a loss or a weight that is NaN, infinite or far too large."""

import numpy as np

from tfresnet.keras2 import keras

EXPLODED = 1e4  # nats; no network recovers from this


class Diverged(Exception):
    """Training diverged: the loss or a weight is NaN, infinite or far too large."""


def check_loss(loss: float, step: int) -> None:
    """Raise :class:`Diverged` if the mean loss up to ``step``, in nats, is NaN or too large."""
    if not loss < EXPLODED:  # true of NaN too
        raise Diverged(f"the loss became {loss:.3g} at or before step {step}")


def check_weights(model: keras.Model, step: int) -> None:
    """Raise :class:`Diverged` if a weight is not finite: a ReLU may hide that from the loss."""
    lost = [v.name for v in model.variables if not np.isfinite(v.numpy()).all()]
    if lost:
        raise Diverged(
            f"{len(lost)} variables (first: {lost[0]}) are NaN or infinite at or before step {step}"
        )
