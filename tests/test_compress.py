"""Pruning, clustering, quantisation-aware training, and all of them in a row."""

import dataclasses
import json
import re
import shutil
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import tf_keras as keras

from tests.conftest import NEAR, TINY, distance, export
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import ModelConfig
from tfresnet.deploy import gate, targets
from tfresnet.deploy.compress import chain, cluster, finetune, fold, prune, qat, ranges
from tfresnet.deploy.compress.base import Compressor, FunctionalNetwork
from tfresnet.deploy.formats import graph, tflite
from tfresnet.models import zoo
from tfresnet.models.functional import functional
from tfresnet.runs import run_directory
from tfresnet.runs.result import ArtifactRecord
from tfresnet.runs.train_run import train
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.training import loop
from tfresnet.training.optimizers import decays


def compressed_by(compressor: Compressor, run, data, folder: Path) -> keras.Model:
    network = FunctionalNetwork.of(run.model(), run.spec.shape)
    return compressor.apply(network, finetune.FineTuner(run, data, folder)).model


@pytest.fixture(scope="module")
def compressed(tiny_run, tmp_path_factory) -> tuple[Path, list[dict]]:
    """The tiny run pruned, clustered, and trained for quantisation, an epoch each."""
    run = tmp_path_factory.mktemp("compressed") / "run"
    shutil.copytree(tiny_run.directory, run, ignore=shutil.ignore_patterns("export"))
    report = json_of(
        "export", run, "--tflm", "--quantize", "int8", "--max-drop", 100, "--verify-images", 100,
        "--calibration-images", 50, "--prune", 0.5, "--cluster", 8, "--qat-epochs", 1,
        "--compress-epochs", 1,
    )  # fmt: skip
    return run, report["artifacts"]


def test_zeros_and_clusters_survive_to_the_integer_file(compressed):
    run, artifacts = compressed
    names = [str(Path(a["path"]).relative_to(run / "export")) for a in artifacts]
    assert names == [
        "tflm/model_int8.tflite",
        "tflm_pruned_clustered/model_int8_pruned_clustered.tflite",
        "model_int8_pruned_clustered_qat.tflite",
        "tflm_pruned_clustered_qat/model_int8_pruned_clustered_qat.tflite",
    ]
    assert (Path(artifacts[-1]["path"]).parent / "model.cc").exists()
    plain, *others = artifacts
    assert plain["sparsity"] < 0.05
    for artifact in others:
        # Half of all but the first convolution's and the classifier's, 1.4 % of the weights.
        assert artifact["sparsity"] == pytest.approx(0.493, abs=0.005)
        assert artifact["gzip_bytes"] < 0.6 * plain["gzip_bytes"]
        assert artifact["fully_integer"]
        assert artifact["failures"] == []
        assert (artifact["packed"] is not None) == (artifact["format"] == "tflm")
        # 0.83 to 0.95 with four seeds and two sets of kernels; weights in disorder have 0.1.
        assert artifact["top1"] > 0.4


def test_packed_weights_take_less_flash(compressed):
    _, (plain, clustered, *_) = compressed
    packed = clustered["packed"]
    assert plain["packed"] is None
    assert packed["same_weights"]
    assert packed["same_answers"] is not False
    assert packed["bytes"] < 0.6 * packed["unpacked_bytes"]  # 3 of 8 bits a weight
    path = Path(packed["path"])
    assert path == Path(clustered["path"]).parent / "packed" / Path(clustered["path"]).name
    assert "AddDecode" in (path.parent / "model.h").read_text()
    assert len(re.findall("0x", (path.parent / "model.cc").read_text())) == packed["bytes"]


