"""OpenVINO IR: the same numbers, integers where the file says so, and all metadata inside."""

import json
import platform
import shutil
import sys
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import NEAR, distance
from tests.test_cli import json_of, refused
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.export import export
from tfresnet.runtime import openvino_ir
from tfresnet.runtime.backends import import_openvino, open_model
from tfresnet.runtime.metadata import read_metadata

if find_spec("openvino") is None:
    pytest.skip("openvino is not installed", allow_module_level=True)
openvino = import_openvino("tests")
KINDS = ("float32", "float16", "int8")
FEW = {"calibration_images": 50, "verify_images": 50, "max_drop": 100}


@pytest.fixture(scope="module")
def exported(tiny_run, tmp_path_factory):
    """What the report says of the OpenVINO files of a copy of the tiny run, by quantization."""
    copy = tmp_path_factory.mktemp("openvino") / "tiny"
    run = replace(tiny_run, directory=Path(shutil.copytree(tiny_run.directory, copy)))
    config = ExportConfig(formats=["openvino", "saved_model"], quantizations=KINDS, max_drop=100)
    found = [a for a in export(run, config).artifacts if a.format == "openvino"]
    assert [a.quantization for a in found] == list(KINDS)
    return {a.quantization: a for a in found}


@pytest.fixture(scope="module")
def files(exported):
    return {kind: Path(artifact.path) for kind, artifact in exported.items()}


@pytest.fixture(scope="module")
def expected(tiny_run):
    """Pixels, and what the checkpoint makes of them."""
    pixels = tiny_run.dataset().held_out.images[:50]
    logits = tiny_run.model()((pixels.astype(np.float32) - 128) / 128, training=False)
    return pixels, tf.nn.softmax(logits).numpy()


def precisions(path: Path, kind: str = "Convolution") -> set[str]:
    return {layer.precision for layer in open_model(path).layers() if layer.kind == kind}


def test_every_kind_is_near_the_checkpoint(files, expected):
    """uint8 pixels in, any number at a time; probabilities out."""
    pixels, probabilities = expected
    for kind, most in zip(KINDS, (1e-6, 1e-3, NEAR[8]), strict=True):
        model = open_model(files[kind])
        assert model.input_dtype == np.uint8
        assert distance(model.run(pixels), probabilities) < most
        np.testing.assert_allclose(
            model.run(pixels[:1]), model.run(pixels[:3])[:1], rtol=0, atol=1e-5
        )


@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="x86's integer kernels")
def test_int8_computes_with_integers(exported, files):
    """All convolutions, the first too, and the classifier: by what OpenVINO says that it runs."""
    assert precisions(files["int8"]) == precisions(files["int8"], "FullyConnected") == {"u8"}
    assert precisions(files["float32"]) == {"f32"}
    assert [exported[kind].fully_integer for kind in KINDS] == [False, False, True]
    assert not any(artifact.failures for artifact in exported.values())


def test_weights_take_what_their_type_says(exported, files):
    float32, float16, int8 = (files[k].with_suffix(".bin").stat().st_size for k in KINDS)
    assert 0.49 < float16 / float32 < 0.52
    assert int8 / float32 < 0.3
    for kind, path in files.items():
        both = path.stat().st_size + path.with_suffix(".bin").stat().st_size
        assert exported[kind].bytes == both > exported[kind].gzip_bytes


def test_metadata_are_where_openvino_finds_them(files, exported):
    """In rt_info: labels as its Model API reads them, and all that other formats hold."""
    model = openvino.Core().read_model(files["int8"])
    metadata = read_metadata(files["int8"])
    assert json.loads(model.get_rt_info(["tfresnet", "metadata"]).value) == metadata.to_dict()
    assert model.get_rt_info(["model_info", "labels"]).value.split() == list("0123456789")
    assert metadata.measured["top1"] == exported["int8"].top1
    assert metadata.quantization == "int8"


def test_labels_may_be_anything():
    labels = ["red fox", 'a "b" & <c>', "d\ne", "\x07", "狐"]
    text = json.dumps({"labels": labels})
    embedded = openvino_ir.embed(b"<net><rt_info></rt_info></net>", text, labels)
    assert openvino_ir.EMBEDDED.sub(b"", embedded) == b"<net><rt_info></rt_info></net>"
    (info,) = ElementTree.fromstring(embedded)
    assert info.find("model_info/labels").get("value").split(" ")[0] == "red_fox"
    assert len(info.find("model_info/labels").get("value").split(" ")) == len(labels)
    assert json.loads(info.find("tfresnet/metadata").get("value")) == {"labels": labels}


def test_the_commands_take_it(files, tiny_run):
    path, picture = files["int8"], next((tiny_run.directory / "samples").iterdir())
    (prediction,) = json_of("predict", path, picture)["predictions"]
    assert sum(p["probability"] for p in prediction["top"]) <= 1 + 1e-5
    found = read_metadata(path).measured
    assert json_of("evaluate", path)["top1"] == pytest.approx(found["top1"], abs=0.01)
    assert json_of("info", path)["quantization"] == "int8"
    (timed,) = json_of("benchmark", path, "--rounds", 1)["models"]
    assert timed["integer"] and timed["p50_ms"] > 0
    assert timed["bytes"] > path.stat().st_size


def test_damaged_files_are_refused(files, tmp_path, tiny_run):
    picture = next((tiny_run.directory / "samples").iterdir())
    path = tmp_path / "model.xml"

    def copied(graph=lambda content: content, weights=lambda content: content) -> str:
        path.write_bytes(graph(files["int8"].read_bytes()))
        path.with_suffix(".bin").write_bytes(
            weights(files["int8"].with_suffix(".bin").read_bytes())
        )
        return refused("predict", path, picture)

    assert "damaged" in copied(weights=lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    assert "damaged" in copied(weights=lambda content: content[:1000])
    assert "damaged" in copied(graph=lambda content: content.replace(b"Convolution", b"MatMul", 1))
    assert "cut short" in copied(graph=lambda content: content[:5000])
    path.write_bytes(files["int8"].read_bytes())
    path.with_suffix(".bin").unlink()
    assert "model.bin" in refused("predict", path, picture)


def test_without_the_package_one_line_says_so(files, run_copy, monkeypatch):
    picture = next((run_copy / "samples").iterdir())
    monkeypatch.setitem(sys.modules, "openvino", None)
    assert "pip install openvino" in refused("predict", files["int8"], picture)
    assert "pip install openvino" in refused("export", run_copy, "--openvino")


def test_nothing_is_reported_to_its_makers(files):
    open_model(files["float32"])
    assert sys.modules["openvino_telemetry"] is None


def test_float_input_and_a_fixed_batch(tiny_run, run_copy, expected):
    pixels, probabilities = expected
    run = replace(tiny_run, directory=run_copy)
    config = ExportConfig(
        formats=["openvino"], quantizations=KINDS, interface="float", batch=4, **FEW
    )
    for artifact in export(run, config).artifacts:
        model = open_model(artifact.path)
        assert model.input_dtype == np.float32 and model.input_shape[0] == 4
        assert distance(model.run(pixels), probabilities) < NEAR[8]


@pytest.mark.slow
def test_a_network_trained_for_int8(tiny_run, run_copy):
    run = replace(tiny_run, directory=run_copy)
    config = ExportConfig(formats=["openvino"], quantizations=["int8"], qat_epochs=1, **FEW)
    (made,) = [a for a in export(run, config).artifacts if a.path.endswith("int8_qat.xml")]
    assert made.fully_integer and made.agreement > 0.5
