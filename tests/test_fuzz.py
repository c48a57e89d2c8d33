"""Thousands of bad inputs: each is read, or refused in one line; none does anything else.

The cases of a test are ``CASES`` unless it says otherwise; they are the same each time, so that a
failure can be repeated.
"""

import io
import json
import pickle
import re
import tempfile
import zipfile
from dataclasses import asdict, fields
from pathlib import Path

import h5py
import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as some
from PIL import Image
from safetensors.numpy import save_file

from tests import torch_files
from tfresnet.config import loading
from tfresnet.data.images import examine
from tfresnet.deploy import describe
from tfresnet.models import pretrained
from tfresnet.runtime import preprocess
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import FILE_NAME, ModelMetadata, read_metadata
from tfresnet.runtime.predictor import Classifier
from tfresnet.runtime.spec import InputSpec, OutputSpec, specs_to_dict
from tfresnet.sweep import plan

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*:UserWarning:PIL"),  # of damaged TIFFs
    pytest.mark.filterwarnings("ignore:Generating overly large repr"),
]
CASES = 400
quick = settings(
    max_examples=CASES, deadline=None, derandomize=True, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
SPEC, OUTPUT = InputSpec(16, 16), OutputSpec("classification", ("a", "b"))
VERSION_1 = asdict(SPEC) | {"labels": ["a", "b"], "activation": "softmax", "multi_label": False}

keys = [
    f"{section}.{key}"
    for section in ("model", "data", "train")
    for key in loading.from_overrides([]).model_dump()[section]
]
scalars = (
    some.none() | some.booleans() | some.integers() | some.floats() | some.text(max_size=20)
    | some.dates()
)  # fmt: skip
values = some.recursive(
    scalars,
    lambda some_: some.lists(some_, max_size=3) | some.dictionaries(scalars, some_, max_size=3),
    max_leaves=6,
)


def refused_in_one_line(function, *arguments):
    """Call a function; what it raises must be one line for the user."""
    try:
        return function(*arguments)
    except InputError as error:
        assert len(str(error).splitlines()) == 1
        assert len(str(error)) < 1000
        return None


def spoilt(draw, content: bytes) -> bytes:
    """Some bytes of a file changed, cut out, doubled, or all behind one place gone."""
    data = bytearray(content)
    for _ in range(draw(some.integers(1, 8))):
        at = draw(some.integers(0, max(0, len(data) - 1)))
        what = draw(some.sampled_from(["set", "cut", "double", "end"]))
        length = draw(some.integers(1, 64))
        if what == "set":
            data[at : at + 1] = bytes([draw(some.integers(0, 255))])
        elif what == "cut":
            del data[at : at + length]
        elif what == "double":
            data[at:at] = data[at : at + length]
        elif draw(some.booleans()):
            del data[at:]
    return bytes(data)


@quick
@given(some.lists(some.tuples(some.sampled_from(keys), values), max_size=4))
def test_configurations_with_any_values(changes):
    content = {}
    for key, value in changes:
        section, _, name = key.partition(".")
        content.setdefault(section, {})[name] = value
    refused_in_one_line(loading.validate, content)


@quick
@given(values)
def test_yaml_files_with_any_content(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.yaml"
        path.write_text(yaml.safe_dump(content, allow_unicode=True), encoding="utf-8")
        refused_in_one_line(loading.load, str(path))
        refused_in_one_line(loading.read_as, plan.Sweep, path)


@quick
@given(some.text(max_size=60) | some.binary(max_size=60))
def test_yaml_files_that_are_none(content):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "file.yaml"
        path.write_bytes(
            content if isinstance(content, bytes) else content.encode("utf-8", "ignore")
        )
        refused_in_one_line(loading.load, str(path))


@pytest.mark.parametrize(
    "text",
    [
        "!!python/object/apply:os.system [touch /tmp/never]",
        "model: !!python/name:os.system",
        "&a [*a]",
        "model: &a {arch: *a}",
        "a: &a [x, x]\nb: &b [*a, *a]\nc: [*b, *b]",
        "name: " + "x" * 100_000,
        "name: ../../etc",
        "{" * 500,
    ],
    ids=lambda text: text[:20],
)
def test_yaml_that_means_harm(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    with pytest.raises(InputError) as caught:
        loading.load(str(path))
    assert len(str(caught.value)) < 1000


@quick
@given(some.sampled_from(keys) | some.text(max_size=20), some.text(max_size=40))
def test_any_text_behind_set(key, value):
    refused_in_one_line(loading.from_overrides, [f"{key}={value}"])


@quick
@given(
    some.dictionaries(some.sampled_from(list(plan.Sweep.model_fields)), values, max_size=4)
    | some.builds(lambda key, found: {"runs": {"a": {key: found}}}, some.sampled_from(keys), values)
)
def test_sweeps_with_any_values(content):
    def trials():
        sweep = plan.check(loading.checked(plan.Sweep, content, "file"), Path("file.yaml"))
        return plan.trials(sweep, Path("file.yaml"), Path("runs"))

    refused_in_one_line(trials)


def encoded(form: str) -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (12, 20, 3)).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, form)
    return buffer.getvalue()


FORMS = {form: encoded(form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")}


@settings(quick, max_examples=3 * CASES)
@given(some.data())
def test_pictures_that_are_spoilt(data):
    """Pixels of the right shape, or one line; the same for training and on the device."""
    form = data.draw(some.sampled_from(sorted(FORMS)))
    content = spoilt(data.draw, FORMS[form])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "picture"
        path.write_bytes(content)
        pixels = refused_in_one_line(preprocess.read, str(path), SPEC)
        assert pixels is None or pixels.shape == SPEC.shape
        refused_in_one_line(examine, path)
        same = refused_in_one_line(preprocess.read, content, SPEC)
        assert (pixels is None) == (same is None)


@pytest.mark.parametrize("size", [(30_000, 30_000), (1, 60_000), (60_000, 1)])
def test_pictures_larger_than_memory_should_be(tmp_path, size):
    """A few bytes that would be 900 million pixels, and very thin ones."""
    path = tmp_path / "bomb.png"
    Image.new("1", size).save(path)
    pixels = refused_in_one_line(preprocess.read, str(path), SPEC)
    assert (pixels is None) == (min(size) > 1)


@pytest.fixture(scope="module")
def models(exported):
    return {
        Path(a["path"]).name: Path(a["path"]).read_bytes()
        for a in exported["artifacts"]
        if Path(a["path"]).suffix in (".tflite", ".onnx")
    }


@pytest.mark.parametrize("name", ["model_int8.tflite", "model_float32.onnx"])
def test_one_changed_bit_of_a_weight_is_noticed(models, tmp_path, name):
    """In the middle of a file there are weights, which any interpreter would take."""
    content = bytearray(models[name])
    content[len(content) // 2] ^= 1
    path = tmp_path / name
    path.write_bytes(content)
    open_model(path)
    with pytest.raises(InputError, match="expected the bytes that tfresnet wrote"):
        Classifier(path)


@quick
@given(some.data())
def test_model_files_that_are_spoilt_anywhere(models, data):
    """Interpreters take much that is damaged, and answer wrongly or crash: they never see it."""
    name = data.draw(some.sampled_from(["model_int8.tflite", "model_float32.onnx"]))
    content = spoilt(data.draw, models[name])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / name
        path.write_bytes(content)
        model = refused_in_one_line(Classifier, path)
        if model is not None:  # nothing that counts was hit
            image = np.zeros((1, *model.model.input_shape[1:]), np.uint8)
            assert model.probabilities(image).shape == (1, len(model.labels))


@quick
@given(some.data())
def test_model_files_that_are_spoilt_where_their_metadata_are(models, data):
    """The last bytes of a .tflite, which hold a zip archive."""
    content = models["model_int8.tflite"]
    place = content.rindex(b"PK\x03\x04") - 200
    spoilt_end = content[:place] + spoilt(data.draw, content[place:])
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(spoilt_end)
        refused_in_one_line(read_metadata, path)


@quick
@given(
    some.dictionaries(
        some.sampled_from(
            ["format_version", "spec", "input", "output", "output_kind", "measured", "content", "x"]
        ),
        values,
        max_size=4,
    )
)
def test_model_files_with_any_metadata(models, metadata):
    _with_metadata(models, json.dumps(metadata, default=str, skipkeys=True))


@quick
@given(some.sampled_from(list(VERSION_1)), values)
def test_old_model_files_with_any_value_in_their_spec(models, key, value):
    spec = VERSION_1 | {key: value}
    _with_metadata(models, json.dumps({"spec": spec}, default=str, skipkeys=True))


@quick
@given(some.sampled_from([*asdict(SPEC), *asdict(OUTPUT)]), values)
def test_model_files_with_any_value_in_their_specs(models, key, value):
    specs = specs_to_dict(SPEC, OUTPUT)
    specs["input" if key in specs["input"] else "output"][key] = value
    _with_metadata(models, json.dumps(specs, default=str, skipkeys=True))


@quick
@given(some.sampled_from([f.name for f in fields(ModelMetadata)]), values)
def test_model_files_with_any_value_in_their_metadata(models, key, value):
    metadata = ModelMetadata(SPEC, OUTPUT).to_dict() | {key: value}
    _with_metadata(models, json.dumps(metadata, default=str, skipkeys=True))


def _with_metadata(models, text: str) -> None:
    buffer = io.BytesIO(models["model_int8.tflite"][:1000])
    with zipfile.ZipFile(buffer, "a") as archive:
        archive.writestr(FILE_NAME, text)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        path.write_bytes(buffer.getvalue())
        refused_in_one_line(read_metadata, path)
        refused_in_one_line(describe.model_file, path)


def test_metadata_that_unpack_to_gigabytes_are_refused(tmp_path):
    path = tmp_path / "model.tflite"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(FILE_NAME, b" " * 2**28)
    assert path.stat().st_size < 2**20
    assert refused_in_one_line(read_metadata, path) is None


@pytest.mark.parametrize("flag", [0x1, 0x40])
def test_encrypted_metadata_are_refused(models, tmp_path, flag):
    content = bytearray(models["model_int8.tflite"])
    for signature, offset in ((b"PK\x01\x02", 8), (b"PK\x03\x04", 6)):
        for found in re.finditer(re.escape(signature), bytes(content)):
            content[found.start() + offset] |= flag
    path = tmp_path / "model.tflite"
    path.write_bytes(content)
    assert refused_in_one_line(read_metadata, path) is None


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """The smallest files of weights: of Keras, with PyTorch's names, and in PyTorch's formats."""
    folder = tmp_path_factory.mktemp("weights")
    array = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    save_file({"fc.weight": array, "fc.bias": array[0, 0]}, folder / "w.safetensors")
    state = {"fc.weight": torch_files.Tensor(array), "fc.bias": torch_files.bfloat16(array)}
    (folder / "w.pth").write_bytes(torch_files.zip_file({"net": state, "epoch": 3}))
    (folder / "w.tar").write_bytes(torch_files.legacy_file({"net": state, "epoch": 3}))
    (folder / "w.pkl").write_bytes(pickle.dumps({"net": {"fc.weight": array}}))
    with h5py.File(folder / "w.h5", "w") as file:
        file.attrs["layer_names"] = [b"dense"]
        group = file.create_group("dense")
        group.attrs["weight_names"] = [b"dense/kernel:0"]
        group["dense/kernel:0"] = array
    return {path.suffix: path.read_bytes() for path in folder.iterdir()}


@settings(quick, max_examples=CASES // 4)  # test_fuzz_deep reads thousands
@given(some.data())
def test_files_of_weights_that_are_spoilt(weights, data):
    suffix = data.draw(some.sampled_from(sorted(weights)))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"w{suffix}"
        path.write_bytes(spoilt(data.draw, weights[suffix]))
        arrays = refused_in_one_line(pretrained.read, path, "resnet50")
        assert arrays is None or all(isinstance(a, np.ndarray) for a in arrays.values())


NAMES = ["über", "日本", "a" * 200, "a b", "$x$", "%s", "{}", "..", "-", "\u202e", "'", '"', "#"]


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_of_runs_are_taken_or_refused(name, tmp_path, monkeypatch):
    from tests.test_cli import tfresnet

    monkeypatch.chdir(tmp_path)
    result = tfresnet("train", "--name", name, "--epochs", "0")
    assert result.exit_code == 2
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []
