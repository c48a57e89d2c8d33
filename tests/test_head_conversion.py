"""Networks for pixels and boxes are compressed and converted with integers throughout."""

import dataclasses

import numpy as np
import onnx
import onnxruntime
import pytest
import tensorflow as tf
import tf_keras as keras
from ai_edge_litert.interpreter import Interpreter

from tfresnet.config.sections import ModelConfig
from tfresnet.deploy.compress import cluster, fold, prune, qat, ranges
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.formats import graph, onnx_format, onnx_graph, tflite, wrap
from tfresnet.deploy.formats.base import Source
from tfresnet.models import zoo
from tfresnet.runtime.backends import centered
from tfresnet.runtime.spec import InputSpec, OutputSpec

SPEC = InputSpec(48, 60, fit="stretch")  # 60 halves to 15, 8 and 4: 16 is cropped
OUTPUT = OutputSpec("segmentation", tuple("abcde"))
NETWORKS = [
    {"arch": "resnet18", "head": "unet", "output_stride": 8},
    {"arch": "resnet18", "head": "lraspp"},
]
NETWORKS_SLOWLY = [
    {"arch": "resnet18", "head": "unet"},
    {"arch": "densenet121", "head": "unet"},
    {"arch": "efficientnet_b0", "head": "lraspp"},
]
# Eight bits leave 0.02 to 0.15 of the mean size of the logits of an untrained network; wrong ranges
# of the weights give 0.4 and more.
NEAR = 0.25
# So the best class changes where two are about equal: 1 to 4 % of the places; 80 % by chance.
SAME = 0.9


@pytest.fixture(scope="module", autouse=True)
def short_networks():
    """A block in each of three or four stages."""
    with pytest.MonkeyPatch.context() as patch:
        row = zoo.architecture("resnet18")
        row = dataclasses.replace(row, depths=(1, 1, 1), widths=row.widths[:3])
        patch.setitem(zoo.ARCHITECTURES, "resnet18", row)
        row = dataclasses.replace(zoo.architecture("densenet121"), depths=(1, 1, 1, 1))
        patch.setitem(zoo.ARCHITECTURES, "densenet121", row)
        row = dataclasses.replace(zoo.architecture("efficientnet_b0"), depth=0.25)
        patch.setitem(zoo.ARCHITECTURES, "efficientnet_b0", row)
        yield


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, *SPEC.shape), np.uint8)


def built(pixels: np.ndarray, **config) -> keras.Model:
    """A narrow network whose norms and biases are not the initial ones."""
    keras.utils.set_random_seed(1)
    width = 0.25 if config["arch"] == "densenet121" else 0.125
    model = zoo.build(
        ModelConfig(width=width, stem="imagenet", **config), SPEC.shape, len(OUTPUT.labels)
    )
    for _ in range(10):
        model(centered(pixels), training=True)
    for layer in model.submodules:
        if getattr(layer, "use_bias", False):
            layer.bias.assign_add(tf.random.normal(layer.bias.shape, stddev=0.05))
    return model


def slowly(params: list) -> list:
    return [pytest.param(param, marks=pytest.mark.slow) for param in params]


@pytest.fixture(
    scope="module",
    params=[*NETWORKS, *slowly(NETWORKS_SLOWLY)],
    ids=lambda config: "-".join(map(str, config.values())),
)
def segmenter(request, pixels):
    return built(pixels, **request.param)


def class_map(model: keras.Model, pixels: np.ndarray) -> np.ndarray:
    """The class of every pixel, uint8 [n, H, W]: the largest of the upsampled logits."""
    logits = tf.image.resize(model(centered(pixels), training=False), SPEC.shape[:2])
    return np.argmax(logits, -1).astype(np.uint8)


