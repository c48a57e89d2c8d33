"""How the ranges of integer activations are set, and how weights are rounded."""

import numpy as np
import pytest

from tests.test_cli import json_of
from tfresnet.deploy import context
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.formats import activation_ranges, graph, kernels, recipes, tflite
from tfresnet.deploy.formats.base import Source
from tfresnet.runtime.backends import centered, open_model
from tfresnet.runtime.metadata import read_metadata


def histogram_of(values: np.ndarray) -> activation_ranges.Histogram:
    ends = min(0.0, float(values.min())), max(0.0, float(values.max()))
    found = activation_ranges.Histogram(*ends, np.zeros(activation_ranges.BINS, np.int64))
    found.add(values)
    return found


def rounding_error(values: np.ndarray, ends: activation_ranges.Range) -> float:
    low, high = ends
    step = (high - low) / 255
    zero = round(-low / step)
    found = (np.clip(np.round(values / step) + zero, 0, 255) - zero) * step
    return float(np.square(values - found).mean())


@pytest.mark.parametrize("relu", [False, True])
def test_an_outlier_does_not_make_all_steps_coarse(relu):
    values = np.random.default_rng(0).normal(size=1_000_000)
    if relu:
        values = np.maximum(values, 0)
    values[0] = 20
    found = {name: way(histogram_of(values)) for name, way in activation_ranges.METHODS.items()}
    low, high = found["min-max"]
    assert high == 20
    for name in ("percentile", "mse", "entropy"):
        assert low - 0.1 <= found[name][0] <= 0 and 2.5 < found[name][1] < 15, (name, found[name])
        assert rounding_error(values[1:], found[name]) < rounding_error(values[1:], (low, high))
    errors = {name: rounding_error(values, ends) for name, ends in found.items()}
    assert min(errors, key=lambda name: errors[name]) == "mse", errors


def test_zeros_alone_have_a_range():
    zeros = histogram_of(np.zeros(10))
    for way in activation_ranges.METHODS.values():
        low, high = way(zeros)
        assert np.isfinite([low, high]).all() and low <= 0 <= high


def test_the_method_is_chosen_on_other_training_images(run_copy, monkeypatch):
    monkeypatch.setattr(context, "CHOSEN_ON", 50)
    few = ["--verify-images", 20, "--calibration-images", 20, "--max-drop", 100]
    report = json_of("export", run_copy, "--tflite", "--quantize", "int8", *few)
    found = report["calibration"]
    assert found["count"] == 20
    assert found["chosen_on"] > 0
    assert min(found["errors"], key=found["errors"].get) == found["method"]
    path = report["artifacts"][0]["path"]
    assert read_metadata(path).calibration["method"] == found["method"]
    assert report["artifacts"][0]["fully_integer"]
    told = json_of(
        "export", run_copy, "--tflite", "--quantize", "int8", "--calibration", "percentile", *few
    )  # fmt: skip
    assert told["calibration"]["method"] == "percentile"
    assert "errors" not in told["calibration"]


def test_four_bits_by_gptq_are_closer_than_the_nearest(tiny_run, tmp_path, monkeypatch):
    """And each layer has the bits that it was given."""
    network, images = (tiny_run.model(), tiny_run.spec, tiny_run.output), None
    images = tiny_run.dataset().train.images[:100]
    exact = tflite.convert(*network, "float32")
    outputs = {}

    def answers(name: str, content: bytes) -> np.ndarray:
        path = tmp_path / f"{name}.tflite"
        path.write_bytes(content)
        return open_model(path).run(images)

    outputs["exact"] = answers("exact", exact)
    outputs["gptq"] = answers("gptq", tflite.convert(*network, "int4", images))
    monkeypatch.setattr("tfresnet.deploy.formats.tflite_gptq.apply", lambda content, *_: content)
    nearest = tflite.convert(*network, "int4", images)
    outputs["nearest"] = answers("nearest", nearest)
    error = {k: float(np.square(v - outputs["exact"]).mean()) for k, v in outputs.items()}
    assert error["gptq"] < error["nearest"], error
    assert graph.unique_weights(nearest) <= 16


def test_a_kernel_is_replaced_and_rounded(tiny_run):
    floating = tflite.convert(tiny_run.model(), tiny_run.spec, tiny_run.output, "float32")
    first, second, *_ = kernels.dense(floating)
    changed = kernels.with_kernel(floating, second.tensor, kernels.rounded(second.values, 4))
    same, rounded, *_ = kernels.dense(changed)
    np.testing.assert_array_equal(same.values, first.values)
    assert all(len(np.unique(row)) <= 15 for row in rounded.values)
    assert np.abs(rounded.values - second.values).max() <= np.abs(second.values).max() / 14 * 1.001
    assert kernels.layer_name(second.tensor) == "stage1_block1_conv1"


def test_layers_keep_their_bits_in_the_network_that_training_makes(tiny_run):
    network = (tiny_run.model(), tiny_run.spec, tiny_run.output)
    chosen = [kernel.tensor for kernel in kernels.dense(tflite.convert(*network, "float32"))][2:5]
    images = tiny_run.dataset().train.images[:10]
    twin = FunctionalNetwork.of(network[0], tiny_run.spec.shape).model
    recipe = recipes.Recipe(four_bits=tuple(chosen))
    for model in (network[0], twin):
        content = tflite.with_integer_activations(Source(model, *network[1:], images), recipe)
        fine = [len(np.unique(values)) > 16 for _, _, values in graph.kernels(content)]
        assert [i for i, more in enumerate(fine) if not more] == [2, 3, 4]


def test_pixels_span_the_whole_range_of_the_input(tiny_run):
    images = tiny_run.dataset().train.images[:10]
    floating = tflite.convert(tiny_run.model(), tiny_run.spec, tiny_run.output, "float32",
                              interface="float")  # fmt: skip
    found = activation_ranges.of(floating, centered(images), "mse")
    quantized = tflite.int8_with_ranges(floating, found, "uint8")
    assert graph.input_quantization(quantized) == (1 / 128, 128)
