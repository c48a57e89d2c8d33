"""The automatic choice, and the inspection of a quantised file that it relies on."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
import tf_keras as keras

from tests.test_cli import json_of, refused, tfresnet
from tests.test_damage import with_metadata
from tfresnet import tasks
from tfresnet.config.formats import DYNAMIC, FLOAT32, INT4_SELECTIVE, INT8
from tfresnet.deploy import bits, calibration, gate, inspect, selection, speed
from tfresnet.deploy.budget import Budget, judge, nearest
from tfresnet.deploy.candidate_files import CandidateFiles
from tfresnet.deploy.candidates import Candidate, next_candidate
from tfresnet.deploy.compress import qat
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.compress.finetune import FineTuner
from tfresnet.deploy.formats import delegates, graph, tflite
from tfresnet.deploy.records import TriedRecord
from tfresnet.deploy.report.of_search import on_front
from tfresnet.runs.result import ArtifactRecord, SelectionRecord
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata

FEW = ["--verify-images", 50, "--calibration-images", 50]


@pytest.mark.parametrize(
    ("dynamic", "faster"), [(0.5, "dynamic"), (0.95, "neither"), (1.05, "neither"), (1.2, "static")]
)
def test_times_that_are_alike_name_no_winner(dynamic, faster):
    assert speed.faster_of(1.0, dynamic) == faster


def test_the_cheapest_file_within_the_budget_is_chosen(run_copy):
    report = json_of("export", run_copy, "--auto", "--max-drop", 100, *FEW)
    assert [rung["rung"] for rung in report["ladder"]] == ["int8"]
    assert report["ladder"][0]["misses"] == []
    assert report["chosen"] == report["artifacts"][0]["path"]
    assert Path(report["chosen"]).name == "model_int8.tflite"
    smaller = json_of(
        "export", run_copy, "--auto", "--max-drop", 100, "--max-bytes", 70_000,
        *FEW,
    )  # fmt: skip
    first, second = smaller["ladder"]
    assert first["misses"][0].startswith("bytes ")
    assert second["rung"] == "int8 with 4-bit weights where they lose least"
    assert smaller["chosen"] == second["path"]
    assert Path(second["path"]).stat().st_size == second["bytes"] <= 70_000
    assert (Path(smaller["bundle"]) / Path(second["path"]).name).exists()
    layers = read_metadata(second["path"]).recipe["four_bits"]
    assert 0 < len(layers) < 10
    assert second["path"].endswith(f"model_int4_selective_{len(layers)}.tflite")


def test_the_layers_that_lose_least_for_a_byte_get_four_bits():
    layers = [bits.LayerBits("a", 100, 1.0), bits.LayerBits("b", 100, 0.1),
              bits.LayerBits("c", 10, 0.001)]  # fmt: skip
    chosen = {needed: "".join(x.tensor for x in bits.allocate(layers, needed))
              for needed in (0, 5, 50, 105, 150, 999)}  # fmt: skip
    # With 50 needed c comes first and turns out not to be needed, but is quieter than b.
    assert chosen == {0: "", 5: "c", 50: "b", 105: "bc", 150: "ab", 999: "abc"}


def test_the_nearest_file_keeps_size_before_accuracy():
    budget = Budget(0.3, 100)
    small, large = measured(0.0, 2.0), measured(0.0, 0.1).model_copy(update={"bytes": 300})
    assert nearest([large, small], budget) is small
    assert nearest([], budget) is None


def test_what_no_other_candidate_beats_is_on_the_front():
    tried = [
        TriedRecord(rung=str(i), bytes=size, drop=drop)
        for i, (size, drop) in enumerate([(100, 0.0), (50, 0.2), (60, 0.3), (50, 0.5)])
    ]
    assert [on_front(one, tried) for one in tried] == [True, True, False, False]
    assert not on_front(TriedRecord(rung="refused"), tried)


@pytest.mark.slow  # the order of the candidates is tested below, from results that are given
def test_the_search_ends_when_nothing_is_left(run_copy):
    """No file can gain 100 points."""
    bundle = run_copy / "export" / "bundle"
    bundle.mkdir(parents=True)
    result = tfresnet(
        "export", run_copy, "--auto", "--max-drop", -100, "--qat-epochs", 1,
        *FEW,
    )  # fmt: skip
    assert result.exit_code == 1
    assert "no file is within the budget" in result.stderr
    assert "absl" not in result.stderr  # what libraries warn of is not for who exports
    assert "Chosen on 50 training images" in result.stdout
    for rung in (
        "int8",
        "int8 with the 1 most sensitive layer in float",
        "the 4 most sensitive layers",
        "int8 after 1 epoch of",
    ):
        assert f"  {rung}" in result.stdout or rung in result.stdout
    assert "int4" not in result.stdout  # bytes were not the trouble
    assert not bundle.exists()  # of an earlier export, it would look current
    folder = run_copy / "export"
    selective = graph.float_operations((folder / "model_int8_selective_4.tflite").read_bytes())
    computing = [o for o in selective if not o.startswith(graph.CONVERSIONS)]
    assert len(computing) == 4


PLAIN, FOUR, RANGES, FLOAT = map(Candidate, (INT8, INT4_SELECTIVE, DYNAMIC, FLOAT32))
SLOW = [(kind, "latency_ms") for kind in (PLAIN, RANGES, FLOAT)]


@pytest.mark.parametrize(
    ("missed", "expected"),
    [
        # What is too large is made smaller, and what fits is trained; nothing larger is tried.
        ([(PLAIN, "bytes")], FOUR),
        ([(PLAIN, "bytes drop"), (FOUR, "bytes")], None),
        ([(PLAIN, "bytes"), (FOUR, "drop")], Candidate(INT4_SELECTIVE, trained=True)),
        ([(PLAIN, "bytes"), (FOUR, "drop"), (Candidate(INT4_SELECTIVE, trained=True), "drop")],
         None),
        # What lost too much gets layers in float while they fit, then training.
        ([(PLAIN, "drop")], Candidate(INT8, layers_in_float=1)),
        ([(PLAIN, "drop"), (Candidate(INT8, 1), "drop")], Candidate(INT8, layers_in_float=2)),
        ([(PLAIN, "drop"), (Candidate(INT8, 1), "bytes")], Candidate(INT8, trained=True)),
        ([(PLAIN, "drop"), (Candidate(INT8, 1), "latency_ms drop")],
         Candidate(INT8, trained=True)),
        ([(PLAIN, "drop"), *((Candidate(INT8, n), "drop") for n in (1, 2, 4))],
         Candidate(INT8, trained=True)),
        ([(PLAIN, "drop"), (Candidate(INT8, 1), "bytes"),
          (Candidate(INT8, trained=True), "drop")], None),
        # Integers that are too slow here leave dynamic ranges and float32.
        ([(PLAIN, "latency_ms")], RANGES),
        ([(PLAIN, "latency_ms"), (RANGES, "latency_ms")], FLOAT),
        ([(PLAIN, "latency_ms drop"), (RANGES, "drop"), (FLOAT, "bytes")], None),
        (SLOW, Candidate(INT8, slim=0.25)),
        ([*SLOW, (Candidate(INT8, slim=0.25), "latency_ms")], Candidate(FLOAT32, slim=0.25)),
        ([*SLOW, (Candidate(INT8, slim=0.25), "drop")], None),
    ],
)  # fmt: skip
def test_what_is_tried_next_helps_with_what_was_missed(missed, expected):
    assert next_candidate({candidate: set(keys.split()) for candidate, keys in missed}) == expected


def measured(drop: float, on_selection: float = 0.0, failures: tuple[str, ...] = ()):
    selection = {"drop": on_selection, "failures": [*failures]}
    return ArtifactRecord(
        path="model", bytes=10, latency_ms=1.0, drop=drop, selection=SelectionRecord(**selection)
    )


def test_what_chooses_is_neither_reported_nor_trained_on():
    budget, held_out = Budget(0.3), ["on the held-out images: drop 0.5 > 0.3"]
    assert judge(measured(0.5), budget) == ({"drop"}, held_out)
    assert judge(measured(0.1), budget) == (set(), [])
    worse = measured(0.1, 0.4, ("top-1 dropped 0.40 points",))
    assert judge(worse, budget) == ({"drop"}, ["drop 0.4 > 0.3"])


def test_a_fifth_of_the_training_images_is_kept_to_choose_on(tiny_run):
    data = tiny_run.dataset()
    indices = selection.draw(len(data.train), 0, None)
    rest, kept = selection.divide(data, indices)
    assert len(kept) == round(len(data.train) / 5)
    assert len(kept) + len(rest.train) == len(data.train)
    assert not set(kept.indices) & set(rest.train.indices)
    some = tf.data.Dataset.from_tensors(np.array([3, 0]))
    images, labels = next(iter(kept.batches(some)))
    np.testing.assert_array_equal(images, data.train.images[indices[[3, 0]]])
    np.testing.assert_array_equal(labels, data.train.targets[indices[[3, 0]]])
    drawn = calibration.draw(data.train, 200, 0, tasks.of(data.output), (), indices)
    assert drawn.manifest["count"] == 200
    assert not set(drawn.manifest["indices"]) & set(indices)


def test_four_bits_can_be_trained_for(tiny_run, tmp_path, monkeypatch):
    """The weights of the trained network are a float network's, which a recipe then rounds."""
    data, specs = tiny_run.dataset(), (tiny_run.spec, tiny_run.output)
    images = data.train.images[:50]
    model = tiny_run.model()
    network = FunctionalNetwork.of(model, tiny_run.spec.shape)
    aware = qat.quantization_aware(network)
    pixels = (images.astype(np.float32) - 128) / 128
    plain = qat.without_fake_quantization(aware, network).model
    # Keras folds a norm into another order of the same sums.
    np.testing.assert_allclose(plain(pixels), model(pixels), atol=1e-3)

    trained_with: list[keras.Model] = []
    without_fake_quantization = qat.without_fake_quantization
    monkeypatch.setattr(
        qat, "without_fake_quantization",
        lambda aware, network: trained_with.append(aware)
        or without_fake_quantization(aware, network),
    )  # fmt: skip
    training = qat.QuantizationAwareTraining(1, bits=4, edge_bits=8)
    trained = training.apply(network, FineTuner(tiny_run, data, tmp_path / "qat")).model
    kinds = (keras.layers.Conv2D, keras.layers.Dense)
    wrappers = [w for w in trained_with[0].layers if isinstance(getattr(w, "layer", None), kinds)]
    bits = {
        w.layer.name: quantizer.num_bits for w in wrappers for _, quantizer, _ in w._weight_vars
    }
    assert {bits.pop("stem_conv"), bits.pop("head")} == {8}
    assert set(bits.values()) == {4}
    content = tflite.convert(trained, *specs, "int4_mixed", images)
    assert graph.unique_weights(content) <= 16


