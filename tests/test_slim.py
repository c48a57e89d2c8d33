"""Structured pruning: a smaller network, its costs, its run, and what can't be made slim."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tf_keras as keras

from tests.test_cli import json_of, refused
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import ModelConfig
from tfresnet.deploy.compress import channels, finetune, slim
from tfresnet.models import functional, zoo
from tfresnet.runs import preflight, run_directory
from tfresnet.runs.run_directory import Run
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec

SHAPE = (16, 16, 3)
NETWORKS = [
    {"arch": "resnet8"},
    {"arch": "resnet8", "pre_activation": True, "width": 0.5, "padding": "symmetric"},
    {"arch": "resnet14", "stem": "cifar", "width": 0.25, "attention": "se", "variant": "d"},
    {"arch": "resnet14", "stem": "cifar", "width": 0.25, "pre_activation": True},
]


def run_of(model: ModelConfig, folder: Path) -> Run:
    config = loading.from_overrides([]).model_copy(update={"model": model})
    output = OutputSpec("classification", tuple("0123456789"))
    return Run(folder, config, InputSpec(16, 16), output)


def prepared(options: dict) -> tuple[ModelConfig, keras.Model, list]:
    """A network whose norms are as training leaves them, functional, and its inner convolutions."""
    config, rng = ModelConfig(num_classes=10, **options), np.random.default_rng(0)
    model = functional.functional(zoo.build(config, SHAPE), SHAPE)
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in layer.get_weights()])
    return config, model, channels.inner_convolutions(model)


@pytest.mark.parametrize("options", NETWORKS, ids=lambda o: "-".join(map(str, o.values())))
def test_channels_that_do_nothing_leave_nothing_changed(options, tmp_path):
    """And the multiply-adds are those that were foreseen; the configuration tells the network."""
    config, model, inner = prepared(options)
    rng = np.random.default_rng(1)
    importance = []
    for each in inner:
        norm, dead = (
            model.get_layer(each.norm),
            rng.permutation(each.channels)[: each.channels // 2],
        )
        weights = norm.get_weights()
        for values in weights[:2]:  # gamma and beta: behind the ReLU these channels are 0
            values[dead] = 0
        norm.set_weights(weights)
        importance.append(np.isin(np.arange(each.channels), dead, invert=True).astype(float))
    assert [list(a > 0) for a in channels.by_norm(model, inner)] == [
        list(a > 0) for a in importance
    ]
    costs = channels.Costs.of(model, inner)
    kept = channels.least_important(importance, costs, 1, share=0.4)
    assert sum(map(len, kept)) == pytest.approx(0.6 * sum(e.channels for e in inner), abs=1)
    run = run_of(config, tmp_path)
    run = replace(run, config=slim.slim_config(run, kept))
    smaller = slim.cut(model, run, inner, kept)
    assert run.config.model.inner_widths == [len(channels) for channels in kept]
    assert functional.macs(smaller, SHAPE) == costs.with_widths([len(c) for c in kept])
    assert functional.macs(smaller, SHAPE) < costs.total
    assert zoo.cost(run.config.model, SHAPE) == (
        functional.parameters(smaller), functional.macs(smaller, SHAPE)
    )  # fmt: skip
    images = rng.normal(size=(2, *SHAPE)).astype(np.float32)
    expected = model(images).numpy()
    # The same sums in another order: 5 of float32's 7 digits.
    np.testing.assert_allclose(smaller(images), expected, atol=1e-5 * np.abs(expected).max())
    assert loading.validate({"model": run.config.model.model_dump()}).model == run.config.model


def test_the_loss_says_which_channels_matter():
    """A channel whose output the logits do not depend on matters least."""
    _, model, inner = prepared({"arch": "resnet8"})
    first = inner[0]
    kernel = model.get_layer(first.reader).get_weights()[0]
    kernel[:, :, 3] = 0
    model.get_layer(first.reader).set_weights([kernel])
    rng = np.random.default_rng(0)
    batch = rng.normal(size=(8, *SHAPE)).astype(np.float32), np.eye(10, dtype=np.float32)[:8]

    def loss(targets, logits):
        return keras.losses.categorical_crossentropy(targets, logits, from_logits=True)

    found = channels.by_taylor(model, inner, [batch], loss)
    assert [len(values) for values in found] == [16, 32, 64]
    assert found[0].argmin() == 3


def test_channels_go_in_groups_where_they_cost_most_for_what_they_do():
    _, model, inner = prepared({"arch": "resnet8"})
    costs = channels.Costs.of(model, inner)
    alike = [np.ones(each.channels) for each in inner]
    widths = [len(kept) for kept in channels.least_important(alike, costs, 8, macs=8_000_000 // 4)]
    assert costs.with_widths(widths) <= 2_000_000
    assert all(width % 8 == 0 and width for width in widths)
    assert widths[0] == 8  # a channel of the first stage has the most multiply-adds
    with pytest.raises(InputError, match=r"max_macs: expected at least \d"):
        channels.least_important(alike, costs, 8, macs=1)
    with pytest.raises(InputError, match=r"slim: expected at most 0\.79"):
        channels.least_important(alike, costs, 8, share=0.95)


@pytest.fixture(scope="module")
def slimmed(tiny_run, tmp_path_factory) -> tuple[Path, dict]:
    """The tiny run after an export with half of its channels, an epoch of it, and one of QAT."""
    run = tmp_path_factory.mktemp("slim") / "run"
    shutil.copytree(tiny_run.directory, run, ignore=shutil.ignore_patterns("export"))
    report = json_of(
        "export", run, "--tflite", "--quantize", "int8", "--max-drop", 100, "--verify-images", 100,
        "--calibration-images", 50, "--slim", 0.5, "--slim-multiple", 4, "--compress-epochs", 1,
        "--qat-epochs", 1,
    )  # fmt: skip
    return run, report


def test_an_export_makes_a_smaller_network_and_its_files(slimmed):
    run, report = slimmed
    plain, smaller, aware = report["artifacts"]
    assert Path(smaller["path"]).name == "model_int8_slim.tflite"
    assert Path(aware["path"]).name == "model_int8_slim_qat.tflite"
    for artifact in (smaller, aware):
        assert artifact["bytes"] < plain["bytes"]
        assert artifact["fully_integer"]
        assert artifact["failures"] == []
    whole, found = json_of("info", run), json_of("info", smaller["path"])
    assert found["parameters"] < whole["parameters"]
    assert found["macs"] < whole["macs"]
    assert json_of("info", aware["path"])["macs"] == found["macs"]
    shape = {"inner_widths": found["inner_widths"]} | {k: found[k] for k in ("parameters", "macs")}
    assert found["provenance"]["compression"] == {"epochs": 1, "slim": shape}
    assert report["slim"] == {"run": str(run / "export" / "slim"), **shape}


def test_the_slim_network_is_an_ordinary_run(slimmed):
    """Opened, described, measured, trained further, started from."""
    run, report = slimmed
    folder = run / "export" / "slim"
    opened = run_directory.open_run(folder)
    facts, shape = json_of("info", folder), report["slim"]
    assert {key: facts[key] for key in shape if key != "run"} == {
        key: shape[key] for key in shape if key != "run"
    }
    assert opened.config.train.teacher == str(run)
    assert opened.finished_result().macs == facts["macs"]
    # Of its epoch, and of the whole network's answers.
    arithmetic = opened.finished_result().petaflop * 1e15
    teacher = 2 * run_directory.open_run(slimmed[0]).finished_result().macs
    assert arithmetic == pytest.approx((6 * facts["macs"] + teacher) * 23 * 64, rel=1e-3)
    before = json_of("evaluate", folder)
    assert before["top1"] == opened.finished_result().test_top1
    result = json_of("train", "--resume", "--run-dir", folder, "--epochs", 2)
    assert result["epochs"] == 2
    assert result["macs"] == facts["macs"]


def test_a_slim_run_is_not_removed_by_another_one(tmp_path, capsys):
    """Somebody may have trained it further."""
    folder = tmp_path / "slim"
    folder.mkdir()
    (folder / "config.yaml").touch()
    finetune._empty_unless(folder, {"method": "another"})
    assert [path.name for path in folder.iterdir()] == [finetune.PROVENANCE]
    assert (tmp_path / "slim_1" / "config.yaml").exists()
    assert "is now in" in capsys.readouterr().err
    finetune._empty_unless(folder, {"method": "another"})
    assert not (tmp_path / "slim_2").exists()


def test_what_can_not_be_slim_is_refused():
    message = (
        "slim: expected a ResNet, whose blocks can have fewer channels inside, got densenet121"
    )
    with pytest.raises(InputError, match=message):
        preflight.slimming("densenet121")
    grouped = zoo.build(ModelConfig(arch="resnext29_8x64d", num_classes=10, width=0.125), SHAPE)
    with pytest.raises(InputError, match="slim: expected a ResNet without groups"):
        channels.inner_convolutions(functional.functional(grouped, SHAPE))
    few = "model.inner_widths: expected 3 numbers, 1 for each of the 3 blocks of resnet8, got 2"
    with pytest.raises(InputError, match=few):
        zoo.build(ModelConfig(arch="resnet8", inner_widths=[8, 8]), SHAPE)
    assert "model.inner_widths: expected [], as densenet121 has no such option" in refused(
        "info", "densenet121", "--set", "model.inner_widths=[8]"
    )


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"slim": 0.5, "max_macs": "20M"}, "max_macs: expected none beside slim, got 20000000"),
        ({"max_macs": "20 mega"}, "max_macs: expected a valid integer, got '20 mega'"),
        ({"slim": 0.5, "features": True}, "features: expected no slim beside it, got both"),
    ],
)
def test_options_that_do_not_go_together(values, expected):
    with pytest.raises(InputError) as caught:
        ExportConfig(**values)
    assert str(caught.value) == expected


def test_units_of_multiply_adds():
    found = [ExportConfig(max_macs=text).max_macs for text in ("500k", "20M", "1.5G", 7)]
    assert found == [500_000, 20_000_000, 1_500_000_000, 7]
