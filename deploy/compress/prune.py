"""Magnitude pruning (Zhu and Gupta 2017, arXiv:1710.01878), with tfmot."""

from pathlib import Path

import numpy as np

from tfresnet.backend import keras
from tfresnet.data.sources import Dataset
from tfresnet.deploy.compress.finetune import copied, fine_tune, steps
from tfresnet.models.functional import functional
from tfresnet.runs.run_directory import Run

PATTERNS = ("unstructured", "2:4")
LR_FACTOR = 0.1  # of the run's peak rate: what is left must take over from what goes
UPDATES = 50  # of the masks, over the first half of the steps
KERNELS = (keras.layers.Conv2D, keras.layers.Dense)


def prune(
    run: Run, dataset: Dataset, share: float, pattern: str, epochs: int, directory: Path
) -> keras.Model:
    """Return the run's network with ``share`` of its kernels' weights at 0, as a functional model.

    The share grows over the first half of ``epochs`` (polynomially), the rest is recovery.
    ``2:4`` prunes 2 of every 4 weights, all at once. The first convolution and the classifier stay
    dense: they are few weights, and the network is most sensitive to them.
    """
    total = steps(run, dataset, epochs)
    model = fine_tune(
        run, dataset, epochs, directory,
        lambda: _prunable(run, share, pattern, total),
        {"prune": share, "sparsity": pattern}, "pruning", LR_FACTOR,
    )  # fmt: skip
    return _stripped(model)


def _prunable(run: Run, share: float, pattern: str, total: int) -> keras.Model:
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_wrapper
    from tensorflow_model_optimization.sparsity import keras as sparsity

    half = max(2, total // 2)
    if pattern == "2:4":
        how = {
            "pruning_schedule": sparsity.ConstantSparsity(share, begin_step=1, frequency=10**9),
            "sparsity_m_by_n": (2, 4),
        }
    else:
        how = {
            "pruning_schedule": sparsity.PolynomialDecay(
                0.0, share, begin_step=1, end_step=half, frequency=max(1, half // UPDATES)
            )
        }

    def wrap(layer: keras.layers.Layer) -> keras.layers.Layer:
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("stem"):
            return sparsity.prune_low_magnitude(layer, **how)
        return layer

    twin = functional(run.model(), run.spec.shape)
    model = keras.models.clone_model(twin, clone_function=wrap)
    for layer in model.layers:
        if isinstance(layer, pruning_wrapper.PruneLowMagnitude):
            layer.pruning_step.assign(0)  # tfmot's callback of fit() would; it counts by itself
    return model


def _stripped(model: keras.Model) -> keras.Model:
    """Return the network without tfmot's wrappers; the last step's changes are masked too."""
    from tensorflow_model_optimization.sparsity import keras as sparsity

    for layer in model.layers:
        for weight, mask, _ in getattr(layer, "pruning_vars", []):
            weight.assign(weight * mask)
    return copied(sparsity.strip_pruning(model))


def realised(model: keras.Model) -> float:
    """Return the share of zeros among the weights of all convolutions and dense layers."""
    kernels = [layer.get_weights()[0] for layer in model.layers if isinstance(layer, KERNELS)]
    return float(sum((k == 0).sum() for k in kernels) / sum(np.size(k) for k in kernels))
