"""``tfresnet fit``: what a model takes, and which boards have it."""

import configparser
import json
from pathlib import Path

import pytest

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.deploy.budget import Budget, judge
from tfresnet.deploy.candidates import FIRST, Candidate, next_for_microcontroller
from tfresnet.deploy.device import advice, boards, networks, vela
from tfresnet.deploy.formats import arena, graph, tflite_micro, weight_tables
from tfresnet.runs.result import ArtifactRecord, MicrocontrollerRecord, SelectionRecord
from tfresnet.runtime.errors import InputError


def file(exported: dict, quantization: str) -> Path:
    (path,) = [
        a["path"] for a in exported["artifacts"]
        if (a["format"], a["quantization"]) == ("tflite", quantization)
    ]  # fmt: skip
    return Path(path)


@pytest.fixture(scope="module")
def model(exported) -> Path:
    return file(exported, "int8")


@pytest.fixture(scope="module")
def content(model) -> bytes:
    return graph.without_metadata(model.read_bytes())


def test_a_small_network_fits(model, content):
    names = ["rpi-pico", "arduino-nano-33-ble", "rpi-5"]
    result = json_of("fit", model, *(word for name in names for word in ("--board", name)))
    assert [board["name"] for board in result["boards"]] == names
    for board in result["boards"]:
        assert board["fits"] and not board["problems"] and not board["advice"]
        assert len(content) == board["model_bytes"] < board["flash_bytes"] <= board["flash_limit"]
        assert 0.9 * board["arena_bytes"] < board["ram_bytes"] <= board["ram_limit"]
        assert board["source"] and board["ms"] is None  # no such pictures were measured


def test_what_does_not_fit_is_told_what_would(model, content):
    """The largest picture that is named is the largest, by the same estimate."""
    needed = json_of("fit", model, "--flash", "1M", "--ram", "64K")["boards"][0]
    limit = needed["ram_bytes"] - 3000
    beside = needed["ram_bytes"] - arena.arena_bytes(content, 4)
    result = tfresnet("fit", model, "--flash", "20K", "--ram", str(limit), "--json")
    assert result.exit_code == 1
    (board,) = json.loads(result.stdout)["boards"]
    assert not board["fits"]
    assert [problem.partition(",")[0].split()[-1] for problem in board["problems"]] == [
        "flash", "RAM",
    ]  # fmt: skip
    (side,) = [
        int(text.partition("image_size=")[2].split()[0])
        for text in board["advice"] if "image_size" in text
    ]  # fmt: skip
    assert 8 <= side < max(advice.input_size(content))
    assert arena.of_model(advice.resized(content, side), 4) + beside <= limit
    assert arena.of_model(advice.resized(content, side + 1), 4) + beside > limit
    assert any("model.width=" in text for text in board["advice"])


def test_packed_weights_are_advised_where_flash_is_short(model, content):
    """With the size that a network whose kernels have so many different weights has packed."""
    needed = json_of("fit", model, "--flash", "1M", "--ram", "1M")["boards"][0]["flash_bytes"]
    result = tfresnet("fit", model, "--flash", f"{needed / 1024 - 8:.0f}K", "--ram", "1M")
    assert "custom: it would fit with packed weights: export --tflm --cluster 64" in result.stdout
    sizes = [weight_tables.clustered_size(content, clusters) for clusters in (64, 32, 16, 2)]
    assert sizes == sorted(sizes, reverse=True) and sizes[0] < len(content)


def test_channels_are_counted_where_they_shrink(content):
    whole, half = graph.read(content), advice.narrowed(content, advice.everywhere, 0.5)
    slim = advice.narrowed(content, advice.inside_blocks, 0.5)
    assert arena.of_model(half, 4) < arena.of_model(slim, 4) <= arena.of_model(whole, 4)
    (before,), (after,) = whole.subgraphs, half.subgraphs
    for index in (*before.inputs, *before.outputs):
        assert [*before.tensors[index].shape] == [*after.tensors[index].shape]
    kernels = sum(len(values) for _, _, values in graph.kernels(content))
    saved = len(content) - advice.narrowed_bytes(content, advice.everywhere, 0.5)
    # A quarter is left but for the edges; of what there is for each channel a half.
    assert 0.7 * kernels < saved < 0.85 * kernels
    # Each of the two convolutions of a block loses one of its two sides.
    saved = len(content) - advice.narrowed_bytes(content, advice.inside_blocks, 0.5)
    assert 0.4 * kernels < saved < 0.5 * kernels


