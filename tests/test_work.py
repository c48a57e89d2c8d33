"""The arithmetic of a training, which no machine changes."""

import json
from pathlib import Path

import pytest

from tfresnet.config.sections import DataConfig, ModelConfig, RunConfig, TrainConfig
from tfresnet.models import zoo
from tfresnet.models.functional import macs
from tfresnet.runtime.spec import InputSpec
from tfresnet.training import work

SPEC = InputSpec(32, 32)
RECORDS = sorted((Path(__file__).parent.parent / "results").glob("*.json"))


@pytest.fixture(scope="module")
def network():
    return zoo.build(ModelConfig(arch="resnet8"), SPEC.shape, 10)


def config(progressive=None, epochs: int = 10) -> RunConfig:
    return RunConfig(
        data=DataConfig(progressive=progressive or {}),
        train=TrainConfig(epochs=epochs, batch_size=100, warmup_epochs=0),
    )


def test_six_operations_for_each_multiply_add_of_each_image(network):
    found = work.petaflop(config(), SPEC, 500, network)
    assert found == pytest.approx(6 * 12_501_632 * 10 * 500 * 100 / 1e15, rel=1e-3)


def test_small_images_cost_less_and_a_stopped_training_what_it_did(network):
    small = config({0.4: 16})  # 4 of 10 epochs
    of_small = macs(network, (16, 16, 3))
    expected = 6 * (4 * of_small + 6 * 12_501_632) * 50_000 / 1e15
    assert work.petaflop(small, SPEC, 500, network) == pytest.approx(expected, rel=1e-3)
    two = work.petaflop(small, SPEC, 500, network, steps=1000)
    assert two == pytest.approx(6 * 2 * of_small * 50_000 / 1e15, rel=1e-3)


def test_a_teacher_answers_once(network):
    alone = work.petaflop(config(), SPEC, 500, network)
    taught = work.petaflop(config(), SPEC, 500, network, network)
    assert taught == pytest.approx(alone * 4 / 3, rel=1e-3)


@pytest.mark.parametrize("file", RECORDS, ids=lambda file: file.stem)
def test_every_record_has_it(file):
    """With small images counted by their pixels: near enough for any network."""
    record = json.loads(file.read_text())
    last, train = record["curve"][-1], record["config"]["train"]
    done, images = 0.0, 0.0
    progressive = record["config"]["data"].get("progressive", {})
    parts = sorted((float(share), size) for share, size in progressive.items())
    for share, size in [*parts, (1, 32)]:
        images += (share - done) * (size / 32) ** 2
        done = share
    expected = 6 * record["macs"] * images * last["step"] * train["batch_size"] / 1e15
    if not train.get("teacher"):
        # Where a part of the epochs is no whole number of them, it is rounded.
        assert record["petaflop"] == pytest.approx(expected, rel=0.03)
    else:
        assert record["petaflop"] > expected
