"""Quantisation-aware training (Jacob et al. 2017, arXiv:1712.05877), with tfmot.

tensorflow-model-optimization takes functional models only, so it gets the functional twin, which
shares its variables with the model that it is of.
"""

import re

import tf_keras as keras

from tfresnet.errors import UserError
from tfresnet.models.functional import functional

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
