"""Every kind, interface and layout that a file can have: what it takes, holds and answers."""

import functools
import hashlib
import json
import os
import subprocess
from pathlib import Path

import flatbuffers.encode
import flatbuffers.packer
import flatbuffers.table
import numpy as np
import onnx
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import CALIBRATION, NEAR, distance, export
from tests.test_cli import json_of
from tfresnet import tasks
from tfresnet.config import formats
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import ModelConfig
from tfresnet.data.splits import ArraySplit
from tfresnet.deploy import calibration
from tfresnet.deploy.device import benchmark
from tfresnet.deploy.formats import graph, onnx_format, onnx_graph, recipes, tflite, tflite_metadata
from tfresnet.deploy.formats.base import Source
from tfresnet.models import zoo
from tfresnet.runs import run_directory
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import Classifier
from tfresnet.runtime.spec import OutputSpec


@pytest.fixture(scope="module")
def network(tiny_run):
    """The tiny run's model, held-out pixels, its answers to them, and calibration images."""
    model, data = tiny_run.model(), tiny_run.dataset()
    pixels = data.held_out.images[:50]
    logits = model((pixels.astype(np.float32) - 128) / 128, training=False)
    specs, answers = (tiny_run.spec, tiny_run.output), tf.nn.softmax(logits).numpy()
    return model, specs, pixels, answers, data.train.images[:100]


@pytest.fixture(scope="module")
def converted(network):
    """A function that converts the network to TFLite, each kind and interface once."""
    model, specs, _, _, images = network

    @functools.cache
    def convert(kind: str, interface: str = "uint8") -> bytes:
        return tflite.convert(model, *specs, kind, images, interface)

    return convert


def distance_of(content: bytes, path: Path, pixels: np.ndarray, expected: np.ndarray) -> float:
    path.write_bytes(content)
    return distance(open_model(path).run(pixels), expected)


KINDS = [kind.name for kind in formats.TFLITE.quantizations]
INTEGER = [kind.name for kind in formats.TFLITE.quantizations if kind.integer]


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_with_every_interface(network, converted, tmp_path, kind):
    _, _, pixels, expected, _ = network
    for interface in formats.INTERFACES if kind in INTEGER else ("uint8", "float"):
        content = converted(kind, interface)
        most = NEAR[4 if "int4" in kind else 8]
        assert distance_of(content, tmp_path / "m.tflite", pixels, expected) < most, interface
        if kind in INTEGER:
            inside = [o for o in graph.float_operations(content) if not o.startswith("CAST")]
            # LiteRT turns no uint8 into int16: that one goes through float on its way in.
            border = ["QUANTIZE"] if (kind, interface) == ("int16x8", "uint8") else []
            assert [o.split()[0] for o in inside] == border


@pytest.mark.parametrize("kind", ["float32", "int8", "int4"])
def test_any_number_of_images_at_a_time(network, tmp_path, kind):
    model, specs, pixels, _, images = network
    content = tflite.convert(model, *specs, kind, images, batch=None)
    (tmp_path / "m.tflite").write_bytes(content)
    opened = open_model(tmp_path / "m.tflite")
    together = opened.run(pixels)
    one_by_one = np.concatenate([opened.run(pixels[i : i + 1]) for i in range(len(pixels))])
    np.testing.assert_allclose(together, one_by_one, atol=1e-5)  # another order of summation


def weight_bits(content: bytes) -> set[str]:
    kinds = ("CONV_2D", "FULLY_CONNECTED", "DEQUANTIZE")
    return set().union(*(o.types for o in graph.operations(content) if o.name in kinds))


def test_int4_halves_the_weights_once_more(converted):
    eight, four, mixed = map(converted, ("int8", "int4", "int4_mixed"))
    assert len(four) < len(mixed) < 0.62 * len(eight)  # scales and structure stay as they are
    assert "INT4" in weight_bits(four)
    edges = [o for o in graph.operations(mixed) if o.name in ("CONV_2D", "FULLY_CONNECTED")]
    assert ["INT4" in o.types for o in edges] == [False, *[True] * 8, False]


