"""What files and runs say about themselves: typed, versioned, and readable when they are old."""

import json
from dataclasses import replace

import numpy as np
import pytest

from tests.golden import measured
from tests.test_damage import with_metadata
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import EMBEDDING, FILE_NAME, ModelMetadata, read_metadata
from tfresnet.runtime.predictor import open_file
from tfresnet.runtime.spec import InputSpec, OutputSpec, specs_from_dict, specs_to_dict

SPEC = InputSpec(24, 32, (1.0,), (2.0,), crop_fraction=0.5, interpolation="bicubic")
OUTPUT = OutputSpec("multi_label", ("cat", "dog"), "sigmoid")
METADATA = ModelMetadata(
    SPEC, OUTPUT, EMBEDDING, "integer", "int8", recipe={"weights": 8}, compression={"pruned": 0.5},
    opset=17, arch="resnet8", versions={"tensorflow": "2"}, measured={"top1": 0.5},
)  # fmt: skip


def test_metadata_survive_json():
    assert ModelMetadata.from_dict(json.loads(json.dumps(METADATA.to_dict()))) == METADATA
    assert METADATA.to_dict()["format_version"] == 2


def test_specs_survive_json():
    assert specs_from_dict(json.loads(json.dumps(specs_to_dict(SPEC, OUTPUT)))) == (SPEC, OUTPUT)


def test_specs_of_version_1_are_read():
    """Both in one dictionary; the oldest did not record the activation."""
    old = {"height": 16, "width": 8, "labels": ["a", "b"], "multi_label": True}
    spec, output = specs_from_dict(old, "sigmoid")
    assert (spec, output) == (InputSpec(16, 8), OutputSpec("multi_label", ("a", "b"), "sigmoid"))


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx"])
def test_old_files_are_read(name):
    metadata = read_metadata(measured.FOLDER / "files" / name)
    assert metadata.output == OutputSpec("classification", tuple("0123456789"))
    assert metadata.spec == InputSpec(16, 16)
    assert (metadata.output_kind, metadata.input_type) == ("probabilities", "uint8")
    assert metadata.arch == "resnet8"
    assert metadata.measured["n"] == 360


def test_keys_of_a_later_tfresnet_are_left_out():
    assert ModelMetadata.from_dict(METADATA.to_dict() | {"news": 1}) == METADATA


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"format_version": 3}, "expected format_version 2 at most, got 3: a newer tfresnet"),
        ({"format_version": "2"}, "expected a format_version from 1 on, got '2'"),
        ({"measured": []}, r"measured: expected a dictionary, got \[\]"),
        ({"input": None}, "expected an input spec, got None"),
        ({"output": {"task": "unheard of", "labels": ["a", "b"]}}, "expected a task of"),
    ],
    ids=str,
)
def test_what_can_not_be_read_is_said_in_one_line(tmp_path, changes, expected):
    model = measured.FOLDER / "files" / "model_int8.tflite"
    text = json.dumps(replace(METADATA, content=None).to_dict() | changes).encode()
    path = with_metadata(model, tmp_path / "model.tflite", text)
    with pytest.raises(InputError, match=expected) as caught:
        read_metadata(path)
    assert str(path) in str(caught.value)
    folder = tmp_path / "saved_model"
    folder.mkdir()
    (folder / FILE_NAME).write_bytes(text)
    with pytest.raises(InputError, match=expected):
        read_metadata(folder)


def test_a_file_that_gives_what_no_predictor_reads_is_refused(tmp_path):
    model = measured.FOLDER / "files" / "model_int8.tflite"
    text = json.dumps(replace(METADATA, output_kind="poses").to_dict()).encode()
    path = with_metadata(model, tmp_path / "model.tflite", text)
    with pytest.raises(InputError, match=r"gives probabilities or .* or points, got poses"):
        open_file(path)


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx"])
def test_outputs_have_names(name):
    """One output now; a detector's file will give boxes and scores."""
    model = open_model(measured.FOLDER / "files" / name)
    images = np.zeros((3, 16, 16, 3), np.uint8)
    outputs = model.outputs(images)
    assert len(outputs) == 1
    (found,) = outputs.values()
    np.testing.assert_array_equal(found, model.run(images))


@pytest.mark.parametrize(
    "values",
    [
        {"height": 0}, {"height": 2**15}, {"height": 8.5}, {"mean": (1.0, 2.0)},
        {"std": (0.0,) * 3},
        {"mean": (float("nan"),) * 3}, {"crop_fraction": 0}, {"crop_fraction": 1.1},
        {"interpolation": "box"}, {"mean": "abc"},
    ],
    ids=str,
)  # fmt: skip
def test_an_input_spec_that_no_picture_fits_can_not_be_made(values):
    with pytest.raises(ValueError, match="expected"):
        InputSpec(**{"height": 8, "width": 8, **values})
