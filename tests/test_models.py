"""Architectures: published sizes, the functional twin, and the initial weights."""

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfresnet.config.sections import ModelConfig
from tfresnet.models import costs, functional, zoo
from tfresnet.models.network import Block
from tfresnet.runtime.errors import InputError


def build(size: int = 32, **config):
    return zoo.build(ModelConfig(**config), (size, size, 3))


PUBLISHED = {
    # MLPerf Tiny's ResNet-8 has 78,666 with biases (Banbury et al. 2021); we have none, but
    # a batch norm in each projection.
    "resnet8": 78_042,
    # He et al. 2015, table 6 (0.27 M to 1.7 M), option A.
    "resnet20": 269_722,
    "resnet32": 464_154,
    "resnet44": 658_586,
    "resnet56": 853_018,
    "resnet110": 1_727_962,
    # He et al. 2016: 1.7 M and 10.2 M.
    "resnet164": 1_703_258,
    "resnet1001": 10_327_706,
    # Page 2018: 6.57 M; by hand 64, 128, 256, 512 channels, two blocks, a head of 5,130.
    "resnet9": 6_573_130,
    # Jordan 2024: 64, 256, 256 channels.
    "resnet9_narrow": 2_034_378,
    # Zagoruyko and Komodakis 2016, table 3 and their code: 11.0 M, 36.5 M, 8.9 M.
    "wrn16_8": 10_961_370,
    "wrn28_10": 36_479_194,
    "wrn40_4": 8_949_210,
    # Xie et al. 2016, table 7: 34.4 M.
    "resnext29_8x64d": 34_426_698,
    # timm's resnet10t, 14t, 26t have 5.44 M, 10.08 M and 16.01 M, its resnet26 has 16.00 M: their
    # stems have 28 k, 18 k and 18 k more (results/results-imagenet.csv there).
    "resnet10": 5_418_792,
    "resnet14": 10_064_936,
    "resnet26": 15_995_176,
    # torchvision's.
    "resnet18": 11_689_512,
    "resnet34": 21_797_672,
    "resnet50": 25_557_032,
    "resnet101": 44_549_160,
    "resnet152": 60_192_808,
    "resnext50_32x4d": 25_028_904,
    "resnext101_32x8d": 88_791_336,
    # keras.applications', without the statistics.
    "resnet50v2": 25_568_360,
    "resnet101v2": 44_577_896,
    "resnet152v2": 60_236_904,
    # Han et al. 2016, table 4: 1.7 M, 3.8 M and 28.3 M; test_torch_parity counts the authors'.
    "pyramidnet110_a48": 1_772_706,
    "pyramidnet110_a84": 3_904_446,
    "pyramidnet110_a270": 28_485_477,
    # Huang et al. 2016, table 2: 0.8 M; torchvision's and keras.applications'.
    "densenet_bc100_12": 769_162,
    "densenet121": 7_978_856,
    "densenet169": 14_149_480,
    # torchvision's and keras.applications'.
    "efficientnet_b0": 5_288_548,
    "efficientnet_b1": 7_794_184,
    "efficientnet_b2": 9_109_994,
    "efficientnet_b3": 12_233_232,
    # The same blocks as 152 with 21 more in the second stage (He et al. 2016): 64.7 M.
    "resnet200": 64_673_832,
}
CIFAR_STEM = {
    "resnet18": 11_173_962,
    "resnet34": 21_282_122,
    "resnet50": 23_520_842,
    "resnet101": 42_512_970,
    "resnet152": 58_156_618,
}


def cost(size: int, **config) -> tuple[int, int]:
    return zoo.cost(ModelConfig(**config), (size, size, 3))


def test_every_architecture_has_a_published_figure():
    assert set(zoo.ARCHITECTURES) == set(PUBLISHED) == set(costs.table())


@pytest.mark.parametrize("arch", PUBLISHED)
def test_published_parameters(arch):
    """In the table that ``tfresnet models`` prints; python -m tfresnet.models.zoo renews it."""
    assert costs.table()[arch]["parameters"] == PUBLISHED[arch]


QUICK = ("resnet8", "resnet9", "resnet110", "resnet164", "resnet50", "resnet50v2",
         "densenet_bc100_12", "efficientnet_b0")  # fmt: skip


@pytest.mark.parametrize(
    "arch",
    [*QUICK, *(pytest.param(a, marks=pytest.mark.slow) for a in PUBLISHED if a not in QUICK)],
)
def test_the_table_has_what_is_built(arch):
    """One of each kind, and of the others where slow tests run."""
    row = zoo.architecture(arch)
    size = row.image_size
    parameters, macs = cost(size, arch=arch)
    expected = {
        "parameters": parameters, "macs": macs, "image_size": size, "family": row.family
    }  # fmt: skip
    assert costs.table()[arch] == expected


@pytest.mark.parametrize(
    "arch",
    ["resnet18", *(pytest.param(a, marks=pytest.mark.slow) for a in CIFAR_STEM if a != "resnet18")],
)
def test_parameters_with_the_cifar_stem(arch):
    assert cost(32, arch=arch, stem="cifar", num_classes=10)[0] == CIFAR_STEM[arch]


