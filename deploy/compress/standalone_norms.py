"""Replace batch normalization that follows no convolution by depthwise convolutions.

tfmot quantizes batch normalization only where it can be folded into the convolution before it.
Before an activation (He et al. 2016, arXiv:1603.05027) it follows a sum or a pooling. At deployment
its statistics are fixed, so it is one scale and one shift a channel: a depthwise 1 x 1 convolution
with a bias, which tfmot and TFLite both quantize, per channel, with the ReLU behind it.
"""

from tfresnet.deploy.compress.fold import follows_convolution, scale_and_shift
from tfresnet.keras2 import keras
from tfresnet.training.optimizers import AFFINE


def without_standalone_norms(model: keras.Model) -> keras.Model:
    """Return a functional model with the same outputs in which they are depthwise convolutions.

    The model itself is returned if there are none.
    """
    standalone = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and not follows_convolution(layer)
    }
    if not standalone:
        return model

    def convolved(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in standalone:
            return layer
        return keras.layers.DepthwiseConv2D(1, name=layer.name + AFFINE)

    result = keras.models.clone_model(model, clone_function=convolved)
    for name in standalone:
        norm = model.get_layer(name)
        scale, shift = scale_and_shift(norm)
        result.get_layer(name + AFFINE).set_weights([scale.reshape(1, 1, -1, 1), shift])
    return result
