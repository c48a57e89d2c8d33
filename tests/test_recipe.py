"""Training on a folder and nothing else: what is chosen for it, and by what."""

import json

import pytest

import tfresnet as api
from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config import loading
from tfresnet.data import folder_recipe, sources
from tfresnet.data.folder_recipe import Pictures

ONE_STEP = ("--epochs", "1", "--batch-size", "4", "--set", "data.image_size=32")


@pytest.mark.parametrize(
    ("pictures", "expected"),
    [
        (Pictures(160, 5, 300), {"data.image_size": 128, "train.batch_size": 16,
                                 "train.lr": 0.0125, "train.epochs": 62, "model.width": 0.5}),
        (Pictures(3000, 5, 300), {"data.image_size": 224, "train.batch_size": 32,
                                  "train.lr": 0.025, "train.epochs": 30, "model.width": 1.0}),
        (Pictures(160, 5, 100), {"data.image_size": 96}),
        (Pictures(5000, 10, 28), {"data.image_size": 32, "model.arch": "resnet20",
                                  "data.random_resized_crop": 0, "data.crop_padding": 4}),
        (Pictures(6, 2, 300), {"train.batch_size": 6, "train.epochs": 100}),
    ],
)  # fmt: skip
def test_settings_fit_the_number_of_pictures_and_their_size(pictures, expected):
    chosen = folder_recipe.choose(pictures)
    assert expected.items() <= chosen.items()
    assert chosen["train.lr"] == pytest.approx(0.1 * chosen["train.batch_size"] / 128, abs=1e-6)
    settings = [loading.setting(key, value) for key, value in chosen.items()]
    loading.load(folder_recipe.PRESET, settings)  # every one of them is allowed


def test_a_folder_is_enough(tmp_path, monkeypatch):
    """It trains in runs/ under the folder's name, on every picture, and says what it chose."""
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "my pictures", {"a": 5, "b": 6}, size=(40, 60))
    result = tfresnet("train", "my pictures", *ONE_STEP, "--json")
    assert result.exit_code == 0, result.stderr
    assert "Recipe photos for 9 pictures of 2 classes, 40 pixels wide or high" in result.stderr
    run = json.loads(result.stdout)
    assert (run["run"], run["preset"], run["test"]["n"]) == ("runs/my-pictures", "photos", 2)
    assert "already holds a run" in refused("train", "my pictures")
    # With more pictures other settings would be chosen, but a run keeps its own.
    assert json_of("train", "my pictures", "--resume")["epochs"] == 1
    assert "got a run; to go on with it" in refused("train", "runs/my-pictures")
    again = api.train("my pictures", {"train.epochs": 1}, "runs/my-pictures", resume=True)
    assert again.result.test_top1 == run["test_top1"]


def test_settings_that_are_given_stay(tmp_path):
    folder = write_images(tmp_path / "pictures", {"a": 20, "b": 20}, size=(100, 120))
    config = folder_recipe.for_folder(folder, ["model.arch=resnet34", "train.epochs=7"])
    assert (config.model.arch, config.train.epochs, config.data.image_size) == ("resnet34", 7, 96)
    assert config.model.width == 1
    assert "resnet34" in config.description and "7 epochs" in config.description
    config = folder_recipe.for_folder(folder, ["train.init_from=some.h5"])
    assert "arch" not in config.model.model_fields_set
    assert config.data.image_size is None


def test_a_preset_is_not_mistaken_for_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "quickstart").mkdir()
    assert not folder_recipe.is_folder("quickstart")
    assert folder_recipe.is_folder("./quickstart")


def test_images_need_not_be_square(tmp_path):
    """Height comes first, as in an image's shape; a list in YAML, in JSON and in ``--set``."""
    folder = write_images(tmp_path / "pictures", {"a": 4, "b": 4}, size=(60, 90))
    config = loading.load("photos", [f"data.dataset={folder}", "data.image_size=[32, 48]"])
    assert sources.load(config.data, 224).spec.shape == (32, 48, 3)
    again = loading.validate(json.loads(config.model_dump_json()))
    assert again.data.height_and_width == (32, 48)
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert loading.read(tmp_path / "config.yaml") == config
    for wrong in ("[32]", "[32, 7]", "7"):
        assert "data.image_size" in refused("train", "--set", f"data.image_size={wrong}")