def test_a_file_that_fails_a_check_is_not_within_the_budget(run_copy, monkeypatch):
    """And the next candidate, of which not all need be integer, is tried."""
    failures = gate.failures

    def strict(record, *rest, **more):
        found = failures(record, *rest, **more)
        return [*found, "1 operation is not integer"] if record.quantization == "int8" else found

    monkeypatch.setattr(gate, "failures", strict)
    report = json_of("export", run_copy, "--auto", "--max-drop", 100, *FEW)
    first, second = report["ladder"]
    assert first["misses"] == ["1 operation is not integer"]
    assert second["rung"] == "int8 with the 1 most sensitive layer in float"
    assert report["chosen"] == second["path"]


def test_what_a_network_refuses_is_said_and_passed(run_copy, monkeypatch):
    make = CandidateFiles.make

    def choosy(files, candidate):
        if candidate.quantization is INT8 and not candidate.trained:
            raise InputError("this network has no such file")
        return make(files, Candidate(INT8))

    monkeypatch.setattr(CandidateFiles, "make", choosy)
    report = json_of("export", run_copy, "--auto", "--max-drop", 100, *FEW)
    first, *_, last = report["ladder"]
    assert first == {"rung": "int8", "path": None, "misses": ["this network has no such file"]}
    assert report["chosen"] == last["path"]


