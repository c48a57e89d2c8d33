"""Fine-tuning from weights: rates, batch normalization, images to stop by, and the recipe."""

import json

import numpy as np
import pytest

from tests.conftest import TINY, write_images
from tests.test_cli import refused
from tests.test_transfer import fine_tune, weights
from tfresnet.config import loading
from tfresnet.data import folder_recipe, sources, validation
from tfresnet.data.folder_recipe import Pictures
from tfresnet.data.splits import labels_of
from tfresnet.runs import experiments
from tfresnet.runs.request import training_request
from tfresnet.runs.result import RunResult
from tfresnet.runs.train_run import train
from tfresnet.training import patience

ONE_STEP = ("train.epochs=1", "train.batch_size=1437", "train.warmup_epochs=0", "data.flip=false",
            "train.weight_decay=0", "data.crop_padding=0")  # fmt: skip


def test_the_backbone_has_a_lower_rate_than_the_head(tiny_run, tmp_path):
    """One step of SGD: each weight of the backbone moves by a tenth of what it would have moved."""
    before, moved = weights(tiny_run), {}
    for factor in (1.0, 0.1):
        run = fine_tune(
            tiny_run.directory, tmp_path / str(factor), *ONE_STEP, "train.lr=0.01",
            f"train.backbone_lr_factor={factor}",
        )  # fmt: skip
        moved[factor] = {
            name: value - before[name]
            for name, value in weights(run).items()
            if "moving" not in name
        }
    for name, whole in moved[1.0].items():
        share = 1.0 if name.startswith("head") else 0.1
        # A step is some 1e-4; float32 weights of about 1 have steps of 1e-7.
        np.testing.assert_allclose(moved[0.1][name], share * whole, atol=5e-7, err_msg=name)
    assert max(np.abs(value).max() for value in moved[1.0].values()) > 1e-4


def test_norms_stay_as_they_are(tiny_run, tmp_path):
    run = fine_tune(
        tiny_run.directory,
        tmp_path / "run",
        "train.freeze_norms=true",
        "train.epochs=1",
        "train.lr=1e-3",
    )
    before = weights(tiny_run)
    changed = {name for name, value in weights(run).items() if (value != before[name]).any()}
    assert changed and not [name for name in changed if "bn" in name]
    assert "expected weights to start from" in refused(
        "train", "quickstart", "--set", "train.freeze_norms=true", "--run-dir", tmp_path / "none"
    )


@pytest.mark.parametrize("key", ["train.backbone_lr_factor", "train.bias_lr_factor"])
def test_only_sgd_and_muon_have_several_rates(key, tmp_path):
    line = refused(
        "train", "quickstart", "--set", f"{key}=0.1", "--set", "train.optimizer=adamw",
        "--run-dir", tmp_path / "none",
    )  # fmt: skip
    assert f"{key}: expected train.optimizer=sgd or muon with it, got adamw" in line


def test_a_part_of_each_class_is_set_aside_and_nothing_is_lost():
    config = loading.load("quickstart", ["data.validation_fraction=0.1"]).data
    whole = sources.load(config, 32)
    divided = validation.set_aside(whole, config)
    assert len(divided.train) + len(divided.validation) == len(whole.train)
    assert not set(divided.train.indices) & set(divided.validation.indices)
    counts = np.bincount(labels_of(divided.validation))
    assert counts.tolist() == [round(0.1 * n) for n in np.bincount(labels_of(whole.train))]
    again = validation.set_aside(whole, config)
    assert (again.validation.indices == divided.validation.indices).all()
    assert validation.set_aside(whole, loading.load("quickstart").data).validation is None


def test_the_validation_part_stops_and_keeps_an_epoch_and_the_held_out_part_does_not(tmp_path):
    settings = [*TINY, "train.epochs=3", "data.validation_fraction=0.2", "train.keep=best",
                "train.patience=1", "train.lr=1e-30"]  # fmt: skip
    run = train(loading.load("quickstart", settings), tmp_path / "run")
    records = run.records()
    # No epoch is better than the first.
    assert len(records) == 2
    assert all("validation_top1" in r and "held_out_top1" in r for r in records)
    assert run.finished_result().test["n"] == 360
    assert not experiments.epoch_was_chosen(run.finished_result())
    chosen = run.finished_result().to_dict()
    chosen["config"]["data"]["validation_fraction"] = 0.0
    assert experiments.epoch_was_chosen(RunResult.model_validate(chosen))
    assert patience.score_key(run.config.data, "top1") == "validation_top1"


@pytest.mark.parametrize("count", [10, 100, 999, 1000, 5000])
def test_the_recipe_from_weights_takes_a_third_of_the_pictures(count):
    pictures = Pictures(count, 5, 300)
    nothing = folder_recipe.choose(pictures)
    found = folder_recipe.choose_from_weights(pictures, None)
    assert found["train.epochs"] <= round(nothing["train.epochs"] / 3)
    assert ("data.validation_fraction" in found) == (count >= folder_recipe.ENOUGH_TO_STOP)
    assert found["train.batch_size"] == min(16, nothing["train.batch_size"])
    # Of an image the head's rate is 8 times that from nothing, whatever the batch.
    per_image = [each["train.lr"] / each["train.batch_size"] for each in (found, nothing)]
    assert per_image[0] == pytest.approx(8 * per_image[1], rel=1e-3)
    settings = [loading.setting(key, value) for key, value in found.items()]
    loading.load(folder_recipe.PRESET, settings)  # every one of them is allowed


def test_the_size_is_that_of_the_weights(tmp_path):
    """Small pictures for weights of 224 pixels are seen as photographs are."""
    found = folder_recipe.choose_from_weights(Pictures(40, 2, 40), 224)
    assert "model.arch" not in found and "data.crop_padding" not in found
    small = folder_recipe.choose_from_weights(Pictures(40, 2, 300), 32)
    assert small["data.crop_padding"] == 4


def test_a_folder_and_a_name_are_enough(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "pictures", {"a": 6, "b": 6}, size=(40, 60))
    request = training_request(
        "pictures", ["train.init_from=digits", "train.epochs=1"], None, resume=False
    )
    train_config = request.config.train
    assert train_config.backbone_lr_factor < 1
    run = train(request.config, request.directory)
    assert run.spec.shape == (32, 32, 3)
    assert run.output.labels == ("a", "b")
    assert json.loads((run.directory / "result.json").read_text())["arch"] == "resnet8"