def kernels(path: str) -> list[np.ndarray]:
    """The stored kernels of a file's convolutions, but for the first's."""
    model = graph.read(Path(path).read_bytes())
    found = [
        np.asarray(model.buffers[t.buffer].data, np.uint8).view(dtype).reshape(t.shape)
        for t in model.subgraphs[0].tensors
        for dtype in [{graph.schema.TensorType.FLOAT32: np.float32,
                       graph.schema.TensorType.INT8: np.int8}.get(t.type)]
        if dtype and len(t.shape) == 4 and model.buffers[t.buffer].data is not None
    ]  # fmt: skip
    return [k for k in found if k.shape[-1] > 3]


def test_a_kernel_has_no_more_values_than_clusters(compressed):
    """In the files, and the record says how many it has."""
    _, artifacts = compressed
    assert artifacts[0]["unique_weights"] > 100
    for artifact in artifacts[1:]:
        found = [len(np.unique(kernel)) for kernel in kernels(artifact["path"])]
        assert len(found) == 8
        assert max(found) == artifact["unique_weights"] <= 8


def clustered_of(architecture: dict, sparse: bool = False) -> tuple[keras.Model, np.ndarray]:
    """A small untrained network with 8 clusters a kernel, and images, uint8 [4, 16, 16, 3]."""
    config = ModelConfig(num_classes=10, **architecture)
    network = zoo.build(config, (16, 16, 3))
    rng = np.random.default_rng(0)
    for layer in network.submodules:
        if isinstance(layer, keras.layers.BatchNormalization):
            # As training leaves them: a factor and a shift of its own for each channel.
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    model = cluster.clusterable(FunctionalNetwork.of(network, (16, 16, 3)), 8, sparse)
    return cluster.stripped(model), rng.integers(0, 256, (4, 16, 16, 3), np.uint8)


SPEC, OUTPUT = InputSpec(16, 16), OutputSpec("classification", tuple("0123456789"))


@pytest.mark.parametrize(
    "architecture",
    [
        {"arch": "resnet8", "width": 0.5},
        {"arch": "resnet8", "width": 0.5, "pre_activation": True},
    ],
    ids=lambda architecture: "-".join(map(str, architecture.values())),
)
def test_a_clustered_kernel_keeps_its_few_values_in_every_file(architecture):
    """Whether norms come after the convolutions or before, and whatever the weights become."""
    model, images = clustered_of(architecture)
    for kind in ("float32", "float16", "dynamic", "int8"):
        content = tflite.convert(model, SPEC, OUTPUT, kind, images, clusters=8)
        assert 1 < graph.unique_weights(content) <= 8, kind
    per_channel = tflite.convert(model, SPEC, OUTPUT, "int8", images)
    assert graph.unique_weights(per_channel) > 8  # what one scale a kernel is good for


def test_folding_changes_no_answer():
    """Norms after a convolution go into it; one that follows a sum or a pooling stays."""
    rng = np.random.default_rng(0)
    images = rng.normal(size=(2, 16, 16, 3)).astype(np.float32)
    for architecture, left in ({}, 0), ({"pre_activation": True}, 4), ({"attention": "eca"}, 0):
        network = zoo.build(ModelConfig(arch="resnet8", num_classes=10, **architecture), SPEC.shape)
        for layer in network.submodules:
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
        model = fold.folded(functional(network, SPEC.shape))
        norms = [x for x in model.layers if isinstance(x, keras.layers.BatchNormalization)]
        assert len(norms) == left
        # The same sums in another order: 5 of float32's 7 digits.
        expected = network(images).numpy()
        np.testing.assert_allclose(model(images), expected, atol=1e-5 * np.abs(expected).max())


def test_a_file_with_more_values_than_clusters_fails():
    record = ArtifactRecord(path="model", quantization="int8", drop=0.0, unique_weights=73)
    assert gate.failures(record, 1.0, [], fine_tuned=True, clusters=16) == [
        "a kernel has 73 different weights, more than 16"
    ]
    assert gate.failures(record, 1.0, [], fine_tuned=True) == []


