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
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline
from tfresnet.data.sources import load
from tfresnet.runs import samples
from tfresnet.runtime.spec import DETECTION, SEGMENTATION, InputSpec, OutputSpec
from tfresnet.training import preview, truth_drawing

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
    assert truth_drawing.caption(np.array(label, np.float32), NAMES) == expected


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


@pytest.fixture
def few_scenes(monkeypatch):
    monkeypatch.setattr("tfresnet.data.scene_source.SCENES", {"train": 9, "held_out": 4})


def test_masks_are_blended_in_and_their_classes_are_named():
    output = OutputSpec(SEGMENTATION, ("sky", "road"), colors=("#000000", "#ff0000"))
    mask = np.array([[0, 1], [1, 255]], np.uint8)
    image = np.full((2, 2, 3), 100, np.uint8)
    drawn = truth_drawing.with_mask(image, mask, output)
    assert drawn[0, 0].tolist() == [50, 50, 50]
    assert drawn[0, 1].tolist() == [178, 50, 50]
    assert drawn[1, 1].tolist() == [100, 100, 100]
    assert truth_drawing.mask_caption(mask, output) == "road 0.50\nsky 0.25"


@pytest.mark.parametrize("channels", [1, 3])
def test_boxes_are_drawn_in_the_colors_of_their_classes(channels):
    output = OutputSpec(DETECTION, ("cat", "dog"), colors=("#00ff00", "#ff0000"))
    truth = {
        "boxes": np.array([[0.25, 0.25, 0.75, 0.75], [0, 0, 0.5, 0.5], [0, 0, 0, 0]], np.float32),
        "classes": np.array([1, 0, -1]),
        "ignored": np.array([False, True, False]),
    }
    drawn = truth_drawing.with_boxes(np.zeros((160, 160, channels), np.uint8), truth, output)
    assert drawn.shape == (320, 320, 3)
    assert drawn[240, 80].tolist() == [255, 0, 0]
    assert drawn[0, 0].tolist() == [0, 255, 0]
    assert drawn[320 - 40, 320 - 40].tolist() == [0, 0, 0]
    assert truth_drawing.boxes_caption(truth, output) == "dog: 1\ncat: 1"


@pytest.mark.parametrize("preset", ["digits-segment", "digits-detect"])
def test_the_command_draws_masks_and_boxes(tmp_path, few_scenes, preset):
    out = tmp_path / "seen.png"
    sets = ["train.batch_size=4", "data.scale=[0.7, 1.3]", "data.flip=true"]
    words = [word for s in sets for word in ("--set", s)]
    result = CliRunner().invoke(main, ["preview", preset, "--out", str(out), *words])
    assert result.exit_code == 0, result.output
    with Image.open(out) as picture:
        assert min(picture.size) > 600
    config = loading.load(preset, sets)
    assert preview.augmentations(config, SEGMENTATION) == [
        "color 0.2", "scale [0.7, 1.3]", "flip",
    ]  # fmt: skip


@pytest.mark.parametrize("task", ["segment", "detect"])
def test_held_out_pictures_of_a_run_are_those_of_its_task(tmp_path, few_scenes, task):
    data = load(DataConfig(task=task), 32)
    samples.write(data, tmp_path / "samples")
    written = sorted((tmp_path / "samples").iterdir())
    assert len(written) == 4
    with Image.open(written[0]) as picture:
        assert any((np.asarray(picture) == image).all() for image in images_of(data.held_out))


def images_of(split):
    return next(iter(pipeline.raw_batches(split, len(split))))[0].numpy()


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
