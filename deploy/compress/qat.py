"""Quantisation-aware training (Jacob et al. 2017, arXiv:1712.05877), with tfmot.

tensorflow-model-optimization takes functional models only, so it gets the functional twin, which
shares its variables with the model that it is of.
"""

import re
import shutil
from pathlib import Path

import tf_keras as keras

from tfresnet.data.sources import Dataset
from tfresnet.errors import UserError
from tfresnet.models.functional import functional
from tfresnet.run import Run
from tfresnet.spec import InputSpec
from tfresnet.training.loop import Trainer

LR_FACTOR = 0.01  # of the run's peak rate: the weights need to move by fractions of a step only

# Why tfmot refuses a layer, by the layer's type.
OBSTACLES = {
    "BatchNormalization": "a batch norm must follow a convolution, as in post-activation",
    "Multiply": "it has no quantisation for the products of channel attention",
    "Conv1D": "it has no quantisation for the convolution of eca",
}


def quantization_aware(model: keras.Model, image_shape: tuple[int, int, int]) -> keras.Model:
    """Return a functional model with fake quantisation, which starts from ``model``'s weights.

    Raises:
        UserError: tfmot refuses the network; says the layer and why.
    """
    import tensorflow_model_optimization as tfmot

    twin = functional(model, image_shape)
    try:
        return tfmot.quantization.keras.quantize_model(twin)
    except RuntimeError as error:
        refused = re.match(r"Layer (\w+):<class '.*\.(\w+)'> is not supported", str(error))
        if not refused or refused[2] not in OBSTACLES:
            raise
        raise UserError(
            f"quantisation-aware training: expected a network that tfmot can quantise, got "
            f"{model.name}, whose {refused[1]} it refuses: {OBSTACLES[refused[2]]}; quantise it "
            "after training instead (--quantize int8)"
        ) from None


def fine_tune(run: Run, dataset: Dataset, epochs: int, directory: Path) -> keras.Model:
    """Return the run's network after ``epochs`` of training with fake quantisation.

    It goes on from the run's weights with the run's recipe, at a hundredth of its rate, in
    float32 and without a moving average, through the same loop; ``directory`` gets the log and
    the curve.

    Raises:
        UserError: tfmot refuses the network.
    """
    recipe = {
        "epochs": epochs,
        "lr": run.config.train.lr * LR_FACTOR,
        "warmup_epochs": 0.0,
        "scheduler": "cosine",
        "precision": "float32",
        "ema_decay": 0.0,
        "keep": "last",
        "patience": 0,
        "sync_batch_norm": False,
        "strategy": "auto",  # the run's workers may be far away
        "xla": False,
    }
    training = run.config.train.model_copy(update=recipe)
    full_size = run.config.data.model_copy(update={"progressive": {}})
    shutil.rmtree(directory, ignore_errors=True)
    trainer = Trainer(
        run.config.model_copy(update={"train": training, "data": full_size}),
        dataset,
        directory,
        lambda: quantization_aware(run.model(), run.spec.shape),
    )
    trainer.run()
    _span_a_byte(trainer.model, run.spec)
    return trainer.model


def _span_a_byte(model: keras.Model, spec: InputSpec) -> None:
    """Set the range of the input to that of normalised bytes, so that its scale is exactly theirs.

    tfmot has a moving average there, of the batches' smallest and largest values.
    """
    ends = [
        (byte - mean) / std
        for byte in (0, 255)
        for mean, std in zip(spec.mean, spec.std, strict=True)
    ]
    entrance = next(layer for layer in model.layers if layer.name.startswith("quantize_layer"))
    for variable in entrance.variables:
        for name, value in (("min", min(ends)), ("max", max(ends))):
            if variable.name.endswith(f"_{name}:0"):
                variable.assign(value)