@pytest.mark.parametrize("kind", ["int4", "int8_weights"])
def test_large_weights_stay_inside_the_flatbuffer(network, tmp_path, kind):
    """litert-quantizer puts those of a file above 256 kB behind it, where metadata would go."""
    _, specs, pixels, _, images = network
    model = zoo.build(ModelConfig(arch="resnet8", width=3), specs[0].shape, 10)
    content = tflite.convert(model, *specs, kind, images[:5])
    assert len(content) > 300_000
    described = tflite_metadata.describe(content, *specs, "wide", "probabilities", centered=False)
    (tmp_path / "m.tflite").write_bytes(described)
    answers = open_model(tmp_path / "m.tflite").run(pixels[:5])
    logits = model((pixels[:5].astype(np.float32) - 128) / 128, training=False)
    # An untrained net is unsure; lost weights would raise, or answer with a constant.
    assert np.abs(answers - tf.nn.softmax(logits)).max() < 0.2
    assert graph.sparsity(described) < 0.3


def test_weights_only_computes_in_float(converted):
    for kind, bits in (("int8_weights", "INT8"), ("int4_weights", "INT4")):
        content = converted(kind)
        assert bits in weight_bits(content)
        assert any(o.startswith("CONV_2D") for o in graph.float_operations(content))


def test_layers_that_are_named_stay_in_float(network, converted, tmp_path):
    model, specs, pixels, expected, images = network
    names = [o.outputs[0] for o in graph.operations(converted("int8")) if o.name == "CONV_2D"]
    source = converted("float32", "float")
    chosen = [o.outputs[0] for o in graph.operations(source) if o.name == "CONV_2D"][3:5]
    assert len(names) == 9
    recipe = recipes.Recipe(keep_float=tuple(chosen))
    content = tflite.with_integer_activations(Source(model, *specs, images), recipe)
    floats = [o for o in graph.float_operations(content) if o.startswith("CONV_2D")]
    assert len(floats) == 2
    assert graph.input_quantization(content) == (0.0078125, 128)
    assert distance_of(content, tmp_path / "m.tflite", pixels, expected) < NEAR[8]


@pytest.mark.parametrize("kind", [kind.name for kind in formats.ONNX.quantizations])
@pytest.mark.parametrize(
    ("interface", "layout"),
    [
        ("uint8", "nhwc"),
        ("float", "nchw"),
        pytest.param("uint8", "nchw", marks=pytest.mark.slow),
        pytest.param("float", "nhwc", marks=pytest.mark.slow),
    ],
)
def test_every_form_of_onnx(network, tmp_path, kind, interface, layout):
    model, specs, pixels, expected, images = network
    content = onnx_format.convert(model, *specs, kind, images, interface=interface, layout=layout)
    proto = onnx.load_model_from_string(content)
    shape = [d.dim_value for d in proto.graph.input[0].type.tensor_type.shape.dim][1:]
    assert shape == ([16, 16, 3] if layout == "nhwc" else [3, 16, 16])
    assert onnx_graph.transposes(proto) == (layout == "nhwc")  # one at the entrance
    assert proto.opset_import[0].version == 18
    assert distance_of(content, tmp_path / "m.onnx", pixels, expected) < NEAR[8]
    types = {"uint8": np.uint8, "float": np.float32}
    assert open_model(tmp_path / "m.onnx").input_dtype == types[interface]


@pytest.mark.parametrize("form", ["tflite", "onnx"])
def test_a_fixed_batch_takes_any_number_of_images(network, tmp_path, form):
    """50 images in batches of 8: the last one is filled up, and what fills it does not count."""
    model, specs, pixels, expected, images = network
    convert = tflite.convert if form == "tflite" else onnx_format.convert
    path = tmp_path / f"m.{form}"
    path.write_bytes(convert(model, *specs, "float32", images, batch=8))
    opened = open_model(path)
    assert opened.input_shape[0] == 8
    np.testing.assert_allclose(opened.run(pixels), expected, atol=1e-5)
    assert len(opened.run(pixels[:1])) == 1