def test_a_finished_fine_tuning_is_loaded_and_another_one_is_not(compressed, tiny_run):
    run = run_directory.open_run(compressed[0])
    folder = run.directory / "export" / "pruned"
    log = (folder / "metrics.jsonl").read_text()
    data = run.dataset()
    # Of settings only those that are not the defaults: a later version's new key changes nothing.
    began = json.loads((folder / finetune.PROVENANCE).read_text())["config"]
    assert "freeze_norms" not in began["train"]
    assert began["train"]["epochs"] == 1
    again = compressed_by(prune.Pruning(0.5, "unstructured", 1), run, data, folder)
    assert prune.share_of_zeros(again) == pytest.approx(0.493, abs=0.005)
    assert (folder / "metrics.jsonl").read_text() == log  # with the times that it took
    less = compressed_by(prune.Pruning(0.25, "unstructured", 1), run, data, folder)
    assert prune.share_of_zeros(less) == pytest.approx(0.247, abs=0.005)


def test_two_of_four_neighbours_are_zero(tiny_run, tmp_path):
    model = compressed_by(prune.Pruning(0.5, "2:4", 1), tiny_run, tiny_run.dataset(), tmp_path)
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D) and not layer.name.startswith("stem"):
            kernel = layer.get_weights()[0]
            fours = kernel.transpose(3, 0, 1, 2).reshape(-1, 4)  # along the input channels
            assert ((fours == 0).sum(1) >= 2).all(), layer.name


def test_an_interrupted_fine_tuning_goes_on(tiny_run, tmp_path, monkeypatch, capsys):
    """From its newest checkpoint, to the same weights; its epochs are called what they are."""
    data, clustering = tiny_run.dataset(), cluster.Clustering(8, 2)
    whole = compressed_by(clustering, tiny_run, data, tmp_path / "whole")
    assert "clustering: epoch 2/2  loss" in capsys.readouterr().err
    begun = finetune.Trainer._evaluate
    monkeypatch.setattr(finetune.Trainer, "_evaluate", _interrupt_in(2, begun))
    with pytest.raises(KeyboardInterrupt):
        compressed_by(clustering, tiny_run, data, tmp_path / "cut")
    monkeypatch.undo()
    assert len((tmp_path / "cut" / "metrics.jsonl").read_text().splitlines()) == 1
    resumed = compressed_by(clustering, tiny_run, data, tmp_path / "cut")
    found = [x.get_weights()[0] for x in resumed.layers if isinstance(x, keras.layers.Conv2D)]
    assert all(len(np.unique(kernel)) <= 8 for kernel in found[1:])
    assert run_directory.weights_sha256(resumed) == run_directory.weights_sha256(whole)


def test_quantization_aware_training_decays_what_training_does():
    """Not the scales of batch norms that became depthwise convolutions."""
    config = ModelConfig(arch="resnet8", width=0.5, pre_activation=True, num_classes=10)
    model = zoo.build(config, SPEC.shape)
    aware = qat.quantization_aware(FunctionalNetwork.of(model, SPEC.shape))
    assert any("depthwise_kernel" in v.name for v in aware.trainable_variables)
    # Keras puts the blocks' names before those of the layers.
    found, expected = (
        {v.name.split("/", v.name.count("/") - 1)[-1] for v in net.trainable_variables if decays(v)}
        for net in (aware, model)
    )
    assert found == expected