def test_a_budget_by_hand():
    record = ArtifactRecord(path="model", drop=0.4, bytes=1000, latency_ms=2.0)
    assert Budget(0.5, 1000, 2.0).exceeded(record) == {}
    assert list(Budget(0.3, 999, 1.0).exceeded(record).values()) == [
        "drop 0.4 > 0.3", "bytes 1000 > 999", "latency_ms 2 > 1"
    ]  # fmt: skip
    assert Budget(0.5).exceeded(record.model_copy(update={"drop": float("nan")})) == {
        "drop": "drop nan > 0.5"
    }


def test_inspect_measures_every_layer(exported, tiny_run, tmp_path):
    folder = tiny_run.directory / "export"
    result = json_of("inspect", folder / "model_int8.tflite")
    assert result["operations"]["CONV_2D"] == 9
    assert result["fully_integer"]
    assert result["obstacles"] == []
    kinds = [layer["operation"] for layer in result["layers"]]
    assert kinds.count("CONV_2D") == 9
    assert kinds[-1] == "FULLY_CONNECTED"
    # One rounding of a uniform signal to 8 bits has 6.02 * 8 = 48 dB; ten layers leave half.
    levels = [layer["sqnr_db"] for layer in result["layers"]]
    assert all(10 < level < 60 for level in levels), levels
    assert {verdict["delegate"] for verdict in result["delegates"]} >= {"gpu", "edgetpu"}
    text = tfresnet("inspect", folder / "model_dynamic.tflite")
    assert "Float: CONV_2D at" in text.stdout
    assert re.search(r"\n  Edge TPU \(Coral\) +no\n", text.stdout)
    cut = tmp_path / "cut.tflite"
    cut.write_bytes((folder / "model_int8.tflite").read_bytes()[:5000])
    assert "cut short" in refused("inspect", cut)


