"""Magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878), with tfmot."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner, Stage, copied
from tfresnet.keras2 import keras

TWO_OF_FOUR = "2:4"
LR_FACTOR = 0.1  # of the run's peak rate: the remaining weights must replace the others
UPDATES = 50  # of the masks, over the first half of the steps
KERNELS = (keras.layers.Conv2D, keras.layers.Dense)


@dataclass(frozen=True)
class Pruning:
    """Sets the smallest weights of convolutions to 0.

    The share of zeros grows over the first half of the epochs (polynomially), the rest is recovery;
    with the pattern ``2:4``, all are set to 0 at once. The stem and the head stay dense: they have
    few weights, and the network is most sensitive to them.

    Attributes:
        share: of the weights of each kernel, above 0 and below 1.
        pattern: ``unstructured``, or ``2:4``: 2 of every 4 weights along the input channels.
        epochs: of fine-tuning.
    """

    share: float
    pattern: str
    epochs: int
    name = "pruned"
    stage = "pruning"

    def check(self, network: FunctionalNetwork) -> None:
        """Accept every network."""

    def apply(self, network: FunctionalNetwork, fine_tune: FineTuner) -> FunctionalNetwork:
        """See :class:`.base.Compressor`."""
        steps = fine_tune.steps(self.epochs)
        method = {"prune": self.share, "sparsity": self.pattern}
        stage = Stage(self.stage, self.epochs, method, LR_FACTOR)
        model = fine_tune(lambda: prunable(network, self.share, self.pattern, steps), stage)
        return network.with_model(_stripped(model))


def prunable(network: FunctionalNetwork, share: float, pattern: str, steps: int) -> keras.Model:
    """Return a copy of the model with tfmot's pruning wrappers, for a training of ``steps``."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper
    from tensorflow_model_optimization.sparsity import keras as sparsity

    settings = _settings(share, pattern, steps)
    dense = network.stem | network.head

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Conv2D) and layer.name not in dense:
            return sparsity.prune_low_magnitude(layer, **settings)
        return layer

    model = keras.models.clone_model(copied(network.model), clone_function=wrap)
    for layer in model.layers:
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
            layer.pruning_step.assign(0)  # tfmot's callback of fit() would; it counts by itself
    return model


def _settings(share: float, pattern: str, steps: int) -> dict[str, Any]:
    """Return the arguments of tfmot's pruning wrapper."""
    from tensorflow_model_optimization.sparsity import keras as sparsity

    if pattern == TWO_OF_FOUR:
        at_once = sparsity.ConstantSparsity(share, begin_step=1, frequency=10**9)
        return {"pruning_schedule": at_once, "sparsity_m_by_n": (2, 4)}
    half = max(2, steps // 2)
    growing = sparsity.PolynomialDecay(
        0.0, share, begin_step=1, end_step=half, frequency=max(1, half // UPDATES)
    )
    return {"pruning_schedule": growing}


def _stripped(model: keras.Model) -> keras.Model:
    """Return the network without tfmot's wrappers; the last step's changes are masked too."""
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper
    from tensorflow_model_optimization.sparsity import keras as sparsity

    for layer in model.layers:
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
            for weight, mask, _ in layer.pruning_vars:
                weight.assign(weight * mask)
    return copied(sparsity.strip_pruning(model))


def share_of_zeros(model: keras.Model) -> float:
    """Return the share of zeros among the weights of all convolutions and dense layers, 0 to 1."""
    kernels = [layer.get_weights()[0] for layer in model.layers if isinstance(layer, KERNELS)]
    return float(sum((k == 0).sum() for k in kernels) / sum(np.size(k) for k in kernels))
