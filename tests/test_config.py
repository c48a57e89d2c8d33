"""Configuration: presets, files, overrides, and what a mistake looks like."""

import json

import pytest

from tfresnet.config import loading
from tfresnet.config.sections import TrainConfig
from tfresnet.runtime.errors import InputError


@pytest.mark.parametrize("name", loading.presets())
def test_every_preset_is_valid_and_described(name):
    loaded = loading.load(name)
    assert loaded.name == name
    assert loaded.description


def test_overrides_are_read_as_yaml():
    loaded = loading.load("quickstart", ["train.lr=5e-2", "data.flip=true", "train.epochs=3"])
    assert (loaded.train.lr, loaded.data.flip, loaded.train.epochs) == (0.05, True, 3)


def test_a_file_says_only_what_differs(tmp_path):
    (tmp_path / "mine.yaml").write_text("train:\n  weight_decay: 1e-4\n")
    loaded = loading.load(str(tmp_path / "mine.yaml"))
    assert loaded.name == "mine"
    assert loaded.train.weight_decay == 1e-4
    assert loaded.train.batch_size == TrainConfig().batch_size


def test_yaml_round_trip_is_complete(tmp_path):
    loaded = loading.load("cifar10-resnet18", ["train.seed=7"])
    (tmp_path / "config.yaml").write_text(loaded.to_yaml())
    assert loading.read(tmp_path / "config.yaml") == loaded


def test_differences_are_named_by_key():
    old, new = loading.load("quickstart"), loading.load("quickstart", ["model.arch=resnet20"])
    assert loading.differences(old, new) == {"model.arch": ("resnet8", "resnet20")}


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("train.epoch=3", r"unknown key 'train.epoch': did you mean 'train.epochs'\?"),
        ("train.epochs=ten", r"train.epochs: expected a valid integer, got 'ten'"),
        ("train.epochs=0", r"train.epochs: expected greater than 0, got 0"),
        ("train.epochs=true", r"train.epochs: expected a valid integer, got True"),
        ("data.flip=3", r"data.flip: expected False, True or 'alternating', got 3"),
        ("train.scheduler=cosin", r"train.scheduler: expected 'cosine', 'step', 'constant', "),
        ("data.crop_mode=mirror", r"data.crop_mode: expected 'reflect' or 'zero', got 'mirror'"),
        ("data.randaugment_magnitude=31", r"randaugment_magnitude: expected less than or equal"),
        ("data.erasing=2", r"data.erasing: expected less than or equal to 1, got 2"),
        ("trian.epochs=3", r"unknown key 'trian': did you mean 'train'\?"),
        ("epochs=3", r"expected section.key=value"),
        ("train.lr", r"expected section.key=value"),
        ("model.num_classes=0", r"model.num_classes: expected greater than or equal to 2, got 0"),
    ],
)
def test_a_wrong_override_is_named_with_what_is_allowed(override, expected):
    with pytest.raises(InputError, match=expected) as caught:
        loading.load("quickstart", [override])
    assert "\n" not in str(caught.value)


def test_unknown_preset_names_the_closest():
    """A path is not taken for a preset's name that was mistyped."""
    with pytest.raises(InputError, match="unknown preset 'quikstart': did you mean 'quickstart'"):
        loading.load("quikstart")
    with pytest.raises(
        InputError, match=r"or a folder of images, got \./none, which does not exist"
    ):
        loading.load("./none")


@pytest.mark.parametrize("text", ["- a\n- b\n", "train: [", "!!python/object:os.system {}", ""])
def test_a_file_that_is_no_configuration_is_refused(tmp_path, text):
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(InputError, match=r"bad.yaml: expected"):
        loading.load(str(tmp_path / "bad.yaml"))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"expected a readable text file, got .*none.yaml"):
        loading.load(str(tmp_path / "none.yaml"))


def test_a_data_section_survives_json():
    """As it travels inside a model file; JSON turns the shares of the epochs into text."""
    data = loading.load("cifar10-resnet18-fast").data
    assert data.progressive
    assert loading.with_data(json.loads(json.dumps(data.model_dump())), {}) == data
    with pytest.raises(InputError, match=r"data.progressive.*expected a valid number, got 'late'"):
        loading.from_overrides(["data.progressive={late: 20}"])