RUNS = {
    # A file's kind and interface: what runs where, and what the CPU keeps of the rest.
    ("float32", "uint8"): {"xnnpack": "all", "gpu": "part CAST", "edgetpu": "none"},
    ("float16", "float"): {"xnnpack": "all", "gpu": "all", "coreml": "part MEAN"},
    ("dynamic", "float"): {"xnnpack": "all", "gpu": "none", "qnn": "none", "edgetpu": "none"},
    ("int8", "integer"): {"xnnpack": "all", "gpu": "all", "coreml": "none", "qnn": "all",
                          "nnapi": "all", "edgetpu": "all", "ethos-u": "all"},
    ("int16x8", "integer"): {"xnnpack": "none", "gpu": "none", "edgetpu": "none", "ethos-u": "all"},
    ("int4", "integer"): {"gpu": "none", "edgetpu": "none", "ethos-u": "none"},
}  # fmt: skip


@pytest.mark.parametrize(("kind", "interface"), RUNS)
def test_where_a_file_runs_is_read_from_it(tiny_run, kind, interface):
    """Vela 5.2 says the same of an Ethos-U: 0 operations on the CPU for int8 and int16x8."""
    images = tiny_run.dataset().train.images[:5]
    content = tflite.convert(
        tiny_run.model(), tiny_run.spec, tiny_run.output, kind, images, interface
    )
    found = {verdict["delegate"]: verdict for verdict in delegates.advice(content)}
    for name, expected in RUNS[kind, interface].items():
        runs, _, left = expected.partition(" ")
        assert found[name]["runs"] == runs, (name, found[name])
        assert not left or list(found[name]["left"]) == [left]
    assert all((v["runs"] == "all") == (not v["left"]) for v in found.values())


