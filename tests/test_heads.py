"""Heads for pixels and boxes on every kind of backbone, and backbones of a smaller stride."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tfresnet import tasks
from tfresnet.config.sections import ModelConfig
from tfresnet.models import functional, heads, options, zoo
from tfresnet.models.network import Network
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import OutputSpec

CLASSES = 5


def build(rows: int, columns: int, precision: str = "float32", **config) -> Network:
    return zoo.build(ModelConfig(**config), (rows, columns, 3), CLASSES, precision)


def images(height: int, width: int, count: int = 2) -> tf.Tensor:
    return tf.random.stateless_normal([count, height, width, 3], [1, 2])


def tensors(outputs) -> list[np.ndarray]:
    return [np.asarray(x) for x in tf.nest.flatten(outputs)]


@pytest.fixture(autouse=True)
def short_networks(monkeypatch):
    """Four stages of a block each in networks for large images, for the sake of time."""
    for arch, row in zoo.ARCHITECTURES.items():
        if row.family == "efficientnet":
            short = dataclasses.replace(row, depth=0.25)
        elif row.family not in ("pyramidnet", "resnet9") and row.image_size > 32:
            depth = 2 if row.family == "resnet_v2" else 1
            short = dataclasses.replace(row, depths=(depth,) * len(row.depths))
        else:
            continue
        monkeypatch.setitem(zoo.ARCHITECTURES, arch, short)


# A narrow network of each family, and a stem of each kind.
BACKBONES = [
    {"arch": "resnet8", "width": 0.5, "stem": "cifar"},
    {"arch": "resnet18", "width": 0.125, "stem": "imagenet"},
    {"arch": "resnet18", "width": 0.125, "stem": "imagenet", "output_stride": 8},
    {"arch": "resnet9", "width": 0.125, "stem": "cifar"},
    {"arch": "densenet121", "width": 0.25, "stem": "imagenet"},
    {"arch": "efficientnet_b0", "width": 0.25, "stem": "imagenet"},
]
STRIDES = {  # of the outputs, by head; a CIFAR stem's levels have 1, 2 and 4, ResNet-9's 2, 4, 8
    "unet": [1, 4, 4, 2, 4, 4],
    "lraspp": [2, 8, 8, 4, 8, 8],
    "center": [4, 4, 4, 4, 4, 4],
    "points": [4, 8, 8, 8, 8, 8],
}


@pytest.mark.parametrize("head", STRIDES)
@pytest.mark.parametrize("number", range(len(BACKBONES)))
def test_every_head_on_every_kind_of_backbone(head, number):
    """At sizes that halve to odd ones: strides, the functional twin, names, and gradients."""
    height, width = 45, 60
    model = build(height, width, head=head, **BACKBONES[number])
    stride, x = STRIDES[head][number], images(height, width)
    outputs = model(x)
    maps = model.backbone(x)
    size = {maps.strides[name]: level.shape[:3] for name, level in maps.levels.items()}[stride]
    if head in ("unet", "lraspp"):
        assert outputs.shape == (*size, CLASSES)
    else:
        sizes = {"size": (*size, 2)} if head == "center" else {}
        expected = {"heat": (*size, CLASSES), "offset": (*size, 2)} | sizes
        assert {name: tuple(x.shape) for name, x in outputs.items()} == expected
    twin = functional.functional(model, (height, width, 3))
    for found, expected in zip(tensors(twin(x)), tensors(outputs), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert not any("TFOp" in type(layer).__name__ for layer in twin.layers)
    with tf.GradientTape() as tape:
        loss = sum(tf.reduce_mean(y**2) for y in tf.nest.flatten(model(x, training=True)))
    gradients = tape.gradient(loss, model.trainable_variables)
    assert all(gradient is not None for gradient in gradients)
    assert {id(v) for v in twin.variables} == {id(v) for v in model.variables}


@pytest.mark.parametrize("head", STRIDES)
def test_mixed_precision_gives_float32(head):
    model = build(
        45, 60, "mixed_bfloat16", arch="resnet18", width=0.125, stem="imagenet", head=head
    )
    x, twin = images(45, 60), functional.functional(model, (45, 60, 3))
    for found, expected in zip(tensors(twin(x)), tensors(model(x)), strict=True):
        assert expected.dtype == np.float32
        np.testing.assert_array_equal(found, expected)


def test_the_sizes_of_the_projects_networks(monkeypatch):
    """At most 3 M parameters for street scenes, 1 M for cells; decoders are the minor part."""
    monkeypatch.undo()
    street = ModelConfig(arch="resnet18", width=0.5, num_classes=11)
    unet, lraspp, linear = (
        zoo.cost(street.model_copy(update={"head": head}), (96, 128, 3))
        for head in ("unet", "lraspp", "linear")
    )
    assert 2.9e6 < unet[0] < 3e6
    assert linear[1] < lraspp[1] < 1.01 * linear[1]
    assert 1.1 * linear[1] < unet[1] < 1.25 * linear[1]
    cells = ModelConfig(arch="resnet18", width=0.25, num_classes=3, head="center")
    assert zoo.cost(cells, (96, 128, 3))[0] < 0.8e6


def test_multiply_adds_of_a_decoder_by_hand():
    """ResNet-8 has 64, 32 and 16 channels at 4 x 4, 8 x 8 and 16 x 16."""
    found = build(16, 16, arch="resnet8", head="unet")
    backbone = functional.macs(build(16, 16, arch="resnet8"), (16, 16, 3)) - 64 * CLASSES
    joins = 8 * 8 * 9 * (32 + 32) * 32 + 16 * 16 * 9 * (32 + 16) * 16
    expected = backbone + 4 * 4 * 64 * 32 + joins + 16 * 16 * 16 * CLASSES
    assert functional.macs(found, (16, 16, 3)) == expected


def test_other_sizes_than_those_it_was_built_for_do_not_pass_silently():
    """90 halves to 45, 23 and 12, so that one row is cut off on the way up; 96 does not."""
    model = build(90, 90, arch="resnet18", width=0.125, stem="imagenet", head="unet")
    with pytest.raises((ValueError, tf.errors.InvalidArgumentError)):
        model(images(96, 96))


def test_centers_are_unlikely_at_first():
    outputs = build(64, 64, arch="resnet8", head="center")(images(64, 64))
    np.testing.assert_allclose(tf.sigmoid(outputs["heat"]), 0.1, atol=0.05)
    np.testing.assert_allclose(outputs["offset"], 0.5, atol=0.3)


@pytest.mark.parametrize(
    ("make", "head", "expected"),
    [
        (heads.classification, "unet", "expected auto or linear for classification, got unet"),
        (heads.segmentation, "center", "expected auto or unet or lraspp for segmentation, got c"),
        (heads.detection, "linear", "got linear, which is for classification"),
    ],
)
def test_a_head_of_another_task_is_refused(make, head, expected):
    with pytest.raises(InputError, match=f"model.head: .*{expected}"):
        make(ModelConfig(head=head), CLASSES)


def test_a_classifier_refuses_the_head_of_another_task():
    task = tasks.of(OutputSpec("multi_label", ("a", "b")))
    with pytest.raises(InputError, match=r"model.head: expected auto or linear"):
        task.head(ModelConfig(head="points"), 2)


def test_auto_is_the_first_of_a_task():
    found = {task: options.head(ModelConfig(), task) for task in options.HEADS}
    assert found == {
        "classification": "linear", "multi_label": "linear", "segmentation": "unet",
        "detection": "center", "points": "points",
    }  # fmt: skip


DILATED = [
    {"arch": "resnet18", "width": 0.125},
    {"arch": "resnet50", "width": 0.125},
    {"arch": "resnet50", "width": 0.125, "variant": "v1"},
    {"arch": "resnet50v2", "width": 0.125},
    {"arch": "resnext50_32x4d", "width": 0.125, "pre_activation": True},
]


@pytest.mark.parametrize("config", DILATED, ids=lambda c: "-".join(map(str, c.values())))
@pytest.mark.parametrize("output_stride", [8, 16])
def test_a_dilated_backbone_computes_the_same_at_more_places(config, output_stride):
    """With the same weights: every second or fourth of its places is one of the strided network's.

    Chen et al. 2017 (arXiv:1706.05587); padding alike on all sides, so that the places agree. The
    sums are the same in another order: 5 of float32's 7 digits.
    """
    config = config | {"stem": "imagenet", "padding": "symmetric"}
    strided = build(64, 64, **config)
    dilated = build(64, 64, output_stride=output_stride, **config)
    dilated.set_weights(strided.get_weights())
    x = images(64, 64)
    expected, found = strided.backbone(x, False), dilated.backbone(x, False)
    strides = dict(zip(("stage1", "stage2", "stage3", "stage4"), (4, 8, 16, 32), strict=True))
    assert expected.strides == strides
    assert found.strides == {name: min(s, output_stride) for name, s in strides.items()}
    for name, level in [*found.levels.items(), ("stage4", found.last)]:
        same = expected.last if level is found.last else expected.levels[name]
        assert level.shape[1] == 64 // found.strides[name]
        step = strides[name] // found.strides[name]
        scale = float(tf.reduce_max(tf.abs(same)))
        np.testing.assert_allclose(level[:, ::step, ::step], same, atol=1e-5 * scale)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ({"arch": "densenet121", "output_stride": 8}, "expected 32, as densenet121 has no such"),
        ({"arch": "resnet20", "output_stride": 8}, "a stride of 4 only, got 8"),
        ({"arch": "resnet18", "stem": "cifar", "output_stride": 16}, "a stride of 8 only, got 16"),
    ],
)
def test_an_output_stride_that_a_network_has_not_is_refused(config, expected):
    with pytest.raises(InputError, match=f"model.output_stride: .*{expected}"):
        build(32, 32, **config)


def test_a_small_network_with_the_imagenet_stem_is_dilated():
    maps = build(64, 64, arch="resnet20", stem="imagenet", output_stride=8).backbone(images(64, 64))
    assert maps.strides == {"stage1": 4, "stage2": 8, "stage3": 8}
    assert maps.last.shape[1] == 8


def test_dropout_of_a_head_is_the_configured_one():
    for head in ("unet", "lraspp"):
        model = build(32, 32, arch="resnet8", head=head, dropout=0.25)
        rates = [x.rate for x in model.submodules if isinstance(x, keras.layers.Dropout)]
        assert rates == [0.25]
