"""Compute the kernel gradients of some convolutions as matrix products, on CPUs.

Of wide ones, with bfloat16: oneDNN's own kernel for them reaches a tenth to a half of the rate of
the forward pass where channels are many and pixels few, the deep half of a ResNet. Matrix products
reach most of it; ``benchmarks/kernel_gradients.py`` measures both.

Of strided 1x1 ones with few input channels, always: oneDNN's kernel for them writes past its
workspace (https://github.com/uxlfoundation/oneDNN/issues/6035), so that the gradient is wrong or
the process aborts. They are the shortcuts of narrow ResNets.
"""

import functools
from collections.abc import Iterator

import tensorflow as tf

from tfresnet.keras2 import keras
from tfresnet.system import environment

CHANNELS = 256  # input channels from which on matrix products are faster
VECTOR = 16  # numbers that AVX-512 computes with at once; with fewer channels oneDNN's kernel fails


def adapt(model: keras.Model) -> keras.Model:
    """Give some convolutions of a model the gradients of this module, and return it.

    The outputs are equal to the bit, the gradients up to the rounding of sums. Wide convolutions
    are left alone where it is not known to be faster: in float32, on a CPU with AMX. On a GPU all
    are. :func:`restore` undoes it, which a model needs before it is converted.
    """
    if tf.config.list_physical_devices("GPU"):
        return model
    pays = _pays()
    for layer in _convolutions(model):
        if _is_broken(layer) or (pays and _is_wide(layer)):
            layer.convolution_op = functools.partial(
                convolve, strides=layer.strides, padding=layer.padding.upper()
            )
    return model


def restore(model: keras.Model) -> keras.Model:
    """Give the convolutions of a model TensorFlow's gradients again, and return it."""
    for layer in _convolutions(model):
        vars(layer).pop("convolution_op", None)
    return model


def _convolutions(model: keras.Model) -> Iterator[keras.layers.Conv2D]:
    """Yield those that could have other gradients."""
    for layer in model.submodules:
        if (
            type(layer) is keras.layers.Conv2D
            and layer.groups == 1
            and layer.dilation_rate == (1, 1)
            and layer.data_format == "channels_last"
        ):
            yield layer


def _pays() -> bool:
    flags = environment.processor_flags()
    return "avx512_bf16" in flags and "amx_bf16" not in flags


def _is_wide(layer: keras.layers.Conv2D) -> bool:
    return layer.compute_dtype == "bfloat16" and layer.kernel.shape[2] >= CHANNELS


def _is_broken(layer: keras.layers.Conv2D) -> bool:
    return layer.kernel_size == (1, 1) and max(layer.strides) > 1 and layer.kernel.shape[2] < VECTOR


def convolve(
    images: tf.Tensor, kernel: tf.Tensor, strides: tuple[int, int], padding: str
) -> tf.Tensor:
    """Return ``tf.nn.conv2d`` of NHWC ``images``, with :func:`kernel_gradient` in its gradient.

    Args:
        images: [batch, height, width, in].
        kernel: [rows, columns, in, out], of the images' dtype.
        strides: down and across.
        padding: ``SAME`` or ``VALID``.
    """

    @tf.custom_gradient
    def function(images: tf.Tensor, kernel: tf.Tensor) -> tuple[tf.Tensor, object]:
        def gradient(errors: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            back = tf.raw_ops.Conv2DBackpropInput(
                input_sizes=tf.shape(images),
                filter=kernel,
                out_backprop=errors,
                strides=[1, *strides, 1],
                padding=padding,
            )
            return back, kernel_gradient(images, errors, kernel.shape[:2], strides, padding)

        return tf.nn.conv2d(images, kernel, strides, padding), gradient

    return function(images, tf.convert_to_tensor(kernel))


def kernel_gradient(
    images: tf.Tensor,
    errors: tf.Tensor,
    size: tuple[int, int],
    strides: tuple[int, int],
    padding: str,
) -> tf.Tensor:
    """Return the gradient of a convolution's kernel, [rows, columns, in, out].

    Args:
        images: what was convolved, [batch, height, width, in].
        errors: the gradient of the outcome, [batch, height / stride, width / stride, out].
        size: rows and columns of the kernel.
        strides: down and across.
        padding: ``SAME`` or ``VALID``.
    """
    rows, columns = size
    channels, filters = images.shape[3], errors.shape[3]
    flat = tf.reshape(errors, [-1, filters])
    if tuple(strides) == (1, 1):
        # What each place of the kernel saw of the images is a window of them.
        height, width = errors.shape[1:3]
        if padding == "SAME" and tuple(size) != (1, 1):
            down, across = (rows - 1) // 2, (columns - 1) // 2
            images = tf.pad(
                images, [[0, 0], [down, rows - 1 - down], [across, columns - 1 - across], [0, 0]]
            )
        seen = [
            tf.reshape(images[:, y : y + height, x : x + width], [-1, channels])
            for y in range(rows)
            for x in range(columns)
        ]
        products = tf.stack([tf.matmul(window, flat, transpose_a=True) for window in seen])
    else:
        seen = tf.image.extract_patches(
            images, [1, rows, columns, 1], [1, *strides, 1], [1, 1, 1, 1], padding
        )
        products = tf.matmul(
            tf.reshape(seen, [-1, rows * columns * channels]), flat, transpose_a=True
        )
    return tf.reshape(products, [rows, columns, channels, filters])