def test_a_teacher_goes_on_teaching_while_it_is_there(tiny_run, tmp_path, monkeypatch, capsys):
    trainers = []

    class Idle(finetune.Trainer):
        """Goes to the end without training."""

        def _epoch(self, *_: object) -> None:
            self.step.assign(self.total_steps)
            trainers.append(self)

    monkeypatch.setattr(finetune, "Trainer", Idle)
    monkeypatch.setattr(loop, "plot", lambda *_: None)

    def teacher_of(run: run_directory.Run, directory: Path) -> keras.Model | None:
        fine_tune = finetune.FineTuner(run, run.dataset(), directory)
        fine_tune(run.model, finetune.Stage("QAT", 1, {}))
        return trainers[-1].train_step.teacher

    def taught_by(path: Path) -> run_directory.Run:
        training = tiny_run.config.train.model_copy(update={"teacher": str(path)})
        return dataclasses.replace(
            tiny_run, config=tiny_run.config.model_copy(update={"train": training})
        )

    assert teacher_of(tiny_run, tmp_path / "alone") is None
    teacher = teacher_of(taught_by(tiny_run.directory), tmp_path / "taught")
    assert run_directory.weights_sha256(teacher) == run_directory.weights_sha256(tiny_run.model())
    assert "teacher" not in capsys.readouterr().err
    assert teacher_of(taught_by(tmp_path / "gone"), tmp_path / "orphan") is None
    error = capsys.readouterr().err
    assert "Warning: fine-tuning without the teacher that this run had, from the labels" in error
    assert f"{tmp_path / 'gone'} does not exist" in error


def _interrupt_in(epoch: int, evaluate):
    calls = iter(range(1, 100))

    def wrapper(trainer):
        if next(calls) == epoch:
            raise KeyboardInterrupt
        return evaluate(trainer)

    return wrapper


def test_ranges_start_at_what_the_network_gives_without_rounding(tiny_run):
    """Of all images at once, so that the mean over batches is the one that there is."""
    images = tiny_run.dataset().held_out.images[: ranges.BATCH]
    x = ((images - tiny_run.spec.mean) / tiny_run.spec.std).astype(np.float32)
    model = tiny_run.model()
    logits = model(x).numpy()
    aware = qat.quantization_aware(FunctionalNetwork.of(model, tiny_run.spec.shape))
    ranges.observe(aware, x)
    found = {v.name: v.numpy() for v in aware.variables}
    head = [found[f"quant_head/post_activation_{end}:0"] for end in ("min", "max")]
    # Keras folds a norm into another order of the same sums: 5 of float32's 7 digits.
    np.testing.assert_allclose(head, [logits.min(), logits.max()], rtol=1e-4)
    assert found["quant_stem_relu/output_min:0"] == 0


