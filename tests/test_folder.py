"""What counts as a picture, as a class and as a held-out part, in the folders that people have."""

import json
import shutil

import numpy as np
import pytest
from PIL import Image

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet import config as configs
from tfresnet.data import folder, images, lookup, sources
from tfresnet.deploy.device import runtime
from tfresnet.errors import UserError
from tfresnet.sections import DataConfig

TWO = {"cat": 2, "dog": 2}


@pytest.mark.parametrize(
    ("train", "held_out"),
    [("Training", "Test"), ("Train", "Val"), ("training_set", "test_set"), ("TRAIN", "valid"),
     ("Training Set", "Testing-Set")],
)  # fmt: skip
def test_parts_are_known_by_their_usual_names_in_any_case(tmp_path, train, held_out):
    write_images(tmp_path / train, TWO)
    write_images(tmp_path / held_out, {"cat": 1, "dog": 1})
    found = folder.scan(tmp_path)
    assert (found.labels, found.notes) == (("cat", "dog"), ())
    assert (len(found.train[0]), len(found.held_out[0])) == (4, 2)


def test_of_two_held_out_parts_the_one_for_validation_is_taken_and_that_is_said(tmp_path):
    for part in ("train", "test", "validation"):
        write_images(tmp_path / part, TWO)
    found = folder.scan(tmp_path)
    assert found.held_out[0][0].is_relative_to(tmp_path / "validation")
    assert found.notes == ("held-out images are those in validation/; not used: test/",)


def test_parts_are_no_classes(tmp_path):
    """With nothing to train on beside them."""
    for part in ("Test", "Validation"):
        write_images(tmp_path / part, TWO)
    with pytest.raises(UserError, match="beside Test, Validation; found no such folder"):
        folder.scan(tmp_path)


def test_whatever_pillow_opens_is_a_picture_and_the_rest_is_named(tmp_path):
    write_images(tmp_path, TWO)
    pixels = Image.fromarray(np.full((20, 24, 3), 90, np.uint8))
    for name in ("a.jfif", "b.JPE", "c.tga", "d.jp2", "e.ppm"):
        pixels.save(tmp_path / "cat" / name)
    pixels.save(tmp_path / "cat" / "without", "PNG")
    for name in ("notes.txt", "IMG.HEIC", "letter.pdf", "also without"):
        (tmp_path / "cat" / name).write_bytes(b"no picture")
    for name in ("._0.jpg", ".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / "dog" / name).write_bytes(b"of a system")
    found = folder.scan(tmp_path)
    assert len(found.train[0]) == 4 + 6
    (note,) = found.notes
    assert "files are no images and are left out: " in note
    assert all(name in note for name in ("notes.txt", "letter.pdf", "also without"))
    assert "Thumbs" not in note and "._0" not in note
    if ".heic" not in images.extensions():
        assert "IMG.HEIC" in note and "pip install pillow-heif" in note


def test_links_are_followed_and_hidden_folders_are_not(tmp_path):
    write_images(tmp_path / "elsewhere", {"more": 5})
    write_images(tmp_path / "pictures", TWO)
    cats = tmp_path / "pictures" / "cat"
    (cats / "linked").symlink_to(tmp_path / "elsewhere" / "more")
    (cats / "loop").symlink_to(cats)
    write_images(cats, {".ipynb_checkpoints": 3})
    assert len(folder.scan(tmp_path / "pictures").train[0]) == 4 + 5


def test_broken_pictures_can_be_left_out(tmp_path):
    write_images(tmp_path, {"cat": 4, "dog": 4})
    (tmp_path / "cat" / "cut.jpg").write_bytes((tmp_path / "cat" / "0.jpg").read_bytes()[:300])
    config = DataConfig(dataset=str(tmp_path))
    with pytest.raises(UserError, match=r"got 1 that are not: .*cut.jpg .*--skip-broken"):
        sources.load(config, 16)
    data = sources.load(config.model_copy(update={"skip_broken": True}), 16)
    assert len(data.train) + len(data.held_out) == 8
    assert "1 images can't be read and are left out" in data.notes[0] and "cut.jpg" in data.notes[0]
    shutil.copy(tmp_path / "cat" / "cut.jpg", tmp_path / "dog" / "0.jpg")
    for path in (tmp_path / "dog").glob("[1-3].jpg"):
        path.unlink()
    with pytest.raises(UserError, match="expected readable images of dog, got none"):
        sources.load(config.model_copy(update={"skip_broken": True}), 16)


def test_files_that_are_in_both_parts_are_refused(tmp_path):
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path / "val", TWO)
    shutil.copy(tmp_path / "train" / "cat" / "0.jpg", tmp_path / "val" / "cat" / "copy.jpg")
    with pytest.raises(UserError, match=r"got 1 files that are in both parts: .*copy.jpg"):
        sources.load(DataConfig(dataset=str(tmp_path)), 16)


