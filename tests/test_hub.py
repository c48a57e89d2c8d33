"""Weights by name, from a hub that is a server of the test's own."""

import hashlib
import http.server
import json
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants
from safetensors.numpy import save

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config import loading
from tfresnet.models import named_weights, names, structure, zoo
from tfresnet.models.functional import functional
from tfresnet.models.weights_row import NamedWeights
from tfresnet.runs import hub, request, run_directory, start, transfer
from tfresnet.runs.preparation import prepare
from tfresnet.runtime.errors import InputError

COMMIT = "0123456789abcdef0123456789abcdef01234567"
NAME = "timm/resnet18.a1_in1k"
STEMS = {"timm/resnet10t.c3_in1k": (24, 32, 64), "timm/ecaresnet50d.miil_in1k": (32, 32, 64)}
ONE_STEP = ("--epochs", 1, "--batch-size", 4, "--set", "data.image_size=32")


def arrays_of(row: NamedWeights) -> dict[str, np.ndarray]:
    """Random weights with the names and shapes that timm's network has."""
    rng = np.random.default_rng(0)
    model = zoo.build(row.model, (64, 64, 3), 1000)
    convention = names.convention("torch", row.arch, zoo.architecture(row.arch).family)
    found = {}
    for layer in functional(model, (64, 64, 3)).layers:
        for variable in layer.variables:
            kind = names.variable_kind(variable)
            name = convention.candidates(layer.name, kind)[0]
            shape = tuple(variable.shape)
            shape = (shape[-1], shape[-2], *shape[:-2]) if len(shape) > 1 else shape
            values = rng.standard_normal(shape, np.float32) / np.sqrt(np.prod(shape[1:]))
            found[name] = np.abs(values) + 0.5 if len(shape) == 1 else values.astype(np.float32)
    return found


@pytest.fixture(scope="module")
def content() -> bytes:
    return save(arrays_of(named_weights.TABLE[NAME]))


class Hub(http.server.BaseHTTPRequestHandler):
    """Answers as the hub does for a file: its digest, its size, and the part that is asked for."""

    files: dict[str, bytes]
    asked: list[tuple[str, str, str]]
    breaks_once_after: int | None = None  # bytes

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, with_body: bool) -> None:
        span = self.headers.get("Range", "")
        type(self).asked.append((self.command, self.path, span))
        repository = self.path[1:].partition("/resolve/")[0]
        body = self.files.get(repository)
        if body is None or not self.path.endswith("/resolve/main/model.safetensors"):
            self.send_response(404)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        first = int(span.removeprefix("bytes=").partition("-")[0] or 0) if span else 0
        self.send_response(206 if span else 200)
        self.send_header("Content-Length", str(len(body) - first))
        self.send_header("Accept-Ranges", "bytes")
        if span:
            self.send_header("Content-Range", f"bytes {first}-{len(body) - 1}/{len(body)}")
        self.send_header("ETag", f'"{hashlib.sha256(body).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.end_headers()
        if with_body:
            self.wfile.write(body[first : type(self).breaks_once_after])
            type(self).breaks_once_after = None

    def log_message(self, *args: object) -> None:
        pass


@pytest.fixture
def place(tmp_path, monkeypatch) -> Path:
    """An empty cache, as HF_HOME would set it."""
    monkeypatch.setattr(constants, "HF_HOME", str(tmp_path / "hf"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hf" / "hub"))
    return tmp_path / "hf"


@pytest.fixture
def server(place, monkeypatch, content) -> Iterator[type[Hub]]:
    """A hub that has one repository, at the address that HF_ENDPOINT would name."""

    class Mine(Hub):
        pass

    Mine.files, Mine.asked = {NAME: content}, []
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Mine)
    thread = threading.Thread(target=listening.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setenv("HF_ENDPOINT", f"http://127.0.0.1:{listening.server_port}")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    yield Mine
    listening.shutdown()
    listening.server_close()


@pytest.fixture
def in_cache(place, content) -> Path:
    """The file, as huggingface_hub leaves it in its cache."""
    repository = place / "hub" / f"models--{NAME.replace('/', '--')}"
    file = repository / "snapshots" / COMMIT / "model.safetensors"
    for path, data in ((repository / "refs" / "main", COMMIT.encode()), (file, content)):
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
    return file


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("hub") / "pictures"
    return write_images(folder, {"a": 6, "b": 6}, size=(110, 120))


def row(name: str = NAME) -> NamedWeights:
    return named_weights.TABLE[name]


def test_weights_are_downloaded_once_and_verified(server, content, place):
    file = hub.fetch(row())
    assert file.read_bytes() == content and hub.cached(row()) == file
    assert [path for method, path, _ in server.asked if method == "GET"] == [
        f"/{NAME}/resolve/main/model.safetensors"
    ]
    remembered = json.loads((place / "tfresnet-weights.json").read_text())
    assert remembered == {f"{NAME}@main": hashlib.sha256(content).hexdigest()}
    server.asked.clear()
    assert hub.fetch(row()) == file
    assert server.asked == []  # from the cache, without a question


def test_a_download_that_breaks_goes_on_where_it_was(server, content, monkeypatch):
    """What is already there, up to the library's last block of 10 MB, is not sent again."""
    monkeypatch.setattr(server, "breaks_once_after", 30_000_000)
    assert hub.fetch(row()).read_bytes() == content
    spans = [span for method, _, span in server.asked if method == "GET"]
    assert len(spans) == 2 and int(spans[1].removeprefix("bytes=").rstrip("-")) > 0


def test_other_weights_than_before_are_refused(in_cache, content, place):
    hub.fetch(row())
    other = bytes([*content[:-1], content[-1] ^ 1])
    in_cache.write_bytes(other)
    with pytest.raises(InputError, match=r"expected weights with the SHA-256 .* were replaced"):
        hub.fetch(row())
    (place / "tfresnet-weights.json").unlink()
    hub.fetch(row())


def test_a_digest_of_the_table_is_held(in_cache):
    import dataclasses

    pinned = dataclasses.replace(row(), sha256="0" * 64)
    with pytest.raises(InputError, match="expected weights with the SHA-256 0000000000000000"):
        hub.fetch(pinned)


def test_neither_cache_nor_network_is_one_line_with_what_to_do(place, pictures, tmp_path):
    line = refused("train", pictures, "--pretrained", "--run-dir", tmp_path / "run", *ONE_STEP)
    assert f"expected {NAME} in " in line and "got neither (HF_HUB_OFFLINE is set)" in line
    assert "--init-from FILE --arch resnet18" in line
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--init-from", "timm/resnet18.a1_in21k"],
         "unknown weights 'timm/resnet18.a1_in21k': did you mean 'timm/resnet18.a1_in1k'?"),
        (["--pretrained", "--arch", "resnet8"],
         "--pretrained: expected an architecture that has weights on the hub (resnet10, "),
        (["--pretrained", "--arch", "resnet18", "--set", "model.width=0.5"],
         "got model.width=0.5; leave those out"),
    ],
)  # fmt: skip
def test_weights_that_there_are_none_of_are_said(arguments, expected, pictures, place):
    assert expected in refused("train", pictures, *arguments)