def _optimized(path: str, folder: Path) -> set[str]:
    """The kinds of operations that onnxruntime makes of a file."""
    import onnx  # after TensorFlow: the other order crashes in protobuf

    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(folder / "optimized.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    return {n.op_type for n in onnx.load(folder / "optimized.onnx").graph.node}


def test_quantisation_aware_training_gives_an_integer_file_that_agrees(run_copy, tmp_path):
    options = ExportConfig(
        formats=("tflite", "onnx"),
        quantizations=("int8",),
        qat_epochs=1,
        max_drop=100,
        verify_images=100,
        calibration_images=50,
    )
    report = export(run_directory.open_run(run_copy), options)
    after, _, aware, twin = report["artifacts"]
    assert targets.count(options) == 4
    assert Path(aware["path"]).name == "model_int8_qat.tflite"
    assert aware["fully_integer"]
    assert aware["failures"] == []
    assert abs(aware["bytes"] - after["bytes"]) < 2000
    assert Path(twin["path"]).name == "model_int8_qat.onnx"  # with the scales that were trained
    run = run_directory.open_run(run_copy)
    data = run.dataset()
    pixels = data.held_out.images[:50]
    lite, other = (open_model(a["path"]).run(pixels) for a in (aware, twin))
    # The same integers; onnxruntime and XNNPACK round a few of them differently.
    assert distance(other, lite) < NEAR[8]
    # The network that was trained, which is loaded again; the checkpoint's answers are others.
    training = qat.QuantizationAwareTraining(1)
    trained = compressed_by(training, run, data, run_copy / "export" / "qat")
    expected = keras.activations.softmax(trained((pixels.astype(np.float32) - 128) / 128))
    assert distance(lite, expected.numpy()) < NEAR[8]
    # Each range begins at what was observed: at 0 behind a ReLU, so that none is left to compute,
    # and onnxruntime fuses every convolution and sum with its quantiser.
    assert not {"Conv", "FusedConv", "Add", "Relu"} & _optimized(twin["path"], tmp_path)
    log = (run_copy / "export" / "qat" / "metrics.jsonl").read_text()
    assert len(log.splitlines()) == 1


def test_a_pruned_float_file_may_answer_otherwise_than_the_checkpoint(run_copy):
    options = ExportConfig(
        formats=("tflite",),
        quantizations=("float32",),
        prune=0.5,
        compress_epochs=1,
        max_drop=100,
        verify_images=100,
    )
    plain, pruned = export(run_directory.open_run(run_copy), options)["artifacts"]
    assert Path(pruned["path"]).name == "model_float32_pruned.tflite"
    assert pruned["sparsity"] == pytest.approx(0.5, abs=0.01)
    assert pruned["max_abs_error"] > 1e-4 > plain["max_abs_error"]
    assert pruned["failures"] == []


@dataclasses.dataclass(frozen=True)
class Copying:
    """A compressor that is not tfmot's: it gives a copy of the network, untrained."""

    name = "pruned"
    stage = "copying"

    def check(self, network: FunctionalNetwork) -> None:
        """Accept every network."""

    def apply(self, network: FunctionalNetwork, fine_tune: finetune.FineTuner) -> FunctionalNetwork:
        """Return the copy."""
        assert fine_tune.directory.name == "pruned"
        assert network.stem and "head" in network.head
        return network.with_model(finetune.copied(network.model))


def test_another_compressor_can_take_the_place_of_one(run_copy, monkeypatch):
    """An export asks for the list of compressors and knows nothing else of them."""
    monkeypatch.setattr(chain, "weight_compressors", lambda config: [Copying()])
    config = ExportConfig(
        formats=("tflite",), quantizations=("float32",), prune=0.5, verify_images=50
    )
    plain, copied = export(run_directory.open_run(run_copy), config)["artifacts"]
    assert Path(copied["path"]).name == "model_float32_pruned.tflite"
    assert copied["top1"] == plain["top1"]
    assert copied["failures"] == []


def test_a_network_that_tfmot_refuses_is_refused_with_the_reason(tmp_path):
    settings = [*TINY, "train.epochs=1", "model.attention=eca"]
    train(loading.load("quickstart", settings), tmp_path / "run")
    reason = "it refuses: it has no quantization for the convolution of eca"
    assert reason in refused("export", tmp_path / "run", "--tflite", "--qat-epochs", 1)
    assert not list((tmp_path / "run" / "export").glob("*.tflite"))  # before any file is made


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--prune", "1"], "--prune"),
        (["--prune", "0.7", "--sparsity", "2:4"], "--prune: expected 0.5 with the sparsity 2:4"),
        (["--cluster", "1"], "--cluster"),
        (
            ["--prune", "0.5", "--cluster", "2"],
            "--cluster: expected at least 3 with prune (one is 0), got 2",
        ),
        (["--prune", "0.5", "--features"], "--features: expected no prune beside it"),
    ],
)
def test_what_can_not_be_is_refused(tiny_run, arguments, expected):
    result = tfresnet("export", tiny_run.directory, "--tflite", *arguments)
    assert result.exit_code == 2
    assert expected in result.stderr


@pytest.mark.parametrize("form", ["--onnx", "--saved-model"])
def test_what_would_not_be_written_is_not_fine_tuned(tiny_run, form):
    message = refused("export", tiny_run.directory, form, "--prune", 0.5)
    assert "--prune: expected one of the formats tflite, tflm, got" in message


def test_zeros_count_what_is_there():
    layer = keras.layers.Conv2D(2, 1, use_bias=False)
    model = keras.Sequential([keras.Input((2, 2, 2)), layer])
    layer.set_weights([np.array([[[[1.0, 1.0], [0.0, 2.0]]]])])
    assert prune.share_of_zeros(model) == 0.25