def test_what_to_export_is_said_where_it_helps(tiny_run):
    images = tiny_run.dataset().train.images[:5]

    def said(interface: str, kind: str = "float32") -> dict[str, str]:
        content = tflite.convert(
            tiny_run.model(), tiny_run.spec, tiny_run.output, kind, images, interface
        )
        verdicts = delegates.advice(content)
        texts = list(delegates.lines(verdicts))
        assert max(map(len, texts)) <= 78
        return dict(re.split(r"  +|: ", text, maxsplit=1) for text in texts)

    pixels = said("uint8")
    assert pixels["GPU"] == "all but CAST"
    assert "--interface float" in pixels["Better for GPU, Core ML"]
    assert "Better for QNN, NNAPI, Edge TPU, Ethos-U" in pixels
    floats = said("float")
    assert floats["GPU"] == floats["QNN (Qualcomm)"] == "all"
    assert floats["Core ML (Apple)"] == "all but MEAN"  # of any numbers, so there is no advice
    assert "Better for Edge TPU, Ethos-U" in floats
    integers = said("uint8", "int8")
    assert integers["CPU (XNNPACK)"] == "all but QUANTIZE, FULLY_CONNECTED, DEQUANTIZE"
    assert [line for line in integers if line.startswith("Better")] == [
        "Better for Core ML", "Better for QNN, NNAPI, Edge TPU, Ethos-U"
    ]  # fmt: skip


def test_a_file_is_compared_with_the_float32_one_of_its_own_weights(exported, tiny_run, tmp_path):
    def copy(kind: str, name: str) -> Path:
        source = tiny_run.directory / "export" / f"model_{kind}.tflite"
        return Path(shutil.copy(source, tmp_path / f"model_{name}.tflite"))

    int8, selective = copy("int8", "int8"), copy("int8", "int8_selective_2")
    pruned, trained = copy("int8", "int8_pruned"), copy("int8", "int8_pruned_qat")
    assert inspect.partner(int8) is None
    float32 = copy("float32", "float32")
    assert inspect.partner(int8) == inspect.partner(selective) == float32
    assert inspect.partner(float32) is inspect.partner(pruned) is inspect.partner(trained) is None

    other = dataclasses.replace(read_metadata(float32), network_sha256="other")
    with_metadata(float32, float32, json.dumps(other.to_dict()).encode())
    assert inspect.partner(int8) is None
    assert json_of("inspect", int8)["layers"] == []
    message = refused("inspect", int8, "--against", float32)
    assert "--against: expected a file of the same weights as" in message
    float32.write_bytes(float32.read_bytes()[:5000])
    assert inspect.partner(int8) is None


def test_the_layer_with_wrong_weights_is_the_most_sensitive(tiny_run):
    """A file whose third convolution has other weights than the float file's."""
    network = (tiny_run.model(), tiny_run.spec, tiny_run.output)
    images = tiny_run.dataset().train.images[:20]
    floating = tflite.convert(*network, "float32")
    kernel = next(v for v in network[0].variables if "stage2_block1_conv1/kernel" in v.name)
    kernel.assign(kernel * np.random.default_rng(0).uniform(0, 2, kernel.shape))
    spoilt = tflite.convert(*network, "int8", images)
    worst = inspect.worst(inspect.layer_errors(spoilt, floating, images))[0]
    assert "stage2_block1_conv1" in worst.tensor


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--auto", "--onnx"], "--auto: expected it to choose"),
        (["--auto", "--saved-model"], "--auto: expected it to choose"),
        (["--auto", "--prune", "0.5"], "--auto: expected no --prune beside it"),
        (["--max-bytes", "10"], "expected --auto with them"),
        (
            ["--onnx", "--quantize", "int4"],
            "--quantize: expected float32, float16, int8",
        ),
    ],
)
def test_auto_is_asked_for_alone(tiny_run, arguments, expected):
    assert expected in refused("export", tiny_run.directory, *arguments)
