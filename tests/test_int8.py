"""Integer files: right on every processor, and probabilities as fine as the float file's."""

import functools
from unittest import mock

import numpy as np
import onnx
import pytest
import tensorflow as tf
import tf_keras

from tfresnet.config.formats import TFLITE
from tfresnet.deploy.formats import (
    gptq,
    graph,
    onnx_format,
    onnx_graph,
    onnx_int8,
    recipes,
    tflite,
    wrap,
)
from tfresnet.deploy.formats.base import Source
from tfresnet.models.network import LinearHead
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.tasks.classification import Classification

CLASSES = 300
SPEC, OUTPUT = InputSpec(16, 16), OutputSpec("classification", tuple(map(str, range(CLASSES))))
INTEGER = [kind.name for kind in TFLITE.quantizations if kind.integer]


@pytest.fixture(scope="module")
def many(tiny_run):
    """A network of 300 classes, calibration images, others, their probabilities and classes.

    Its head knows each class by the embedding of an image. The classes are drawn from the
    probabilities: no other answers have a lower expected loss.
    """
    rng = np.random.default_rng(0)
    data, model = tiny_run.dataset(), tiny_run.model()
    images = data.held_out.images[:300]
    normalised = tf.constant((images.astype(np.float32) - 128) / 128)
    embeddings = model.features(normalised).embedding.numpy()
    mean = embeddings.mean(axis=0)
    directions = (embeddings - mean).T
    directions /= ((embeddings - mean) @ directions).std() / 2  # logits of -6 to 6
    model.head = LinearHead(CLASSES)
    model.trunk[-1] = model.head.dense  # what holds the variables
    model.head.dense.build(embeddings.shape)
    model.head.dense.set_weights([directions, -mean @ directions])
    probabilities = tf.nn.softmax(model(normalised, training=False)).numpy()
    drawn = (probabilities.astype(np.float64).cumsum(1) < rng.random((len(images), 1))).sum(1)
    calibration = data.train.images[:30]
    some = slice(100)  # TFLite's kernels for int16 are slow
    return model, calibration, images[some], probabilities[some], drawn.clip(0, CLASSES - 1)[some]


@pytest.fixture(scope="module")
def file(many):
    """A function from what is wanted to a file of that network; each is made once."""
    model, calibration, *_ = many

    @functools.cache
    def made(kind, interface="uint8", integer_softmax=False):
        return tflite.convert(
            model, SPEC, OUTPUT, kind, calibration, interface, None, integer_softmax=integer_softmax
        )

    @functools.cache
    def made_onnx(kind):
        if kind == "trained":  # as for networks that were trained with fake quantization
            content = made("int8", "float", integer_softmax=True)
            source = Source(model, SPEC, OUTPUT, calibration)
            return onnx_format.from_int8_tflite(content, source, "uint8", "nhwc")
        return onnx_format.convert(model, SPEC, OUTPUT, kind, calibration)

    def file(kind, *how, **more):
        form, _, inside = kind.rpartition(" ")
        return made_onnx(inside) if form else made(kind, *how, **more)

    return file


def opened(content, folder):
    path = folder / ("m.tflite" if content[4:8] == b"TFL3" else "m.onnx")
    path.write_bytes(content)
    return open_model(path)


@pytest.mark.parametrize("kind", [*INTEGER, "onnx int8", "onnx trained"])
def test_unlikely_classes_keep_their_probabilities(many, file, tmp_path, kind):
    """Each of 300 classes has about 1/300, less than a step of an integer softmax."""
    _, _, images, expected, classes = many
    answers = opened(file(kind), tmp_path).run(images)
    np.testing.assert_allclose(answers.sum(axis=1), 1, atol=1e-5)  # float32
    assert answers.min() > 0
    if "int4" in kind:  # 4 bits change the answers of a network of two epochs
        return
    output = OutputSpec("classification", tuple(map(str, range(CLASSES))))
    found, exact = Classification(output).metrics(), Classification(output).metrics()
    found.update(answers, classes)
    exact.update(expected, classes)
    found, exact = found.scores(), exact.scores()
    assert found["loss"] == pytest.approx(exact["loss"], rel=0.05)
    assert found["top5"] == pytest.approx(exact["top5"], abs=0.05)  # 5 of 100 images


@pytest.mark.parametrize("kind", ["int8", "int16x8", "int4_mixed"])
def test_integers_reach_as_far_as_the_logits(file, kind):
    *_, dense, dequantize, softmax = graph.operations(file(kind))
    assert [o.name for o in (dense, dequantize, softmax)] == [
        "FULLY_CONNECTED", "DEQUANTIZE", "SOFTMAX"
    ]  # fmt: skip
    assert dense.types == {"INT16", "INT8", "INT64"}  # activations, weights, bias