def test_an_export_with_a_fixed_batch_is_measured_and_classifies(run_copy, monkeypatch):
    kinds = ("float32", "int8")
    options = ExportConfig(
        formats=("tflite", "onnx"), quantizations=kinds, batch=4, verify_images=50, max_drop=100
    )
    report = export(run_directory.open_run(run_copy), options)
    page = (run_copy / "export" / "report.html").read_text()
    assert "Signal to quantization noise of each layer of int8, against" in page
    assert not (run_copy / "export" / "bundle" / "native").exists()  # they feed one image
    with monkeypatch.context() as patch:
        patch.setattr(benchmark, "_timed", lambda *_: [0.008])
        patch.setattr(benchmark, "peak_memory_mb", lambda *_: None)
        (record,) = benchmark.compare([Path(report["artifacts"][0]["path"])], [1], rounds=1)
    assert (record["p50_ms"], record["images_per_second"]) == (2, 500)  # of one of the four
    for artifact in report["artifacts"]:
        assert artifact["failures"] == []
        sample = sorted((run_copy / "samples").glob("*.png"))[0]
        assert len(Classifier(artifact["path"]).classify(sample, top=3)) == 3


def test_an_onnx_file_of_one_image_and_an_old_opset(network, tmp_path):
    model, specs, pixels, expected, _ = network
    content = onnx_format.convert(model, *specs, batch=1, opset=13)
    proto = onnx.load_model_from_string(content)
    assert proto.opset_import[0].version == 13
    assert proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 1
    assert distance_of(content, tmp_path / "m.onnx", pixels, expected) < 1e-5  # float32


def test_calibration_is_drawn_with_a_seed_and_recorded(exported, tiny_run):
    manifest = json.loads((tiny_run.directory / "export" / "calibration.json").read_text())
    images = tiny_run.dataset().train.images[manifest["indices"]]
    assert len(set(manifest["indices"])) == manifest["count"] == CALIBRATION
    assert hashlib.sha256(images.tobytes()).hexdigest() == manifest["sha256"]
    info = json_of("info", tiny_run.directory / "export" / "model_int8.tflite")
    assert info["provenance"]["calibration"]["sha256"] == manifest["sha256"]


TASK = tasks.of(OutputSpec("classification", ("a", "b")))