def test_a_folder_starts_from_weights_in_the_cache(in_cache, pictures, tmp_path):
    """By default, offline, with the input that they are for and a head of its own."""
    config = request.training_request(str(pictures), [], None, False).config
    prepared = prepare(config, tmp_path / "run", False)
    config, spec, model = prepared.config, prepared.dataset.spec, prepared.trainer.model
    assert prepared.weights == f"{NAME}, 71.5 % of ImageNet, apache-2.0"
    assert (config.train.init_from, config.train.pretrained) == (NAME, True)
    assert (config.model.arch, config.model.width) == ("resnet18", 1.0)
    assert (config.model.stem, config.model.padding) == ("imagenet", "symmetric")
    assert (spec.mean, spec.crop_fraction) == ((123.675, 116.28, 103.53), 0.95)
    assert spec.shape == (224, 224, 3)
    found = {v.name: v.numpy() for v in functional(model, spec.shape).variables}
    expected = arrays_of(row())["layer1.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(found["stage1_block1/stage1_block1_conv1/kernel:0"], expected)
    assert found["head/kernel:0"].shape == (512, 2)


def test_the_input_of_weights_gives_way_to_what_is_asked_for(in_cache, pictures, tmp_path):
    for settings, size, crop in [
        (["data.image_size=96", "data.crop_fraction=0.8"], 96, 0.8),
        (["data.image_size=64"], 64, 1.0),  # small images are seen as a whole
    ]:
        settings = [f"train.init_from={NAME}", *settings]
        config = request.training_request(str(pictures), settings, None, False).config
        spec = prepare(config, tmp_path / "run", False).dataset.spec
        assert (spec.height, spec.crop_fraction) == (size, crop)


@pytest.mark.slow
def test_the_command_line_trains_from_weights_and_resumes(in_cache, pictures, tmp_path):
    run = tmp_path / "run"
    arguments = ["train", pictures, "--run-dir", run, "--epochs", 1, "--batch-size", 4,
                 "--pretrained", "--freeze-until", "stage4",
                 "--set", "data.image_size=96"]  # fmt: skip
    result = tfresnet(*arguments)
    assert result.exit_code == 0, result.stderr
    assert f"weights   {NAME}, 71.5 % of ImageNet, apache-2.0" in result.stderr
    assert json_of(*arguments, "--resume")["epochs"] == 1
    config = run_directory.open_run(run).config
    assert (config.train.init_from, config.train.pretrained) == (NAME, True)


def test_by_default_a_folder_starts_from_nothing_without_cache_and_network(place, pictures):
    settings = ["data.image_size=32"]
    config = request.training_request(str(pictures), settings, None, False).config
    assert (config.train.init_from, config.model.width) == (None, 0.5)
    assert "the hub can't be reached; --pretrained explains" in start.described(config)
    no = request.training_request(str(pictures), ["train.pretrained=false"], None, False).config
    assert start.described(no) is None


def test_other_presets_do_not_ask(server):
    config = request.training_request("cifar10-resnet20", [], None, False).config
    assert config.train.pretrained is False and config.train.init_from is None
    assert server.asked == []


def test_the_hub_is_asked_once_in_a_process(server, pictures):
    for _ in range(2):
        config = request.training_request(str(pictures), [], None, False).config
        assert config.train.init_from == NAME
    assert len(server.asked) == 1


def test_a_dry_run_downloads_nothing(server, pictures, tmp_path):
    """Its network is that of the weights; time and memory do not depend on them."""
    config = request.training_request(str(pictures), [], None, False).config
    prepared = prepare(config, tmp_path / "run", False, download=False)
    assert prepared.config.model.padding == "symmetric"
    assert prepared.dataset.spec.mean == (123.675, 116.28, 103.53)
    assert [method for method, *_ in server.asked if method == "GET"] == []


def test_an_option_of_the_network_chooses_its_weights(place):
    for settings, expected in [
        ([], "timm/resnet50.a1_in1k"),
        (["model.variant=d"], "timm/resnet50d.ra2_in1k"),
        (["model.attention=se"], "timm/seresnet50.a1_in1k"),
        (["model.variant=d", "model.attention=eca"], "timm/ecaresnet50d.miil_in1k"),
        (["model.dropout=0.1"], "timm/resnet50.a1_in1k"),
        (["model.stem=cifar"], None),
        (["model.padding=same"], None),
    ]:
        config = loading.from_overrides(["model.arch=resnet50", *settings])
        found = named_weights.default_for(config.model)
        assert (found and found.name) == expected, settings


def test_every_row_is_for_an_architecture_that_we_have():
    for name, one in named_weights.TABLE.items():
        assert loading.is_hub_name(name)
        zoo.architecture(one.arch)
        assert one.file.endswith((".safetensors", ".h5"))  # arrays and their names, no code
        assert one.is_keras == bool(one.md5)
        assert 60 < one.top1 < 90 and 0.8 <= one.crop <= 1 and one.license
        assert named_weights.default_for(one.model) is not None


def test_a_path_that_exists_wins_over_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert named_weights.named(NAME) is row()
    (tmp_path / NAME).mkdir(parents=True)
    assert named_weights.named(NAME) is None
    with pytest.raises(InputError, match="expected a run"):
        transfer.initial_weights(loading.from_overrides([f"train.init_from={NAME}"]))


def test_the_list_of_models_names_weights_and_marks_those_that_are_here(in_cache):
    listed = {m["name"]: m["weights"] for m in json_of("models")["models"]}
    assert listed["resnet20"] == []
    assert listed["resnet18"][0] == {
        "name": NAME, "top1": 0.71504, "image_size": 224, "license": "apache-2.0", "cached": True,
    }  # fmt: skip
    assert not any(one["cached"] for one in listed["resnet50"])
    shown = tfresnet("models").stdout
    assert f"{NAME}*" in shown and "timm/resnet50.a1_in1k," in shown


def test_names_and_shapes_tell_the_structure_of_a_row():
    """As files of the same weights are read without a name."""
    for name in ("timm/resnet10t.c3_in1k", "timm/ecaresnet50d.miil_in1k"):
        one = row(name)
        stem = {f"conv1.{3 * i}.weight": np.empty((w, 3, 3, 3)) for i, w in enumerate(STEMS[name])}
        more = {"layer1.0.se.conv.weight": np.empty((1, 1, 3))} if "eca" in name else {}
        arrays = stem | more | {"layer2.0.downsample.1.weight": np.empty((1, 1, 1, 1))}
        convention = names.convention("torch", one.arch, "resnet")
        found = structure.settings(arrays, convention, zoo.architecture(one.arch))
        settings = {f"model.{key}={value}" for key, value in one.settings}
        assert settings | {"model.padding=symmetric", "model.stem=imagenet"} <= set(found)
