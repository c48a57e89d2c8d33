"""Architectures: published sizes, the functional twin, and the initial weights."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.config import ModelConfig
from tfresnet.errors import UserError
from tfresnet.models import functional, zoo


def build(size: int = 32, **config):
    return zoo.build(ModelConfig(**config), (size, size, 3))


@pytest.mark.parametrize(
    ("config", "size", "parameters", "macs"),
    [
        # MLPerf Tiny's ResNet-8 has 78,666 with biases (Banbury et al. 2021); we have none, but
        # a batch norm in each projection.
        ({"arch": "resnet8"}, 32, 78_042, 12.5e6),
        # He et al. 2015, table 6: 0.27 M; multiply-adds: 41 M.
        ({"arch": "resnet20"}, 32, 269_722, 40.6e6),
        # torchvision's resnet18: 11,689,512; He et al. 2015, table 1: 1.8e9.
        ({"arch": "resnet18"}, 224, 11_689_512, 1.814e9),
        # The same with a 3x3 stem and 10 classes.
        ({"arch": "resnet18", "stem": "cifar", "num_classes": 10}, 32, 11_173_962, 0.556e9),
    ],
)
def test_published_sizes(config, size, parameters, macs):
    model = build(size, **config)
    assert functional.parameters(model) == parameters
    assert functional.macs(model, (size, size, 3)) == pytest.approx(macs, rel=0.01)


@pytest.mark.parametrize("size", [8, 16, 30, 33])
def test_other_image_sizes(size):
    assert build(size, arch="resnet20")(tf.zeros([2, size, size, 3])).shape == (2, 10)


def test_zero_gamma_makes_every_block_the_identity():
    """Where no shape changes, the logits do not depend on the branches' weights."""
    model = build(arch="resnet8", zero_gamma=True)
    block = model.trunk[3]
    x = tf.random.stateless_uniform([2, 8, 8, 16], [1, 2])
    np.testing.assert_array_equal(block(x), tf.nn.relu(x))
    plain = build(arch="resnet8").trunk[3]
    assert np.abs(plain(x) - tf.nn.relu(x)).max() > 0.01


def test_he_initialisation():
    """The standard deviation is sqrt(2 / fan out) (He et al. 2015, arXiv:1502.01852)."""
    kernel = build(arch="resnet18", stem="cifar").get_layer("stage4_block2").branch[0].kernel
    assert float(tf.math.reduce_std(kernel)) == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.01)


def test_the_padded_shortcut_keeps_every_other_pixel_and_adds_zeros():
    from tfresnet.models.blocks import apply, pad_shortcut

    x = tf.random.stateless_uniform([1, 6, 6, 4], [1, 2])
    y = apply(pad_shortcut(4, 8, 2, "test"), x).numpy()
    assert y.shape == (1, 3, 3, 8)
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert (y[..., :2] == 0).all()
    assert (y[..., 6:] == 0).all()


def test_an_unknown_architecture_gets_the_closest():
    with pytest.raises(UserError, match="unknown architecture 'resnet81': did you mean 'resnet8'"):
        build(arch="resnet81")


def test_a_number_of_classes_that_is_not_the_datasets_is_refused():
    with pytest.raises(UserError, match=r"model.num_classes: expected 10 .*got 7"):
        zoo.build(ModelConfig(num_classes=7), (32, 32, 3), num_classes=10)