@pytest.mark.parametrize(
    ("arch", "published"), [("resnet18", 1.82e9), ("resnet50", 4.1e9), ("resnet20", 41e6)]
)
def test_published_multiply_adds(arch, published):
    """He et al. 2015 and torchvision's documentation; ResNet-20's count is the usual 41 M."""
    assert costs.table()[arch]["macs"] == pytest.approx(published, rel=0.012)


@pytest.mark.parametrize(
    "config", [{"arch": "resnet8"}, {"arch": "resnet20"}, {"arch": "resnet34", "width": 0.25}]
)
def test_the_cost_is_that_of_the_built_model(config):
    """``cost`` counts a stage's second block for all that follow; the model has them all."""
    model = build(32, **config)
    built = functional.parameters(model), functional.macs(model, (32, 32, 3))
    assert cost(32, **config) == built


@pytest.mark.parametrize(
    ("options", "more"),
    [
        # An SE block of c channels: two 1x1 convolutions with biases, to c / 16 (at least 8).
        ({"attention": "se"}, sum(2 * (2 * c * r + r + c) for c, r in
                                  ((64, 8), (128, 8), (256, 16), (512, 32)))),
        # ECA: one kernel of 3 or 5 a block, |log2(c) / 2 + 1/2| rounded to odd.
        ({"attention": "eca"}, 2 * (3 + 5 + 5 + 5)),
        # The deep stem: 3 -> 32 -> 32 -> 64 by 3x3 and two norms, for 3 -> 64 by 7x7.
        ({"variant": "d"}, 9 * (3 * 32 + 32 * 32 + 32 * 64) + 2 * 64 - 49 * 3 * 64),
        ({"variant": "t"}, 9 * (3 * 24 + 24 * 32 + 32 * 64) + 2 * 56 - 49 * 3 * 64),
        ({"variant": "v1"}, 0),
        ({"padding": "symmetric"}, 0),
        ({"stochastic_depth": 0.1, "dropout": 0.1}, 0),
    ],
    ids=str,
)  # fmt: skip
def test_options_add_what_their_papers_say(options, more):
    assert cost(224, arch="resnet18", **options)[0] - PUBLISHED["resnet18"] == more


def test_v1_has_the_stride_on_the_1x1_and_so_fewer_multiply_adds():
    """Keras's ResNet-50 (v1) has 3.86 G, torchvision's (v1.5) 4.09 G."""
    assert cost(224, arch="resnet50", variant="v1")[1] == pytest.approx(3.86e9, rel=0.01)


def test_the_shortcut_of_bottlenecks_projects():
    with pytest.raises(InputError, match="expected B for resnet50's bottlenecks, got A"):
        build(arch="resnet50", shortcut="A")


@pytest.mark.parametrize("size", [8, 16, 30, 33])
def test_other_image_sizes(size):
    assert build(size, arch="resnet20")(tf.zeros([2, size, size, 3])).shape == (2, 10)


def test_zero_gamma_makes_every_block_the_identity():
    """Where no shape changes, the logits do not depend on the branches' weights."""
    model = build(arch="resnet8", zero_gamma=True)
    block = model.get_layer("stage1_block1")
    x = tf.random.stateless_uniform([2, 8, 8, 16], [1, 2])
    np.testing.assert_array_equal(block(x), tf.nn.relu(x))
    plain = build(arch="resnet8").get_layer("stage1_block1")
    assert np.abs(plain(x) - tf.nn.relu(x)).max() > 0.01


def test_he_initialisation():
    """The standard deviation is sqrt(2 / fan out) (He et al. 2015, arXiv:1502.01852)."""
    kernel = build(arch="resnet18", stem="cifar").get_layer("stage4_block2").branch[0].kernel
    assert float(tf.math.reduce_std(kernel)) == pytest.approx(np.sqrt(2 / (9 * 512)), rel=0.01)


def test_the_padded_shortcut_keeps_every_other_pixel_and_adds_zeros():
    from tfresnet.models.blocks import Conv, Style, apply, pad_shortcut

    x = tf.random.stateless_uniform([1, 6, 6, 4], [1, 2])
    y = apply(pad_shortcut(Style(), 4, Conv(8, 1, 2), "test"), x).numpy()
    assert y.shape == (1, 3, 3, 8)
    np.testing.assert_array_equal(y[..., 2:6], x[:, ::2, ::2])
    assert (y[..., :2] == 0).all()
    assert (y[..., 6:] == 0).all()


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"arch": "densenet121", "stochastic_depth": 0.1}, "model.stochastic_depth: expected 0.0"),
        ({"arch": "efficientnet_b0", "attention": "eca"}, "model.attention: expected none, as"),
        ({"arch": "pyramidnet110_a48", "variant": "d"}, "model.variant: expected v1.5, as"),
        ({"arch": "resnet50v2", "pre_activation": False}, "take resnet50$"),
    ],
)
def test_options_that_an_architecture_has_not_are_refused(config, expected):
    with pytest.raises(InputError, match=expected):
        build(**config)


