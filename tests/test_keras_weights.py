"""Keras's weights by name, from its cache and from a server of the test's own."""

import dataclasses
import functools
import hashlib
import http.server
import importlib
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from huggingface_hub import constants

from tests.test_cli import refused
from tests.test_pretrained import CLASSES, SHORT, as_theirs, images, shortened, theirs_of  # noqa: F401
from tfresnet.config import loading
from tfresnet.models import keras_weights, named_weights, zoo
from tfresnet.models.weights_row import NamedWeights
from tfresnet.runs import hub, keras_files, transfer
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec

CONTENT = b"weights"


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """An empty cache of Keras, and no network."""
    monkeypatch.setenv("KERAS_HOME", str(tmp_path / "keras"))
    (tmp_path / "keras" / "models").mkdir(parents=True)
    return tmp_path / "keras" / "models"


def published(name: str, content: bytes, monkeypatch) -> NamedWeights:
    """The row of a name, as if Keras had published other content."""
    digest = hashlib.md5(content).hexdigest()
    row = dataclasses.replace(named_weights.TABLE[name], md5=digest)
    monkeypatch.setitem(named_weights.TABLE, name, row)
    return row


@pytest.mark.parametrize("arch", ["resnet50", "resnet50v2", "densenet121"])
def test_what_keras_has_downloaded_is_found_and_computes_the_same(
    arch, cache, images, monkeypatch, shortened  # noqa: F811
):  # fmt: skip
    theirs = theirs_of(SHORT[arch][0])
    file = cache / Path(named_weights.TABLE[f"keras/{arch}"].file).name
    theirs.save_weights(str(file))
    row = published(f"keras/{arch}", file.read_bytes(), monkeypatch)
    shortened(arch)
    config = loading.from_overrides([f"train.init_from={row.name}", f"model.arch={arch}"])
    found = transfer.initial_weights(config)
    assert (found.image_size, found.crop_fraction, len(found.labels)) == (224, 0.875, CLASSES)
    ours = zoo.build(found.model, (64, 64, 3), CLASSES)
    spec = InputSpec(64, 64, mean=found.mean, std=found.std)
    found.load_into(ours, spec, found.labels)
    expected = theirs(as_theirs(arch, images)).numpy()
    # float32 through a few blocks
    np.testing.assert_allclose(
        ours(images).numpy(), expected, rtol=0, atol=1e-4 * np.abs(expected).max()
    )


@pytest.fixture
def server(cache, tmp_path, monkeypatch) -> Iterator[Path]:
    """The folder of a server in the place of Keras's."""
    folder = tmp_path / "server"
    folder.mkdir()
    handler = functools.partial(http.server.SimpleHTTPRequestHandler, directory=str(folder))
    listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=listening.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(keras_files, "SERVER", f"http://127.0.0.1:{listening.server_port}")
    yield folder
    listening.shutdown()
    listening.server_close()


def put(server: Path, row: NamedWeights, content: bytes) -> Path:
    file = server / row.file
    file.parent.mkdir(parents=True)
    file.write_bytes(content)
    return file


def test_a_download_is_verified_and_kept(server, monkeypatch):
    row = published("keras/resnet50", CONTENT, monkeypatch)
    served = put(server, row, CONTENT)
    assert hub.cached(row) is None
    assert hub.fetch(row).read_bytes() == CONTENT
    served.unlink()
    assert hub.fetch(row) == hub.cached(row)
    hub.cached(row).write_bytes(b"other")
    with pytest.raises(InputError, match=r"expected weights with the MD5 .* or cut short: delete"):
        hub.fetch(row)


def test_another_file_on_the_server_is_refused(server, monkeypatch):
    row = published("keras/resnet50", CONTENT, monkeypatch)
    put(server, row, b"another file")
    with pytest.raises(InputError, match=r"got neither .*Incomplete or corrupted"):
        hub.fetch(row)


def test_neither_cache_nor_network_is_one_line(cache, tmp_path):
    line = refused(
        "train", "--init-from", "keras/resnet50", "--run-dir", tmp_path / "run", "--set",
        "data.dataset=digits",
    )  # fmt: skip
    assert "expected keras/resnet50 in " in line and "HF_HUB_OFFLINE is set" in line
    assert "--init-from FILE --arch resnet50" in line
    assert not (tmp_path / "run").exists()


def test_the_digests_are_those_that_keras_verifies_with():
    theirs = importlib.import_module("tf_keras.src.applications.resnet").WEIGHTS_HASHES
    densenet = importlib.import_module("tf_keras.src.applications.densenet")
    source = Path(densenet.__file__).read_text()
    for row in keras_weights.ROWS:
        if row.arch in theirs:
            assert row.md5 == theirs[row.arch][0]
        else:
            assert f'"{row.md5}"' in source and Path(row.file).name in source


def test_the_variant_of_keras_is_chosen_by_name_only():
    assert named_weights.default_for(
        loading.from_overrides(["model.arch=resnet50"]).model
    ).name.startswith("timm/")
    v1 = loading.from_overrides(["model.arch=resnet50", "model.variant=v1"]).model
    assert named_weights.default_for(v1).name == "keras/resnet50"
    v2 = loading.from_overrides(["model.arch=resnet50v2"]).model
    assert named_weights.default_for(v2).name == "keras/resnet50v2"
