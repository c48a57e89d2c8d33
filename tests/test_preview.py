"""The picture of what the network sees in training."""

import json

import numpy as np
import pytest
from click.testing import CliRunner
from PIL import Image

from tests.conftest import TINY
from tfresnet.cli.configuration import FLAGS
from tfresnet.cli.main import main
from tfresnet.config import loading
from tfresnet.data.sources import load
from tfresnet.runtime.spec import InputSpec
from tfresnet.training import preview

NAMES = ("cat", "dog", "great_white_shark_of_the_north")


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([0, 1, 0], "dog"),
        ([0.27, 0.73, 0], "dog 0.73\ncat 0.27"),
        ([0.999, 0.001, 0], "cat"),
        ([0, 0, 1], "great white shark…"),
    ],
)
def test_a_caption_names_the_classes_by_their_share(label, expected):
    assert preview.caption(np.array(label, np.float32), NAMES) == expected


@pytest.mark.parametrize("mean", [(128.0,) * 3, (123.675, 116.28, 103.53)])
def test_pixels_undo_the_normalisation(mean):
    bytes_ = np.arange(256, dtype=np.uint8).repeat(3).reshape(1, 16, 16, 3)
    spec = InputSpec(16, 16, mean, (58.395, 57.12, 57.375))
    normalised = (bytes_ - np.array(mean, np.float32)) / np.array(spec.std, np.float32)
    np.testing.assert_array_equal(preview.pixels(normalised, spec), bytes_)


def test_what_varies_the_images_is_said_in_order():
    sets = ["data.flip=alternating", "data.randaugment=2", "data.mixup_alpha=0.2"]
    config = loading.load("cifar10-resnet20", [*sets, "data.cutmix_alpha=0"])
    assert preview.augmentations(config) == [
        "crop 4 reflect", "alternating flip", "RandAugment(2, 9)", "mixup 0.2",
    ]  # fmt: skip
    plain = loading.load("quickstart", ["data.crop_padding=0", "data.flip=false"])
    assert preview.augmentations(plain) == ["no augmentation"]


def test_the_rows_are_the_first_images_of_the_first_batches(monkeypatch):
    drawn = []
    monkeypatch.setattr(preview, "grid", lambda rows, names, title: drawn.extend(rows) or b"")
    plain = [*TINY, "data.crop_padding=0", "data.flip=false"]
    config = loading.load("quickstart", plain)
    preview.preview(config, default_size=32)
    known = {image.tobytes() for image in load(config.data, 32).train.images}
    assert [images.shape for images, _ in drawn] == [(8, 16, 16, 3)] * 4
    assert all(image.tobytes() in known for images, _ in drawn for image in images)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_command_writes_a_picture(tmp_path, channels):
    out = tmp_path / "new" / "seen.png"
    sets = [*TINY, f"data.channels={channels}", "data.mixup_alpha=0.4", "train.batch_size=4"]
    arguments = ["preview", "quickstart", "--out", str(out), "--json"]
    arguments += [word for s in sets for word in ("--set", s)]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout) == {"picture": str(out)}
    with Image.open(out) as picture:
        assert picture.format == "PNG"
        assert min(picture.size) > 600  # 4 rows of 8, each image about 150 pixels wide
        assert len(picture.convert("L").getcolors()) > 100


def test_preview_takes_the_flags_of_train(tmp_path, monkeypatch):
    """Flags mean the same configuration to both, with a preset and without one."""
    seen = []

    def drawn(config, default_size):
        seen.append((config, default_size))
        return b""

    monkeypatch.setattr(preview, "preview", drawn)
    monkeypatch.chdir(tmp_path)
    data = tmp_path / "data"
    (data / "mnist").mkdir(parents=True)
    for arguments in (
        [
            "--dataset",
            "mnist",
            "--data-dir",
            str(data),
            "--arch",
            "resnet18",
            "--pre-activation",
        ],
        ["cifar10-resnet20", "--mixup-alpha", "0.3", "--set", "data.image_size=24"],
        [],
    ):
        result = CliRunner().invoke(main, ["preview", *arguments])
        assert result.exit_code == 0, result.stderr
    custom, preset, plain = (config for config, _ in seen)
    assert (custom.name, custom.data.dataset, custom.data.data_dir) == (
        "custom", "mnist", str(data),
    )  # fmt: skip
    assert (custom.model.arch, custom.model.pre_activation, seen[0][1]) == ("resnet18", True, 224)
    assert (preset.data.mixup_alpha, preset.data.image_size) == (0.3, 24)
    assert plain == loading.load("quickstart")
    for name in ("train", "preview"):
        options = {option.name for option in main.get_command(None, name).params}
        assert set(FLAGS) | {"preset", "overrides", "pre_activation"} <= options


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["quikstart"], "did you mean 'quickstart'"),
        (["quickstart", "--out", "seen.jpg"], "expected a name that ends in .png, got seen.jpg"),
        (["quickstart", "--set", "data.crop_padding=99"], "expected less than the image's 32"),
        (["quickstart", "--set", "data.randaugmnt=2"], "did you mean 'data.randaugment'"),
    ],
)
def test_a_mistake_gets_one_line(tmp_path, monkeypatch, arguments, expected):
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["preview", *arguments])
    assert result.exit_code == 2
    assert expected in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_small_images_that_a_run_begins_with_are_what_is_drawn(monkeypatch):
    drawn = []
    monkeypatch.setattr(preview, "grid", lambda rows, names, title: drawn.append((rows, title)))
    config = loading.load("quickstart", ["data.progressive={0.5: 12}", "data.repeats=2"])
    preview.preview(config, 32)
    ((rows, title),) = drawn
    assert {images.shape[1:] for images, _ in rows} == {(12, 12, 3)}
    assert "repeats 2, 12 px to 50%" in title