def split(count: int, classes: int) -> ArraySplit:
    images = np.random.default_rng(0).integers(0, 256, (count, 8, 8, 3), np.uint8)
    return ArraySplit(images, np.arange(count, dtype=np.int64) // 2 % classes)


def test_calibration_leaves_out_what_is_measured_on():
    source = split(20, 2)
    measured = {calibration.digest(image) for image in source.images[::2]}
    drawn = calibration.draw(source, 20, 1, TASK, measured)
    assert sorted(drawn.manifest["indices"]) == list(range(1, 20, 2))
    assert drawn.manifest["left_out"] == 10
    assert calibration.draw(source, 5, 1, TASK).manifest != drawn.manifest
    np.testing.assert_array_equal(
        calibration.draw(source, 5, 1, TASK).images, calibration.draw(source, 5, 1, TASK).images
    )


def test_a_calibration_set_that_says_nothing_is_refused():
    source = split(10, 1)
    with pytest.raises(InputError, match="several classes, got 4 of class 0 only"):
        calibration.draw(source, 4, 0, TASK)
    with pytest.raises(InputError, match="not measured on too, got 10 that all are"):
        calibration.draw(source, 4, 0, TASK, {calibration.digest(i) for i in source.images})


def test_a_server_takes_the_bytes_of_files(exported, tiny_run, tmp_path):
    """TF Serving's signatures: pixels, or encoded images of any size."""
    loaded = tf.saved_model.load(str(tiny_run.directory / "export" / "saved_model"))
    samples = sorted((tiny_run.directory / "samples").glob("*.png"))
    encoded = [path.read_bytes() for path in samples]
    photo, exif = tmp_path / "photo.jpg", Image.Exif()
    exif[0x0112] = 6  # to be turned
    sample = Image.open(samples[0]).convert("RGB")
    sample.resize((90, 40), Image.Resampling.BICUBIC).save(photo, exif=exif)
    answers = loaded.signatures["encoded"](encoded=tf.constant([*encoded, photo.read_bytes()]))
    (answers,) = answers.values()
    classifier = Classifier(tiny_run.directory / "export" / "model_float32.tflite")
    pixels = np.stack([classifier.prepare(path) for path in [*samples, photo]])
    expected = classifier.probabilities(pixels)
    np.testing.assert_allclose(answers[:-1], expected[:-1], atol=1e-4)
    # Pixels of a JPEG may differ by 1 of 255 (see test_decoding.py).
    np.testing.assert_allclose(answers[-1], expected[-1], atol=0.05)
    (pixel_answers,) = loaded.signatures["serving_default"](image=tf.constant(pixels)).values()
    np.testing.assert_allclose(pixel_answers, expected, atol=1e-4)


def test_standard_metadata_names_the_labels(exported, tiny_run):
    """As in metadata_schema.fbs: ModelMetadata.subgraph_metadata[0].output[0].associated_files."""
    content = (tiny_run.directory / "export" / "model_int8.tflite").read_bytes()
    model = graph.read(content)
    (entry,) = [m for m in model.metadata if m.name == b"TFLITE_METADATA"]
    metadata = bytes(model.buffers[entry.buffer].data)
    assert metadata[4:8] == b"M001"
    table = flatbuffers.table.Table(
        metadata, flatbuffers.encode.Get(flatbuffers.packer.uint32, metadata, 0)
    )
    assert table.String(table.Offset(4) + table.Pos) == b"resnet8"
    assert b"labels.txt" in metadata


MEDIAPIPE = """
import sys
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import ImageClassifier, ImageClassifierOptions
import mediapipe
options = ImageClassifierOptions(BaseOptions(model_asset_path=sys.argv[1]), max_results=1)
with ImageClassifier.create_from_options(options) as classifier:
    for path in sys.argv[2:]:
        answer = classifier.classify(mediapipe.Image.create_from_file(path))
        print(answer.classifications[0].categories[0].category_name)
"""


@pytest.mark.skipif(
    "TFRESNET_DEVICE_PYTHON" not in os.environ,
    reason="needs TFRESNET_DEVICE_PYTHON, a Python with mediapipe (its absl-py is not tfmot's)",
)
@pytest.mark.parametrize("kind", ["float32", "int8"])
@pytest.mark.parametrize("interface", ["uint8", "float"])
def test_mediapipe_runs_our_files_unmodified(run_copy, tmp_path, kind, interface):
    run = run_directory.open_run(run_copy)
    options = ExportConfig(
        formats=("tflite",),
        quantizations=(kind,),
        interface=interface,
        max_drop=100,
        verify_images=10,
    )
    path = export(run, options)["artifacts"][0]["path"]
    samples = []
    for i, image in enumerate(run.dataset().held_out.images[:10]):
        samples.append(str(tmp_path / f"{i}.png"))
        Image.fromarray(image).save(samples[-1])
    command = [os.environ["TFRESNET_DEVICE_PYTHON"], "-c", MEDIAPIPE, path, *samples]
    answers = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    classifier = Classifier(path)
    for answer, sample in zip(answers, samples, strict=True):
        best = classifier.classify(sample, top=1)[0]
        # Which of two is first by a rounding, the kernels of another interpreter may see otherwise.
        nearly = [label for label, p in classifier.classify(sample, top=10) if p > best[1] - 0.02]
        assert answer in nearly