def run_tflite(content: bytes, pixels: np.ndarray) -> list[np.ndarray]:
    """The outputs of a file for uint8 images, in their order."""
    interpreter = Interpreter(model_content=content)
    interpreter.allocate_tensors()
    (entry,), outputs = interpreter.get_input_details(), interpreter.get_output_details()
    found = []
    for image in pixels:
        interpreter.set_tensor(entry["index"], image[None])
        interpreter.invoke()
        found.append([interpreter.get_tensor(o["index"])[0] for o in outputs])
    return [np.stack(values) for values in zip(*found, strict=True)]


def run_onnx(content: bytes, pixels: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(content, providers=["CPUExecutionProvider"])
    return np.concatenate([session.run(None, {"image": image[None]})[0] for image in pixels])


def aware_of(model: keras.Model, pixels: np.ndarray, **kept) -> tuple[keras.Model, keras.Model]:
    """A network with fake quantization after a step of training, and itself without it."""
    network = FunctionalNetwork.of(model, SPEC.shape)
    aware = qat.quantization_aware(network, **kept)
    images = centered(pixels)
    ranges.observe(aware, images)
    aware(images, training=True)  # sets the ranges of weights
    ranges.set_input_range(aware, SPEC)
    return aware, qat.without_fake_quantization(aware, network).model


def near(found: np.ndarray, expected: np.ndarray) -> bool:
    return np.abs(found - expected).mean() < NEAR * np.abs(expected).mean()


def test_every_operation_of_a_tflite_file_is_integer(segmenter, pixels):
    """By TensorFlow's converter and by litert-quantizer, up to the arg max."""
    own = tflite.with_integer_activations(
        Source(segmenter, SPEC, OUTPUT, pixels), tflite.recipes.Recipe()
    )
    for content in (own, tflite.convert(segmenter, SPEC, OUTPUT, "int8", pixels)):
        assert graph.float_operations(content) == []
        (decision,) = [o for o in graph.operations(content) if o.name == "ARG_MAX"]
        assert "INT8" in decision.types
        assert not any(o.name == "DEQUANTIZE" for o in graph.operations(content))
        (found,) = run_tflite(content, pixels)
        assert (found == class_map(segmenter, pixels)).mean() > SAME


def test_first_and_last_layers_keep_eight_bits(segmenter, pixels):
    """Those that give the logits are the last convolutions; LR-ASPP has two."""
    content = tflite.convert(segmenter, SPEC, OUTPUT, "int4_mixed", pixels)
    four = [o for o in graph.operations(content) if o.name == "CONV_2D"]
    assert "INT4" not in four[0].types
    network = FunctionalNetwork.of(segmenter, SPEC.shape)
    others = [x for x in network.model.layers if type(x) is keras.layers.Conv2D]
    assert sum("INT4" in o.types for o in four) == len(others) - 1 - len(network.head)


INTEGER = {"Conv", "Add", "Mul", "Concat", "Resize", "Slice", "Pad", "GlobalAveragePool"}


def not_between_quantized(content: bytes) -> list[str]:
    """The nodes of these types that read or give numbers that are not quantized."""
    proto = onnx.load_from_string(content)
    made = {name: node for node in proto.graph.node for name in node.output}
    readers = [node for node in proto.graph.node if node.op_type == "QuantizeLinear"]
    quantized = {node.input[0] for node in readers}
    activations = {n.output[0] for n in proto.graph.node if n.op_type == "Relu"}
    ends = {node.input[0] for node in proto.graph.node if node.output[0] in quantized & activations}
    return [
        node.name
        for node in proto.graph.node
        if node.op_type in INTEGER
        and not (
            made[node.input[0]].op_type == "DequantizeLinear" and node.output[0] in quantized | ends
        )
    ]


def test_every_operation_of_an_onnx_file_is_between_quantized_numbers(segmenter, pixels):
    content = onnx_format.convert(segmenter, SPEC, OUTPUT, "int8", pixels)
    assert onnx_graph.not_quantized(onnx.load_from_string(content)) == []
    assert not_between_quantized(content) == []
    assert (run_onnx(content, pixels) == class_map(segmenter, pixels)).mean() > SAME


def test_trained_for_int8_every_operation_is_integer(segmenter, pixels):
    """Products and upsampling too; the ONNX file has the same scales."""
    aware, plain = aware_of(segmenter, pixels)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(aware(centered(pixels), training=True) ** 2)
    trained = aware.trainable_variables
    assert all(g is not None for g in tape.gradient(loss, trained))
    content = tflite.convert(aware, SPEC, OUTPUT, "int8", pixels)
    assert graph.float_operations(content) == []
    expected = class_map(aware, pixels)
    assert (run_tflite(content, pixels)[0] == expected).mean() > SAME
    assert near(aware(centered(pixels)).numpy(), plain(centered(pixels)).numpy())
    source = Source(aware, SPEC, OUTPUT, pixels)
    scales = tflite.converted(source, tflite.INT8, "float", integer_softmax=True)
    converted = onnx_format.from_int8_tflite(scales, source, "uint8", "nhwc")
    assert onnx_graph.not_quantized(onnx.load_from_string(converted)) == []
    assert (run_onnx(converted, pixels) == expected).mean() > SAME


@pytest.mark.parametrize("head", ["center", *slowly(["unet", "lraspp"])])
def test_zeros_and_clusters_survive(head, pixels):
    """The decoder has both; the layers that give the logits stay dense."""
    network = FunctionalNetwork.of(built(pixels, arch="resnet18", head=head), SPEC.shape)
    last = {"unet": {"logits"}, "lraspp": {"lraspp_low", "lraspp_high"},
            "center": {"heat", "size", "offset"}}  # fmt: skip
    assert network.head == last[head]
    images = centered(pixels)
    folded = fold.folded(network.model)
    for found, expected in zip(
        tf.nest.flatten(folded(images)), tf.nest.flatten(network.model(images)), strict=True
    ):
        np.testing.assert_allclose(found, expected, atol=1e-4)
    sparse = prune.prunable(network, 0.5, prune.TWO_OF_FOUR, 1)
    for _ in range(2):
        sparse(images, training=True)
    pruned = network.with_model(prune._stripped(sparse))
    shares = {
        layer.name: (layer.get_weights()[0] == 0).mean()
        for layer in pruned.model.layers
        if isinstance(layer, keras.layers.Conv2D)
    }
    assert {name for name, share in shares.items() if share == 0} == {"stem_conv"} | last[head]
    clustered = cluster.stripped(cluster.clusterable(pruned, 8, sparse=True))
    aware = qat.quantization_aware(network.with_model(clustered), pruned=True, clustered=True)
    ranges.observe(aware, images)
    aware(images, training=True)
    ranges.set_input_range(aware, SPEC)
    content = from_outputs(aware, pixels)
    assert graph.float_operations(content) == []
    assert graph.unique_weights(content) <= 8
    assert graph.sparsity(content) > 0.4


def from_outputs(model: keras.Model, pixels: np.ndarray) -> bytes:
    """An int8 file that gives the network's own outputs."""
    signature = [tf.TensorSpec([1, *SPEC.shape], tf.float32, name="image")]
    function = tf.function(lambda image: model(image, training=False), input_signature=signature)
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [function.get_concrete_function()], wrap.variables_of(model)
    )
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: ([i] for i in wrap.representative(pixels))
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    converter.inference_input_type = tf.uint8
    return converter.convert()


@pytest.mark.parametrize("head", ["center", *slowly(["points"])])
def test_the_maps_of_centers_are_integer(head, pixels):
    """With a scale of its own for each output."""
    model = built(pixels, arch="resnet18", head=head)
    content = from_outputs(model, pixels)
    assert graph.float_operations(content) == []
    found = run_tflite(content, pixels)
    for name, expected in model(centered(pixels), training=False).items():
        alike = [values for values in found if values.shape == expected.shape]
        assert any(near(values, expected.numpy()) for values in alike), name
