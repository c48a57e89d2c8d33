"""Every architecture x (checkpoint, functional twin, TFLite, ONNX, tfmot); two replicas."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.conftest import with_slow
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import ArraySplit
from tfresnet.deploy.compress import qat
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.standalone_norms import without_standalone_norms
from tfresnet.deploy.formats import graph, onnx_format, onnx_graph, tflite, wrap
from tfresnet.models import functional, zoo
from tfresnet.runs import run_directory
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.training import checkpoint
from tfresnet.training.loop import Trainer

SPEC, OUTPUT = InputSpec(32, 32), OutputSpec("classification", tuple("abcdefghij"))
# A row of each kind. The nets are cut to two stages of a block each and a quarter of the width, for
# the sake of time.
VARIANTS = [
    ModelConfig(arch="resnet8"),
    ModelConfig(arch="wrn28_10", block_dropout=0.3),
    ModelConfig(arch="resnet50", stem="imagenet", variant="d"),
    ModelConfig(arch="resnext50_32x4d", stem="imagenet"),
    ModelConfig(arch="resnet18", attention="se"),
    ModelConfig(arch="resnet18", attention="eca", stochastic_depth=0.2),
    ModelConfig(arch="resnet50v2", stem="imagenet"),
    ModelConfig(arch="pyramidnet110_a48", stochastic_depth=0.2),
    ModelConfig(arch="resnet9", stem="whitened"),
    ModelConfig(arch="densenet121", stem="imagenet", padding="symmetric"),
    ModelConfig(arch="efficientnet_b0", stochastic_depth=0.2),
]
# Each has blocks of a kind above, in another combination or with another option.
COMBINATIONS = [
    ModelConfig(arch="resnet50", stem="imagenet", padding="symmetric", dropout=0.2),
    ModelConfig(arch="resnet18", stem="cifar", zero_gamma=True),
    ModelConfig(arch="resnet20"),
    ModelConfig(arch="resnet20", pre_activation=True),
    ModelConfig(arch="resnet164"),
    ModelConfig(arch="resnext29_8x64d"),
    ModelConfig(arch="resnet34", stem="imagenet"),
    ModelConfig(arch="resnet50", stem="imagenet", variant="v1"),
    ModelConfig(arch="resnet50", stem="imagenet", pre_activation=True),
    ModelConfig(arch="pyramidnet110_a84", attention="se"),
    ModelConfig(arch="densenet_bc100_12", dropout=0.2),
    ModelConfig(arch="efficientnet_b3", stem="imagenet", padding="symmetric", zero_gamma=True),
]
# What a replica sees are batch norms and gradients: with strides, stems or depth it has nothing to
# do. The first is enough to find a reduction that is wrong; the others have layers of other kinds.
REPLICATED = [ModelConfig(arch="resnet20"), ModelConfig(arch="resnet18", attention="eca")]
REPLICATED_SLOWLY = [
    ModelConfig(arch="resnet50", stem="imagenet", padding="symmetric"),
    ModelConfig(arch="resnext50_32x4d", stem="imagenet"),
    ModelConfig(arch="resnet50v2", stem="imagenet"),
    ModelConfig(arch="pyramidnet110_a84", attention="se"),
    ModelConfig(arch="densenet_bc100_12"),
    ModelConfig(arch="efficientnet_b3", stem="imagenet", padding="symmetric", zero_gamma=True),
]


# What is left of a row; two blocks where what matters lies between them.
CUTS = {
    "resnet": lambda row: {"depths": (1, 1), "widths": row.widths[:2]},
    "resnet_v2": lambda row: {"depths": (2, 1), "widths": row.widths[:2]},
    "pyramidnet": lambda row: {"depths": (1, 1)},
    "resnet9": lambda row: {"widths": row.widths[:2], "residual": row.residual[:2]},
    "densenet": lambda row: {"depths": (2, 1)},
    "efficientnet": lambda row: {"depth": 1.0, "stages": row.stages[:2]},
}


def name_of(config: ModelConfig) -> str:
    changed = config.model_dump(exclude_defaults=True)
    return "-".join(str(value) for value in changed.values())


@pytest.fixture(scope="module", params=with_slow(VARIANTS, COMBINATIONS), ids=name_of)
def config(request):
    row = zoo.architecture(request.param.arch)
    short = dataclasses.replace(row, **CUTS[row.family](row))
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.ARCHITECTURES, request.param.arch, short)
        yield request.param.model_copy(update={"width": 0.25})


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (8, *SPEC.shape), np.uint8)


@pytest.fixture(scope="module")
def model(config, pixels):
    """A model whose batch-norm statistics are not the initial ones."""
    tf.keras.utils.set_random_seed(1)
    model = zoo.build(config, SPEC.shape, len(OUTPUT.labels))
    for _ in range(10):
        model(normalised(pixels), training=True)
    return model


def without_chance(config: ModelConfig) -> ModelConfig:
    return config.model_copy(update={"dropout": 0.0, "block_dropout": 0.0, "stochastic_depth": 0.0})


def normalised(pixels: np.ndarray) -> tf.Tensor:
    return (tf.cast(pixels, tf.float32) - 128) / 128


def probabilities(model, pixels) -> np.ndarray:
    return tf.nn.softmax(model(normalised(pixels), training=False)).numpy()


def test_logits_loss_and_gradients_are_finite(model, config, pixels):
    with tf.GradientTape() as tape:
        logits = model(normalised(pixels), training=True)
        loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits([3] * 8, logits))
    assert logits.shape == (8, 10)
    assert logits.dtype == tf.float32
    gradients = tape.gradient(loss, model.trainable_variables)
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert np.isfinite(gradient).all(), variable.name
        # A block that starts as the identity lets no gradient into its branch at first.
        assert config.zero_gamma or np.abs(gradient).max() > 0, variable.name


def test_a_checkpoint_brings_every_weight_back(model, config, tmp_path):
    step = tf.Variable(3, dtype=tf.int64)
    tf.train.CheckpointManager(
        tf.train.Checkpoint(model=model, step=step), str(tmp_path), 1, step_counter=step
    ).save()
    fresh = zoo.build(config, SPEC.shape, len(OUTPUT.labels))
    assert run_directory.weights_sha256(fresh) != run_directory.weights_sha256(model)
    assert checkpoint.load_weights(tmp_path, fresh) == 3
    assert run_directory.weights_sha256(fresh) == run_directory.weights_sha256(model)


def test_the_functional_twin_shares_variables_and_answers(model, config, pixels):
    twin = functional.functional(model, SPEC.shape)
    # The twin lists a shortcut's layers elsewhere than the model does, but they are the same.
    assert {id(v) for v in twin.variables} == {id(v) for v in model.variables}
    x = normalised(pixels)
    np.testing.assert_array_equal(twin(x, training=False), model(x, training=False))
    if without_chance(config) == config:
        np.testing.assert_array_equal(twin(x, training=True), model(x, training=True))


def test_tfmot_accepts_the_network_or_the_reason_is_given(model, config, pixels):
    if config.attention == "eca":
        reason = f"got {config.arch}, whose .* it refuses: .*the convolution of eca"
        with pytest.raises(InputError, match=reason):
            qat.quantization_aware(FunctionalNetwork.of(model, SPEC.shape))
        return
    twin = functional.functional(model, SPEC.shape)
    plain = without_standalone_norms(twin)
    x = normalised(pixels)
    # One multiplication and one addition instead of a norm's four operations.
    np.testing.assert_allclose(plain(x), twin(x), rtol=1e-3, atol=1e-4)
    aware = qat.quantization_aware(FunctionalNetwork.of(model, SPEC.shape))
    assert any(layer.name.startswith("quant_") for layer in aware.layers)
    others = (keras.layers.AveragePooling2D, keras.layers.Multiply)
    if plain is not twin or any(
        isinstance(layer, others) for layer in twin.layers
    ):  # what tfmot can't do by itself must be integer too
        aware(x, training=True)  # sets ranges
        content = tflite.convert(aware, SPEC, OUTPUT, "int8", pixels)
        assert graph.float_operations(content) == []


def test_features_are_what_the_head_classifies(model, config, pixels):
    """The embedding under the head is the logits; the pyramid halves from level to level."""
    x = normalised(pixels)
    pyramid, embedding = model.features(x)
    np.testing.assert_array_equal(model.classify(embedding), model(x, training=False))
    sizes = [level.shape[1] for level in pyramid]
    assert sizes == [sizes[0] // 2**i for i in range(len(sizes))]
    assert embedding.shape == (8, model.head.dense.kernel.shape[0])
    if without_chance(config) == config:
        trained = model.features(x, training=True)
        assert np.abs(trained.embedding - embedding).max() > 0  # the batch's own statistics


def one_step(config: ModelConfig, devices: int, pixels: np.ndarray, directory: Path) -> dict:
    """Return how one training step of 8 images, shared out over ``devices``, moves each weight."""
    split = ArraySplit(pixels, np.arange(len(pixels)))
    run_config = RunConfig.model_validate(
        {
            "model": config.model_dump(),
            "data": {"crop_padding": 0, "flip": False},
            "train": {
                "batch_size": 8, "epochs": 1, "warmup_epochs": 0.0, "lr": 0.01,
                "strategy": "mirrored", "devices": devices,
            },
        }
    )  # fmt: skip
    trainer = Trainer(
        run_config,
        Dataset(split, split, SPEC, OUTPUT),
        directory,
        # In float64: in float32 another order of summation flips a few ReLUs of ResNet-18.
        lambda: zoo.build(config, SPEC.shape, len(OUTPUT.labels), precision="float64"),
    )
    # The second half of the batch repeats the first: then the batch norms, which look at one
    # replica's share only, see the same statistics on one device as on two.
    half, labels = normalised(pixels[:4]), tf.one_hot(range(4), 10)
    images = tf.data.Dataset.from_tensors(
        (tf.concat([half, half], 0), tf.concat([labels, labels], 0))
    )
    batches = iter(trainer.strategy.experimental_distribute_dataset(images.unbatch().batch(8)))
    before = {v.name: v.numpy() for v in trainer.model.variables}
    trainer.train_steps(batches, tf.constant(1))
    return {v.name: v.numpy() - before[v.name] for v in trainer.model.variables}


@pytest.mark.parametrize(
    "config", with_slow(REPLICATED, REPLICATED_SLOWLY), indirect=True, ids=name_of, scope="module"
)
def test_two_replicas_equal_one(config, pixels, tmp_path):
    one, two = (one_step(config, n, pixels, tmp_path / str(n)) for n in (1, 2))
    for name in one:
        # The statistics' variance is n / (n - 1) of the batch's, with n the replica's own share.
        if not name.endswith("moving_variance:0"):
            difference = np.linalg.norm(one[name] - two[name])
            # The head and the loss are float32. What does not move at all (zero-gamma) may not.
            # And what must be 0, such as a shift that the next norm takes out, is 1e-18.
            assert difference <= 1e-5 * np.linalg.norm(one[name]) + 1e-15, name


def run_file(content: bytes, path: Path, pixels: np.ndarray) -> np.ndarray:
    path.write_bytes(content)
    return open_model(path).run(pixels)


def test_float_tflite_and_onnx_agree_with_the_model(model, pixels, tmp_path):
    expected = probabilities(model, pixels)
    lite = run_file(tflite.convert(model, SPEC, OUTPUT, "float32"), tmp_path / "m.tflite", pixels)
    other = run_file(onnx_format.convert(model, SPEC, OUTPUT), tmp_path / "m.onnx", pixels)
    np.testing.assert_allclose(lite, expected, atol=1e-5)  # float32, other summation order
    np.testing.assert_allclose(other, expected, atol=1e-5)


def test_int8_tflite_is_integer_throughout_and_agrees(model, pixels, tmp_path):
    content = tflite.convert(model, SPEC, OUTPUT, "int8", calibration=pixels)
    assert graph.float_operations(content) == []
    assert graph.input_quantization(content) == (0.0078125, 128)
    answers = run_file(content, tmp_path / "m.tflite", pixels)
    # An untrained net is unsure, so its probabilities are close to each other; 8-bit logits
    # move them by a few hundredths. A wrong scale anywhere moves them by tenths.
    assert np.abs(answers - probabilities(model, pixels)).max() < 0.15


def test_int8_onnx_is_quantised_throughout_and_agrees(model, pixels, tmp_path):
    content = onnx_format.convert(model, SPEC, OUTPUT, "int8", pixels, layout="nchw")
    proto = onnx.load_model_from_string(content)
    assert onnx_graph.not_quantized(proto) == []
    # The mean over pixels of ECA is convolved along the channels: there, and back.
    attention = sum(n.op_type == "Sigmoid" for n in proto.graph.node)
    assert onnx_graph.transposes(proto) <= 2 * attention
    answers = run_file(content, tmp_path / "m.onnx", pixels)
    assert np.abs(answers - probabilities(model, pixels)).max() < 0.15  # as in TFLite


def test_mixed_precision_has_the_same_variables(config, model, pixels):
    mixed = zoo.build(config, SPEC.shape, len(OUTPUT.labels), precision="mixed_bfloat16")
    assert all(v.dtype == tf.float32 for v in mixed.variables)
    computed = {layer.compute_dtype for layer in functional.functional(mixed, SPEC.shape).layers}
    assert computed == {"bfloat16", "float32"}  # float32: the head
    mixed.set_weights(model.get_weights())
    # bfloat16 keeps 8 bits: relative error 2^-8 a layer, some 20 layers
    assert np.abs(probabilities(mixed, pixels) - probabilities(model, pixels)).max() < 0.1


def test_another_normalisation_is_baked_in(pixels, tmp_path):
    """Per-channel mean and std, as imported ImageNet weights have them, also in int8."""
    spec = InputSpec(32, 32, (123.7, 116.3, 103.5), (58.4, 57.1, 57.4))
    model = zoo.build(ModelConfig(arch="resnet8"), spec.shape, 10)
    for _ in range(10):
        model((tf.cast(pixels, tf.float32) - spec.mean) / spec.std, training=True)
    expected = wrap.from_pixels(model, spec, OUTPUT, None)(pixels).numpy()
    centred = wrap.from_centered_pixels(model, spec, OUTPUT, None)(normalised(pixels)).numpy()
    np.testing.assert_allclose(centred, expected, atol=1e-5)
    content = tflite.convert(model, spec, OUTPUT, "int8", calibration=pixels)
    assert graph.float_operations(content) == []
    assert graph.input_quantization(content) == (0.0078125, 128)
    assert np.abs(run_file(content, tmp_path / "m.tflite", pixels) - expected).max() < 0.15


def test_a_layer_that_stays_in_float_is_found(pixels):
    """The converter can leave a layer in float and say nothing; reading the file back tells."""
    model = zoo.build(ModelConfig(arch="resnet8"), SPEC.shape, 10)
    found = graph.float_operations(tflite.convert(model, SPEC, OUTPUT, "dynamic"))
    assert sum(name.startswith("CONV_2D") for name in found) == 9


def test_zero_gamma_is_integer_too(pixels, tmp_path):
    """A gamma of exactly 0 folds into a convolution of zeros, which has no scale of its own."""
    model = zoo.build(ModelConfig(arch="resnet8", zero_gamma=True), SPEC.shape, 10)
    content = tflite.convert(model, SPEC, OUTPUT, "int8", calibration=pixels)
    assert graph.float_operations(content) == []
    answers = run_file(content, tmp_path / "m.tflite", pixels)
    assert np.abs(answers - probabilities(model, pixels)).max() < 0.15
