"""Batch norms that follow no convolution, as convolutions: tfmot quantises no others.

Before an activation (He et al. 2016, arXiv:1603.05027) a norm follows a sum or a pooling. Its
statistics are fixed at deployment, so it is one scale and one shift a channel: a depthwise
convolution of 1 x 1 with a bias, which tfmot and TFLite both quantise, per channel, with the ReLU
behind it.
"""

from tfresnet.backend import keras
from tfresnet.deploy.compress.fold import follows_convolution, scale_and_shift
from tfresnet.training.optimizers import AFFINE


def without_lone_norms(model: keras.Model) -> keras.Model:
    """Return a functional model with the same outputs, whose norms all follow a convolution."""
    lone = {
        layer.name
        for layer in model.layers
        if isinstance(layer, keras.layers.BatchNormalization) and not follows_convolution(layer)
    }
    if not lone:
        return model

    def convolved(layer: keras.layers.Layer) -> keras.layers.Layer:
        if layer.name not in lone:
            return layer
        return keras.layers.DepthwiseConv2D(1, name=layer.name + AFFINE)

    result = keras.models.clone_model(model, clone_function=convolved)
    for name in lone:
        norm = model.get_layer(name)
        scale, shift = scale_and_shift(norm)
        result.get_layer(name + AFFINE).set_weights([scale.reshape(1, 1, -1, 1), shift])
    return result
