"""The gradient of a kernel by matrix products: TensorFlow's own, by another way."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfresnet.config.sections import ModelConfig
from tfresnet.models import zoo
from tfresnet.system import environment
from tfresnet.training import convolution


@pytest.mark.parametrize("padding", ["SAME", "VALID"])
@pytest.mark.parametrize(
    ("size", "stride", "pixels"), [(3, 1, 5), (1, 1, 4), (3, 2, 8), (3, 2, 7), (1, 2, 6), (2, 1, 5)]
)
def test_gradients_are_tensorflows(size, stride, pixels, padding):
    random = np.random.default_rng(0)
    images = tf.constant(random.normal(size=(2, pixels, pixels + 1, 6)), tf.float32)
    kernel = tf.constant(random.normal(size=(size, size, 6, 4)), tf.float32)

    def gradients(convolve):
        with tf.GradientTape() as tape:
            tape.watch([images, kernel])
            out = convolve(images, kernel, (stride, stride), padding)
            loss = tf.reduce_sum(out**2)
        return out, *tape.gradient(loss, [images, kernel])

    ours, theirs = gradients(convolution.convolve), gradients(tf.nn.conv2d)
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-3)  # sums of hundreds, in another order


def changed(model: keras.Model) -> list[str]:
    return [
        layer.name
        for layer in model.submodules
        if isinstance(layer, keras.layers.Conv2D) and "convolution_op" in vars(layer)
    ]


@pytest.mark.parametrize(
    ("flags", "precision", "changes"),
    [
        ({"avx512_bf16"}, "mixed_bfloat16", True),
        ({"avx512_bf16"}, "float32", False),
        ({"avx512_bf16", "amx_bf16"}, "mixed_bfloat16", False),  # has other kernels
        (set(), "mixed_bfloat16", False),
    ],
)
def test_only_what_is_faster_so_changes(monkeypatch, flags, precision, changes):
    monkeypatch.setattr(environment, "processor_flags", lambda: flags)
    monkeypatch.setattr(convolution, "CHANNELS", 32)
    model = zoo.build(ModelConfig(arch="resnet8"), (32, 32, 3), 10, precision)
    before = model(tf.ones([2, 32, 32, 3]))
    assert convolution.adapt(model) is model
    # Of ResNet-8's 16, 32 and 64 channels: all that see 32 or more.
    expected = ["stage2_block1_conv2", "stage3_block1_conv1", "stage3_block1_conv2"]
    found = sorted(name for name in changed(model) if "shortcut" not in name)
    assert found == (expected if changes else [])
    np.testing.assert_array_equal(model(tf.ones([2, 32, 32, 3])), before)


def test_strided_shortcuts_with_few_channels_have_no_kernel_of_onednn():
    """Theirs writes past its memory, on images of some sizes (48 pixels) until the process dies."""
    narrow = zoo.build(ModelConfig(arch="resnet8", width=0.5), (48, 48, 3), 10)
    before = narrow(tf.ones([2, 48, 48, 3]))
    convolution.adapt(narrow)
    assert changed(narrow) == ["stage2_block1_shortcut_conv"]  # 8 channels; the next one has 16
    np.testing.assert_array_equal(narrow(tf.ones([2, 48, 48, 3])), before)
    convolution.restore(narrow)
    assert changed(narrow) == []
    np.testing.assert_array_equal(narrow(tf.ones([2, 48, 48, 3])), before)