def test_a_file_that_tflite_micro_does_not_run_is_named(exported):
    result = tfresnet("fit", file(exported, "dynamic"), "--board", "rpi-pico")
    assert result.exit_code == 1
    assert "no float activations beside int8 weights" in result.stdout
    assert "--tflm" in result.stdout


def test_a_measured_time_comes_with_its_source(model, monkeypatch):
    monkeypatch.setattr(networks, "recognized", lambda content: "resnet8")
    (board,) = json_of("fit", model, "--board", "stm32h747i-disco")["boards"]
    assert board["ms"] == 28.71
    assert "STMicroelectronics" in board["sources"]["ms"]


@pytest.mark.skipif(not vela.is_installed(), reason="needs ethos-u-vela")
def test_vela_estimates_an_ethos_u(model):
    (board,) = json_of("fit", model, "--board", "grove-vision-ai-v2")["boards"]
    assert board["fits"] and board["ms"] > 0
    assert "Vela" in board["sources"]["ms"]


@pytest.mark.skipif(not tflite_micro.is_installed(), reason="needs tflite-micro")
def test_the_estimate_is_near_what_tflite_micro_takes(content):
    measured = tflite_micro.measured_arena_bytes(content)
    assert arena.arena_bytes(content) == pytest.approx(measured, rel=0.02)
    small = tflite_micro.with_small_pointers(content, measured)
    assert arena.arena_bytes(content, 4) == pytest.approx(small, rel=0.02)


def test_every_board_has_its_source():
    known = boards.table()
    assert len(known) >= 15
    own = configparser.ConfigParser()
    own.read(boards.vela_ini())
    for name, board in known.items():
        assert name == board.name
        assert board.source and board.url.startswith("https://")
        assert 0 < board.ram_bytes <= board.ram * 1024 and board.flash_bytes > 0
        assert board.runtime in (boards.TFLM, boards.LITERT)
        for time in board.times:
            assert time.network in networks.NETWORKS and time.url.startswith("https://")
        if board.npu and not board.npu.system.startswith("Ethos_U"):  # Arm's own
            assert f"System_Config.{board.npu.system}" in own
    listed = json_of("fit", "--boards")["boards"]
    assert [board["name"] for board in listed] == list(known)


def test_sizes():
    assert [boards.size("ram", text) for text in ("1024", "1K", "1.5M")] == [1024, 1024, 1572864]
    for text in ("", "0", "K", "-1K", "1T"):
        with pytest.raises(InputError, match="ram: expected a size such as"):
            boards.size("ram", text)


def test_bad_usage(model, tmp_path):
    other = tmp_path / "model.onnx"
    other.write_bytes(b"")
    assert "expected a .tflite file" in refused("fit", other, "--board", "rpi-pico")
    assert "unknown board 'pico'" in refused("fit", model, "--board", "pico")
    assert "expected both or none" in refused("fit", model, "--ram", "64K")
    assert "expected a MODEL" in refused("fit")
    assert "expected --auto" in refused("export", tmp_path, "--board", "rpi-pico")
    assert "unknown board 'pico'" in refused("export", tmp_path, "--auto", "--board", "pico")


def test_flash_and_memory_are_limits_of_the_automatic_choice():
    record = ArtifactRecord(
        path="model", drop=0.0, selection=SelectionRecord(drop=0.0),
        microcontroller=MicrocontrollerRecord(flash_bytes=300 * 1024, ram_bytes=80 * 1024),
    )  # fmt: skip
    assert judge(record, Budget(1, max_flash=2**20, max_ram=2**18)) == (set(), [])
    limits, misses = judge(record, Budget(1, max_flash=2**20, max_ram=2**16))
    assert (limits, misses) == ({"ram"}, ["ram 80 KiB > 64 KiB"])
    plain, trained = Candidate(FIRST), Candidate(FIRST, trained=True)
    assert next_for_microcontroller({}) == plain
    quarter, half = (Candidate(FIRST, slim=share) for share in (0.25, 0.5))
    assert next_for_microcontroller({plain: {"ram"}}) == quarter
    assert next_for_microcontroller({plain: {"ram"}, quarter: {"drop"}}) is None
    assert next_for_microcontroller({plain: {"ram"}, quarter: {"flash", "drop"}}) == half
    assert next_for_microcontroller({plain: {"drop"}}) == trained
    assert next_for_microcontroller({plain: {"drop"}, trained: {"drop"}}) is None