def test_classes_may_have_an_order_of_their_own(tmp_path):
    """That of a file; and a model that was trained with one keeps it, wherever the file is."""
    pictures = write_images(tmp_path / "pictures", {"1": 3, "2": 3, "10": 3})
    config = DataConfig(dataset=str(pictures))
    assert sources.load(config, 16).spec.labels == ("1", "10", "2")
    names = tmp_path / "names.txt"
    names.write_text("1\n2\n10\n")
    data = sources.load(config.model_copy(update={"labels": str(names)}), 16)
    assert data.spec.labels == ("1", "2", "10")
    assert sources.load_for(data.spec, config).spec.labels == ("1", "2", "10")
    for text in ("1\n2\n", "1\n2\n2\n10\n", "1\n2\n11\n"):
        names.write_text(text)
        with pytest.raises(UserError, match=r"data.labels: expected each of the 3 classes once"):
            sources.load(config.model_copy(update={"labels": str(names)}), 16)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_8_and_12_bits_stored_in_16_keep_their_brightness(tmp_path, bits):
    """The brightest pixel tells how many bits are used, in training and on the device alike."""
    white = 2**bits - 1
    values = np.linspace(0, white, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        trained = np.asarray(images.with_channels(image, 1))
    spec = {"height": 32, "width": 32, "mean": (128.0,), "std": (128.0,), "crop_fraction": 1.0,
            "interpolation": "bilinear"}  # fmt: skip
    assert (runtime.read_picture(tmp_path / "a.png", spec)[..., 0] == trained).all()
    assert np.abs(trained.astype(int) - np.round(values / white * 255)).max() <= 1


def test_the_device_knows_the_same_pictures():
    assert runtime.extensions() == images.extensions()
    assert {".jpg", ".jfif", ".jpe", ".tga", ".webp"} <= images.extensions()
    assert not {".pdf", ".h5", ".mpg"} & images.extensions()


def test_a_files_place_is_not_in_what_leaves_the_machine(tmp_path):
    """An exported file names its folder alone; the run beside it knows where that is."""
    pictures = write_images(tmp_path / "my secret" / "pictures", {"cat": 5, "dog": 5})
    run = tmp_path / "run"
    steps = ("--epochs", "1", "--batch-size", "4", "--set", "data.image_size=16")
    json_of("train", pictures, "--run-dir", run, *steps)
    report = json_of("export", run, "--onnx", "--quantize", "float32", "--max-drop", 100)
    file = report["artifacts"][0]["path"]
    for path in (run / "export").rglob("*"):
        if path.is_file() and path.name != "report.json":
            assert b"my secret" not in path.read_bytes(), path
    assert runtime.read_metadata(file)["data"]["dataset"] == "pictures"
    assert json_of("evaluate", file)["n"] == 2
    alone = shutil.copy(file, tmp_path / "alone.onnx")
    assert "expected --dataset FOLDER, where the images of pictures are now" in refused(
        "evaluate", alone
    )
    assert json_of("evaluate", alone, "--dataset", pictures)["n"] == 2


def test_digits_are_the_embedded_ones_even_beside_a_folder_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_images(tmp_path / "digits", TWO)
    assert "--dataset ./digits" in sources.load(DataConfig(), 8).notes[0]
    assert sources.load(DataConfig(dataset="./digits"), 8).spec.labels == ("cat", "dog")


def test_places_of_data_are_stored_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("sub", "~/sub", "./sub"):
        config = configs.absolute(configs.load("quickstart", [f"data.data_dir={given}"]))
        assert config.data.data_dir == str(tmp_path / "sub")


def test_a_data_dir_that_is_one_level_too_deep_means_the_folder_above(tmp_path):
    inside = tmp_path / "cifar10" / "3.0.2"
    inside.mkdir(parents=True)
    for given in (tmp_path, tmp_path / "cifar10", inside):
        assert lookup.data_dir(str(given), "cifar10") == tmp_path


def test_classes_of_very_different_sizes_are_told(tmp_path):
    write_images(tmp_path, {"cat": 30, "cow": 12, "dog": 5})
    (note,) = sources.load(DataConfig(dataset=str(tmp_path)), 16).notes
    assert "by a factor of 6.0 (cat 24, cow 10, dog 4)" in note
    for number in range(24):
        (tmp_path / "cat" / f"{number}.jpg").unlink()
    assert sources.load(DataConfig(dataset=str(tmp_path)), 16).notes == ()


def test_notes_about_the_data_are_printed_before_training(tmp_path):
    write_images(tmp_path / "pictures", {"cat": 4, "dog": 4})
    (tmp_path / "pictures" / "cat" / "readme.txt").write_text("no picture")
    steps = ("--epochs", "1", "--batch-size", "4", "--set", "data.image_size=16")
    run = ("--run-dir", tmp_path / "run")
    result = tfresnet("train", tmp_path / "pictures", *run, *steps, "--json")
    assert json.loads(result.stdout)["epochs"] == 1
    assert "Note: 1 files are no images and are left out: cat/readme.txt" in result.stderr