def test_with_float_inputs_too(many, file, tmp_path):
    *_, images, _, _ = many
    centred = opened(file("int8", "float"), tmp_path)
    assert centred.input_dtype == np.float32
    answers = centred.run(images)
    np.testing.assert_array_equal(answers, opened(file("int8"), tmp_path).run(images))


def test_with_an_integer_interface_the_softmax_is_integer_too(file):
    *_, softmax = graph.operations(file("int8", "integer"))
    assert softmax.name == "SOFTMAX"
    assert softmax.types == {"INT8"}


def test_logits_beyond_the_calibrated_range_are_not_cut_off(file):
    scales = {}
    wide, narrow = file("int8", "float"), file("int8", "float", integer_softmax=True)
    for integer, content in ((False, wide), (True, narrow)):
        dense = next(o for o in graph.operations(content) if o.name == "FULLY_CONNECTED")
        tensors = graph.read(content).subgraphs[0].tensors
        (logits,) = [t for t in tensors if t.name.decode() == dense.outputs[0]]
        scales[integer] = float(logits.quantization.scale[0])
    # Four times the range; 8 bits have at least 128 steps on the longer side of 0.
    assert 32767 * scales[False] >= 4 * 127 * scales[True]
    assert scales[False] < scales[True] / 30  # and are finer for all that


def test_a_head_in_float_has_no_integers_behind_it(many, file, tmp_path):
    model, calibration, images, *_ = many
    source = file("float32", "float")
    (head,) = [o.outputs[0] for o in graph.operations(source) if o.name == "FULLY_CONNECTED"]
    recipe = recipes.Recipe(keep_float=(head,))
    network = Source(model, SPEC, OUTPUT, calibration)
    content = tflite.with_integer_activations(network, recipe)
    *_, dense, softmax = graph.operations(content)
    assert (dense.name, softmax.name) == ("FULLY_CONNECTED", "SOFTMAX")
    assert [o.split()[0] for o in graph.float_operations(content)] == [
        "DEQUANTIZE", "FULLY_CONNECTED"
    ]  # fmt: skip
    np.testing.assert_allclose(opened(content, tmp_path).run(images).sum(axis=1), 1, atol=1e-5)


def test_a_head_may_have_no_bias(tmp_path):
    rng = np.random.default_rng(0)
    layers = [tf_keras.layers.GlobalAveragePooling2D(), tf_keras.layers.Dense(10, use_bias=False)]
    model = tf_keras.Sequential([tf_keras.Input((16, 16, 3)), *layers])
    images = rng.integers(0, 256, (40, 1, 1, 3), np.uint8).repeat(16, axis=1).repeat(16, axis=2)
    output = OutputSpec("classification", tuple("abcdefghij"))
    content = tflite.convert(model, SPEC, output, "int8", images)
    expected = tf.nn.softmax(model((images.astype(np.float32) - 128) / 128))
    answers = opened(content, tmp_path).run(images)
    # Weights and inputs of 8 bits: logits below 3 err by less than 0.05.
    np.testing.assert_allclose(answers, expected, rtol=0.05)


@pytest.mark.parametrize("kind", INTEGER)
def test_float_softmax_is_allowed_in_integer_files(file, kind):
    names = {o.split()[0] for o in graph.float_operations(file(kind))}
    assert not names & {"CONV_2D", "FULLY_CONNECTED", "SOFTMAX"}


def test_float_layers_are_found(file):
    names = {o.split()[0] for o in graph.float_operations(file("float32", "float"))}
    assert names >= {"CONV_2D", "FULLY_CONNECTED"}


def kernels(content: bytes) -> list[np.ndarray]:
    """The stored weights, int [n], of all convolutions and products of an ONNX file."""
    proto = onnx.load_model_from_string(content)
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    made = {n.output[0]: n for n in proto.graph.node}
    nodes = [n for n in proto.graph.node if n.op_type in ("Conv", "MatMul", "Gemm")]
    assert len(nodes) == 10
    return [stored[made[n.input[1]].input[0]].astype(int).reshape(-1) for n in nodes]


def saturates(weights: np.ndarray) -> bool:
    """Whether uint8 activations can make two products exceed 16 bits, as vpmaddubsw adds them.

    Which two weights meet depends on the kernel: any two may.
    """
    positive, negative = np.sort(weights)[-2:], np.sort(weights)[:2]
    return bool(255 * positive.sum() > 32767 or 255 * negative.sum() < -32768)


@pytest.mark.parametrize("kind", ["onnx int8", "onnx trained"])
def test_no_processor_cuts_off_sums_of_an_onnx_file(file, kind):
    found = kernels(file(kind))
    assert not any(map(saturates, found))
    assert max(np.abs(weights).max() for weights in found) == 64  # all of the range is used