@pytest.mark.parametrize(
    ("arch", "channels"),
    [
        ("resnet18", [64, 128, 256, 512]),
        ("resnet50", [256, 512, 1024, 2048]),
        pytest.param("resnet50v2", [256, 512, 1024, 2048], marks=pytest.mark.slow),
        pytest.param("densenet121", [256, 512, 1024, 1024], marks=pytest.mark.slow),
        ("efficientnet_b0", [24, 40, 112, 320]),
        pytest.param("pyramidnet110_a48", [32, 48, 64], marks=pytest.mark.slow),
    ],
)
def test_the_pyramid_has_the_published_channels(arch, channels):
    """With an ImageNet stem, strides 4, 8, 16, 32 (PyramidNet-110 has three stages only)."""
    model = build(96, arch=arch, stem="imagenet")
    pyramid, embedding = model.features(tf.zeros([1, 96, 96, 3]))
    assert [level.shape[1:] for level in pyramid] == [
        (96 // stride, 96 // stride, count)
        for stride, count in zip((4, 8, 16, 32), channels, strict=False)
    ]
    assert embedding.shape == (1, model.head.dense.kernel.shape[0])


def test_a_network_may_see_grey():
    model = zoo.build(ModelConfig(arch="resnet8"), (16, 16, 1))
    assert model(tf.zeros([2, 16, 16, 1])).shape == (2, 10)


def test_an_unknown_architecture_gets_the_closest():
    with pytest.raises(InputError, match="unknown architecture 'resnet81': did you mean 'resnet8'"):
        build(arch="resnet81")


def test_a_number_of_classes_that_is_not_the_datasets_is_refused():
    with pytest.raises(InputError, match=r"model.num_classes: expected 10 .*got 7"):
        zoo.build(ModelConfig(num_classes=7), (32, 32, 3), num_classes=10)


class TwoBranches(keras.Model):
    """A feature pyramid in small: skip connections, upsampling, a shared layer, two outputs."""

    def __init__(self):
        super().__init__(name="two_branches")
        self.fine = keras.layers.Conv2D(4, 3, padding="same", name="fine")
        self.coarse = Halved(8)
        self.lateral = keras.layers.Conv2D(8, 1, name="lateral")
        self.up = keras.layers.UpSampling2D(name="up")
        self.add = keras.layers.Add(name="add")
        self.shared = keras.layers.Conv2D(2, 1, name="shared")  # on both levels

    def call(self, images):
        fine = self.fine(images)
        coarse = self.coarse(fine)
        merged = self.add([self.lateral(fine), self.up(coarse)])
        return {"fine": self.shared(merged), "coarse": self.shared(coarse)}


class Halved(Block):
    """A block inside of it."""

    def __init__(self, filters: int):
        super().__init__(name="halved")
        self.conv = keras.layers.Conv2D(filters, 3, 2, padding="same", name="halved_conv")
        self.norm = keras.layers.BatchNormalization(name="halved_bn")

    def call(self, x):
        return self.norm(self.conv(x))


def test_the_functional_twin_of_any_call():
    """Not a chain of layers only; the twin has plain layers and the same variables."""
    model, images = TwoBranches(), tf.random.stateless_uniform([2, 8, 8, 3], [1, 2])
    expected = model(images)
    twin = functional.functional(model, (8, 8, 3))
    assert {id(v) for v in twin.variables} == {id(v) for v in model.variables}
    assert not any(isinstance(layer, Block) for layer in twin.layers)
    for training in (False, True):
        found, expected = twin(images, training=training), model(images, training=training)
        assert set(found) == {"fine", "coarse"}
        for name in found:
            np.testing.assert_array_equal(found[name], expected[name])
    # 8x8 pixels: 3x3 from 3 to 4, lateral 1x1 to 8, shared to 2; 4x4: 3x3 from 4 to 8, shared.
    expected_macs = 64 * (27 * 4 + 4 * 8 + 8 * 2) + 16 * (36 * 8 + 8 * 2)
    assert functional.macs(model, (8, 8, 3)) == expected_macs


def test_levels_have_names():
    maps = build(64, arch="resnet18", stem="imagenet").backbone(tf.zeros([1, 64, 64, 3]))
    assert {name: level.shape[1] for name, level in maps.levels.items()} == {
        "stage1": 16, "stage2": 8, "stage3": 4, "stage4": 2
    }  # fmt: skip
    assert maps.last is maps.levels["stage4"]


def test_another_head_takes_the_levels():
    """What a task of its own brings; features for a classifier are then refused."""

    class PerPixel:
        def __init__(self, config: ModelConfig, classes: int):
            self.logits = keras.layers.Conv2D(classes, 1, name="logits")
            self.layers = [self.logits]

        def __call__(self, maps, training=None):
            return self.logits(maps.levels["stage2"])

    model = zoo.build(ModelConfig(arch="resnet8"), (32, 32, 3), 5, head=PerPixel)
    assert model(tf.zeros([2, 32, 32, 3])).shape == (2, 16, 16, 5)
    with pytest.raises(InputError, match=r"expected a classifier.* got a network with a PerPixel"):
        model.features(tf.zeros([1, 32, 32, 3]))
