"""``tfresnet fit``: what a model takes, and which boards have it."""

from pathlib import Path

import pytest

from tests.test_cli import json_of, refused
from tfresnet.deploy.device import tflite_micro
from tfresnet.deploy.formats import arena, graph


@pytest.fixture(scope="module")
def model(exported) -> Path:
    (path,) = [
        a["path"] for a in exported["artifacts"]
        if (a["format"], a["quantization"]) == ("tflite", "int8")
    ]  # fmt: skip
    return Path(path)


def test_a_small_network_fits(model):
    result = json_of("fit", model, "--board", "rpi-pico", "--board", "arduino-nano-33-ble")
    names = [board["name"] for board in result["boards"]]
    assert names == ["rpi-pico", "arduino-nano-33-ble"]
    for board in result["boards"]:
        assert board["fits"] and not board["problems"]
        array = len(graph.without_metadata(model.read_bytes()))
        assert array < board["flash_bytes"] <= board["flash_limit"]
        assert 0.9 * board["arena_bytes"] < board["ram_bytes"] <= board["ram_limit"]
        assert board["source"]


def test_unknown_boards_and_files_are_refused(model, tmp_path):
    assert "unknown board 'pico'" in refused("fit", model, "--board", "pico")
    other = tmp_path / "model.onnx"
    other.write_bytes(b"")
    assert "expected a .tflite file" in refused("fit", other, "--board", "rpi-pico")


@pytest.mark.skipif(not tflite_micro.is_installed(), reason="needs tflite-micro")
def test_the_estimate_is_near_what_tflite_micro_takes(model):
    content = graph.without_metadata(model.read_bytes())
    measured = tflite_micro.measured_arena_bytes(content)
    assert arena.arena_bytes(content) == pytest.approx(measured, rel=0.02)
    assert arena.arena_bytes(content, 4) < arena.arena_bytes(content)