def test_eight_bits_would_be_cut_off(many):
    """What the test above looks for is there in onnxruntime's usual files."""
    model, calibration, *_ = many
    function = wrap.from_centered_pixels(model, SPEC, OUTPUT, None)
    proto = onnx_graph.simplified(onnx_format._translate(function, 18, channels_first=True))
    proto = onnx_int8.quantize(proto, calibration, nearest=True, reduce_range=False)
    assert all(map(saturates, kernels(proto.SerializeToString())))


def test_a_rounded_kernel_keeps_its_bias(file):
    """onnxruntime adds the stored bias to the products: its scale must be theirs."""
    proto = onnx.load_model_from_string(file("onnx trained"))
    stored = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    made = {n.output[0]: n for n in proto.graph.node}
    added = {n.input[0]: n.input[1] for n in proto.graph.node if n.op_type == "Add"}
    for node in proto.graph.node:
        if node.op_type in ("Conv", "MatMul"):
            names = [
                *node.input[:2],
                node.input[2] if len(node.input) > 2 else added[node.output[0]],
            ]
            inputs, weights, bias = (stored[made[name].input[1]] for name in names)
            np.testing.assert_allclose(bias, inputs * weights, rtol=1e-5)  # float32


def test_a_file_of_eight_bits_is_opened_too(many, file, tmp_path):
    """Of others: onnxruntime fails on some with the option that mends them."""
    model, calibration, images, *_ = many
    scales = file("int8", "float", integer_softmax=True)
    with mock.patch.object(onnx_int8, "fit_in_seven_bits"):
        content = onnx_format.from_int8_tflite(
            scales, Source(model, SPEC, OUTPUT, calibration), "uint8", "nhwc"
        )
    assert any(map(saturates, kernels(content)))
    assert opened(content, tmp_path).run(images[:3]).shape == (3, CLASSES)


@pytest.mark.parametrize("kind", ["onnx float32", "onnx float16", "onnx int8", "onnx trained"])
def test_onnx_names_say_what_they_are(file, kind):
    proto = onnx.load_model_from_string(file(kind))
    (entry,), (answer,) = proto.graph.input, proto.graph.output
    assert (entry.name, answer.name) == ("image", "probabilities")
    for value, rest in ((entry, [16, 16, 3]), (answer, [CLASSES])):
        batch, *others = value.type.tensor_type.shape.dim
        assert (batch.dim_param, [d.dim_value for d in others]) == ("batch", rest)


def test_rounding_makes_up_for_what_it_loses():
    """Of inputs that go together, by the error of the outputs."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)) @ rng.normal(size=(4, 40)) + 0.1 * rng.normal(size=(500, 40))
    weights = rng.uniform(-64, 64, (8, 40))
    nearest, found = np.round(weights), gptq.round_weights(weights, x.T @ x, 64)
    assert set(found.reshape(-1)) <= set(range(-64, 65))
    before, after = (np.square(x @ (w - weights).T).mean() for w in (nearest, found))
    assert after < 0.3 * before
    assert np.abs(found - weights).max() < 4
    # Inputs that have nothing to do with each other have nothing to make up for.
    alone = gptq.round_weights(weights, np.diag(rng.uniform(1, 2, 40)), 64)
    np.testing.assert_array_equal(alone, nearest)
    np.testing.assert_array_equal(gptq.round_weights(weights, np.zeros((40, 40)), 64), nearest)


@pytest.mark.parametrize(("strides", "dilations"), [([2, 1], [1, 1]), ([1, 1], [1, 2])])
def test_the_inputs_of_a_convolution_give_its_outputs(monkeypatch, strides, dilations):
    rng = np.random.default_rng(0)
    kernel, values = rng.normal(size=(5, 3, 3, 2)), rng.normal(size=(3, 9, 8))
    sizes = {"strides": strides, "pads": [1, 0, 0, 1], "dilations": dilations}
    node = onnx.helper.make_node("Conv", ["x", "k"], ["y"], **sizes)
    stored = onnx.numpy_helper.from_array(kernel.astype(np.float32), "k")
    monkeypatch.setattr(gptq, "POSITIONS", 10**6)
    rows = gptq._rows(gptq.Layer(node, stored, np.ones(5), 0), values, rng)
    padded = np.pad(values, ((0, 0), (1, 0), (0, 1))).transpose(1, 2, 0)[None]
    filters = kernel.transpose(2, 3, 1, 0)
    expected = tf.nn.convolution(padded, filters, strides, "VALID", dilations=dilations)
    found, places = rows @ kernel.reshape(5, -1).T, tf.reshape(expected, [-1, 5])
    np.testing.assert_allclose(np.sort(found, axis=0), np.sort(places, axis=0))
