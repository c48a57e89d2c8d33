"""What counts as a picture, as a class and as a held-out part, in the folders that people have."""

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace

import click
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageFile

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet import api
from tfresnet.cli.common import ExpandedPath
from tfresnet.cli.main import COMMANDS, main
from tfresnet.config import loading
from tfresnet.config.sections import DataConfig
from tfresnet.data import folder, images, lookup, sources
from tfresnet.runs import preflight
from tfresnet.runs.request import configuration
from tfresnet.runtime import picture_files, preprocess
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import read_metadata
from tfresnet.runtime.spec import InputSpec

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
    (note,) = found.notes
    assert "held-out ones those in validation/; not used: test/" in note


def test_folders_that_are_not_used_are_told(tmp_path):
    """A second one of the same name in another case, and what is no part."""
    for part in ("train", "training", "val", "raw"):
        write_images(tmp_path / part, TWO)
    (note,) = folder.scan(tmp_path).notes
    assert note.startswith("images to train on are those in train/")
    assert note.endswith("not used: raw/, training/")


def test_parts_are_no_classes(tmp_path):
    """With nothing to train on beside them, or beside the classes that they hold as well."""
    for part in ("Test", "Validation"):
        write_images(tmp_path / part, TWO)
    with pytest.raises(InputError, match="beside Test, Validation; found no such folder"):
        folder.scan(tmp_path)
    mixed = write_images(tmp_path / "mixed", TWO)
    write_images(mixed / "test", TWO)
    with pytest.raises(InputError, match="beside test; found no such folder"):
        folder.scan(mixed)


def test_a_class_may_be_called_like_a_part(tmp_path):
    """It holds no folders, and there are other classes: a train is a vehicle, too."""
    write_images(tmp_path, {"bus": 2, "test": 2, "train": 2})
    assert folder.scan(tmp_path).labels == ("bus", "test", "train")


def test_a_test_folder_without_classes_is_no_held_out_part(tmp_path):
    """As competitions have it: what is in it has no labels."""
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path, {"test": 3})
    with pytest.raises(InputError, match=r"to hold out a part of the images in .*train, give that"):
        folder.scan(tmp_path)
    assert folder.scan(tmp_path / "train").labels == ("cat", "dog")


@pytest.fixture
def no_heif(monkeypatch):
    """As where pillow-heif is not installed."""
    known = picture_files.suffixes() - {".heic", ".heif", ".hif"}
    monkeypatch.setattr(picture_files, "suffixes", lambda: known)


@pytest.fixture
def fake_heif(monkeypatch):
    """A pillow-heif that reads files of one byte of grey; Pillow forgets it afterwards."""

    class Plugin(ImageFile.ImageFile):
        format = "FAKEHEIF"

        def _open(self):
            self._mode, self._size = "L", (1, 1)
            self.tile = [ImageFile._Tile("raw", (0, 0, 1, 1), 8, ("L", 0, 1))]

    def register():
        Image.register_open("FAKEHEIF", Plugin, lambda head: head.startswith(b"FAKEHEIF"))
        Image.register_extension("FAKEHEIF", ".heic")

    extensions = Image.registered_extensions().copy()
    monkeypatch.setitem(sys.modules, "pillow_heif", SimpleNamespace(register_heif_opener=register))
    picture_files.suffixes.cache_clear()
    yield b"FAKEHEIF" + bytes([77])
    Image.OPEN.pop("FAKEHEIF", None)
    Image.ID[:] = [name for name in Image.ID if name != "FAKEHEIF"]
    Image.EXTENSION.clear()
    Image.EXTENSION.update(extensions)
    picture_files.suffixes.cache_clear()


def test_heic_is_read_where_pillow_heif_is_installed(tmp_path, fake_heif):
    """One picture by its path or its bytes, too, without a folder that is looked through."""
    for name in ("a.HEIC", "renamed.jpg"):
        (tmp_path / name).write_bytes(fake_heif)
    spec = InputSpec(1, 1)
    for source in (tmp_path / "a.HEIC", tmp_path / "renamed.jpg", fake_heif):
        assert preprocess.read(source, spec)[0, 0, 0] == 77
    assert preprocess.read(str(tmp_path / "renamed.jpg"), spec)[0, 0, 0] == 77
    assert len(picture_files.pictures_of(tmp_path)) == 2


def test_heic_is_named_with_what_to_install_elsewhere(tmp_path, no_heif):
    """Also where it is called .jpg, and on the device."""
    heic = b"\0\0\0\x18ftypheic" + bytes(50)
    for name in ("a.HEIC", "b.jpg"):
        (tmp_path / name).write_bytes(heic)
        assert images.examine(tmp_path / name).problem == "for HEIC: pip install pillow-heif"
        with pytest.raises(InputError, match=f"{name}: .*pip install pillow-heif"):
            preprocess.read(tmp_path / name, InputSpec(1, 1))
    assert len(picture_files.pictures_of(tmp_path)) == 2


def test_the_device_finds_the_pictures_that_training_finds(tmp_path):
    """Without an ending, through links; no hidden ones, no folder called like a picture."""
    pictures = write_images(tmp_path / "pictures", {"cat": 1, "odd.jpg": 1, ".hidden": 1})
    write_images(tmp_path / "elsewhere", {"more": 1})
    (pictures / "linked").symlink_to(tmp_path / "elsewhere")
    (pictures / "loop").symlink_to(pictures)
    (pictures / "cat" / "0.jpg").rename(pictures / "cat" / "without")
    (pictures / "Thumbs.db").write_bytes(b"of a system")
    (pictures / "notes.txt").write_text("no picture")
    found = [str(Path(p).relative_to(pictures)) for p in picture_files.pictures_of(pictures)]
    assert found == ["cat/without", "linked/more/0.jpg", "odd.jpg/0.jpg"]


def test_whatever_pillow_opens_is_a_picture_and_the_rest_is_named(tmp_path, no_heif):
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
    assert "left out: 4 files that can't be read as an image: " in note
    names = ("notes.txt", "letter.pdf", "also without", "IMG.HEIC", "pip install pillow-heif")
    assert all(name in note for name in names)
    assert "Thumbs" not in note and "._0" not in note


def test_images_of_no_class_are_told_and_systems_folders_are_no_classes(tmp_path):
    write_images(tmp_path / "pictures", TWO)
    for name in ("__MACOSX", "@eaDir", ".git"):
        (tmp_path / "pictures" / name).mkdir()
    shutil.copy(tmp_path / "pictures" / "cat" / "0.jpg", tmp_path / "pictures" / "loose.jpg")
    (tmp_path / "pictures" / "README.md").write_text("no image")
    found = folder.scan(tmp_path / "pictures")
    assert found.labels == ("cat", "dog")
    assert found.notes == ("left out: 1 image in no class folder: loose.jpg",)


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
    with pytest.raises(InputError, match=r"got 1 that are not: .*cut.jpg .*--skip-broken"):
        sources.load(config, 16)
    data = sources.load(config.model_copy(update={"skip_broken": True}), 16)
    assert len(data.train) + len(data.held_out) == 8
    assert "left out: 1 broken image: " in data.notes[0] and "cut.jpg" in data.notes[0]
    shutil.copy(tmp_path / "cat" / "cut.jpg", tmp_path / "dog" / "0.jpg")
    for path in (tmp_path / "dog").glob("[1-3].jpg"):
        path.unlink()
    with pytest.raises(InputError, match="expected readable images of dog, got none"):
        sources.load(config.model_copy(update={"skip_broken": True}), 16)


def test_what_is_held_out_is_not_trained_on(tmp_path):
    """Files with the same content are left out of training and named, under whatever name."""
    write_images(tmp_path / "train", TWO)
    write_images(tmp_path / "val", TWO)
    shutil.copy(tmp_path / "train" / "cat" / "0.jpg", tmp_path / "val" / "cat" / "copy.jpg")
    config = DataConfig(dataset=str(tmp_path))
    data = sources.load(config, 16)
    assert (len(data.train), len(data.held_out)) == (3, 5)
    (note,) = data.notes
    assert "left out of training: 1 image with the same content" in note
    assert str(Path("train", "cat", "0.jpg")) in note
    shutil.copy(tmp_path / "train" / "cat" / "1.jpg", tmp_path / "val" / "cat" / "copy2.jpg")
    with pytest.raises(
        InputError, match="expected images of cat to train on that are not held out"
    ):
        sources.load(config, 16)


def test_a_copy_is_not_held_out_of_training_on_its_original(tmp_path):
    """Where a share is held out by names."""
    write_images(tmp_path, {"cat": 8, "dog": 8})
    for number in range(8):
        shutil.copy(tmp_path / "cat" / f"{number}.jpg", tmp_path / "cat" / f"{number} (1).jpg")
    data = sources.load(DataConfig(dataset=str(tmp_path), eval_fraction=0.5), 16)
    contents = [{Path(p).read_bytes() for p in part.paths} for part in (data.train, data.held_out)]
    assert not contents[0] & contents[1]
    assert len(data.held_out) == 12


def test_classes_may_have_an_order_of_their_own(tmp_path):
    """That of a file; and a model that was trained with one keeps it, wherever the file is."""
    pictures = write_images(tmp_path / "pictures", {"1": 3, "2": 3, "10": 3})
    config = DataConfig(dataset=str(pictures))
    assert sources.load(config, 16).output.labels == ("1", "10", "2")
    names = tmp_path / "names.txt"
    names.write_text("1\n2\n10\n")
    data = sources.load(config.model_copy(update={"labels": str(names)}), 16)
    assert data.output.labels == ("1", "2", "10")
    assert sources.load_for(data.spec, data.output, config).output.labels == ("1", "2", "10")
    gone = config.model_copy(update={"labels": str(tmp_path / "gone.txt")})
    assert sources.load_for(data.spec, data.output, gone).output.labels == ("1", "2", "10")
    names.write_text("\ufeff1\r\n2\r\n\r\n10\r\n")  # as Windows' editors write it
    data = sources.load(config.model_copy(update={"labels": str(names)}), 16)
    assert data.output.labels == ("1", "2", "10")
    for text in ("1\n2\n", "1\n2\n2\n10\n", "1\n2\n11\n"):
        names.write_text(text)
        with pytest.raises(InputError, match=r"data.labels: expected each of the 3 classes once"):
            sources.load(config.model_copy(update={"labels": str(names)}), 16)


def test_an_order_that_lies_beside_the_classes_is_told_and_not_taken(tmp_path):
    write_images(tmp_path, TWO)
    (tmp_path / "classes.txt").write_text("dog\ncat\n")
    data = sources.load(DataConfig(dataset=str(tmp_path)), 16)
    assert data.output.labels == ("cat", "dog")
    assert f"--set data.labels={tmp_path / 'classes.txt'}" in data.notes[0]
    for text in ("cat\ndog\n", "cat\ncow\n"):  # the same order, and other classes
        (tmp_path / "classes.txt").write_text(text)
        assert sources.load(DataConfig(dataset=str(tmp_path)), 16).notes == ()


def test_only_a_folder_has_an_order_to_be_given(tmp_path):
    config = loading.load("quickstart", [f"data.labels={tmp_path / 'names.txt'}"])
    with pytest.raises(InputError, match=r"data.labels: expected a folder .*, got digits"):
        preflight.training(config)


@pytest.mark.parametrize("kind", ["RGB", "RGBA", "LA"])
def test_colors_of_12_bits_in_16_are_refused_and_not_black(tmp_path, kind):
    """Pillow gives the upper bytes alone; in training and on the device alike."""
    pixels = np.full((4, 4, {"RGB": 3, "RGBA": 4, "LA": 2}[kind]), 65535, np.uint16)
    for white, readable in ((65535, True), (4095, False), (255, False)):
        pixels[..., : 1 if kind == "LA" else 3] = white
        path = tmp_path / f"{white}.png"
        path.write_bytes(tf.io.encode_png(pixels).numpy())
        spec = InputSpec(4, 4)
        if readable:
            assert images.examine(path).problem is None
            assert preprocess.read(path, spec).max() == 255
            continue
        assert "got 12 bits in 16" in images.examine(path).problem
        with pytest.raises(InputError, match="got 12 bits in 16"):
            preprocess.read(path, spec)


@pytest.mark.parametrize("bits", [8, 12, 16])
def test_8_and_12_bits_stored_in_16_keep_their_brightness(tmp_path, bits):
    """The brightest pixel tells how many bits are used, in training and on the device alike."""
    white = 2**bits - 1
    values = np.linspace(0, white, 32 * 32).reshape(32, 32).astype(np.uint16)
    Image.fromarray(values).save(tmp_path / "a.png")
    with Image.open(tmp_path / "a.png") as image:
        trained = np.asarray(preprocess.with_channels(image, 1))
    spec = InputSpec(32, 32, (128.0,), (128.0,))
    assert (preprocess.read(tmp_path / "a.png", spec)[..., 0] == trained).all()
    assert np.abs(trained.astype(int) - np.round(values / white * 255)).max() <= 1


def test_greys_that_are_not_brightened_alike_are_told(tmp_path):
    """A dark picture of 16 bits is taken for one of 12."""
    write_images(tmp_path, TWO)
    for number, white in enumerate((60_000, 50_000)):
        pixels = np.full((8, 8), white, np.uint16)
        Image.fromarray(pixels).save(tmp_path / "cat" / f"deep{number}.png")
    assert folder.check(folder.scan(tmp_path)).notes == ()
    Image.fromarray(np.full((8, 8), 3000, np.uint16)).save(tmp_path / "dog" / "dark.png")
    (note,) = folder.check(folder.scan(tmp_path)).notes
    assert "1 as 12 bits, 2 as 16 bits, such as dark.png" in note


def test_what_pillow_can_read_is_a_picture():
    assert {".jpg", ".jfif", ".jpe", ".tga", ".webp"} <= picture_files.suffixes()
    assert not {".pdf", ".h5", ".mpg"} & picture_files.suffixes()


def test_a_files_place_is_not_in_what_leaves_the_machine(tmp_path, monkeypatch):
    """An exported file names its folder alone; the run beside it knows where that is.

    What is left out of the folder is told (here, since this trains) by all that use the folder.
    """
    pictures = write_images(tmp_path / "my secret" / "pictures", {"cat": 5, "dog": 5})
    run = tmp_path / "run"
    steps = ("--arch", "resnet8", "--epochs", 1, "--batch-size", 4, "--set", "data.image_size=16")
    (pictures / "cat" / "readme.txt").write_text("no picture")
    trained = tfresnet("train", pictures, "--run-dir", run, *steps, "--json")
    assert json.loads(trained.stdout)["epochs"] == 1
    assert "Note: left out: 1 file that can't be read as an image: cat/read" in trained.stderr
    options = ("--onnx", "--quantize", "float32", "--max-drop", 100)
    exported = tfresnet("export", run, *options, "--json")
    assert "Note: left out: 1 file" in exported.stderr
    report = json.loads(exported.stdout)
    file = report["artifacts"][0]["path"]
    monkeypatch.setattr("tfresnet.training.estimate.SECONDS", 0.1)
    for command in (["evaluate", file], ["train", pictures, *steps, "--dry-run"]):
        assert "Note: left out: 1 file" in tfresnet(*command).stderr, command
    for path in (run / "export").rglob("*"):
        if path.is_file() and path.name != "report.json":
            assert b"my secret" not in path.read_bytes(), path
    assert read_metadata(file).data["dataset"] == "pictures"
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
    assert sources.load(DataConfig(dataset="./digits"), 8).output.labels == ("cat", "dog")
    for preset, settings in (("./digits", []), ("digits", []), (None, ["data.dataset=./digits"])):
        config = loading.absolute(configuration(preset, settings))  # of train
        assert config.data.dataset == str(tmp_path / "digits")


@pytest.mark.parametrize("name", COMMANDS)
def test_every_path_of_a_command_may_begin_at_home(name):
    """Shells leave ``~`` as it is in ``--run-dir=~/runs`` and in quotes."""
    for parameter in main.get_command(None, name).params:
        if isinstance(parameter.type, click.Path):
            assert isinstance(parameter.type, ExpandedPath), parameter.name


def test_home_is_found_in_every_kind_of_path(tmp_path, monkeypatch):
    """A user who is not there is no traceback."""
    monkeypatch.setenv("HOME", str(tmp_path))
    write_images(tmp_path / "pictures", TWO)
    (tmp_path / "own.yaml").write_text("data: {dataset: ~/pictures}")
    for arguments in (["~/pictures"], ["--dataset=~/pictures"], ["~/own.yaml"]):
        assert "is a file" in refused("train", *arguments, "--run-dir=~/own.yaml")
    assert refused("info", "~/none.onnx").endswith(f"{tmp_path}/none.onnx does not exist")
    for arguments in (["~not-a-user/pictures"], ["--dataset=~not-a-user/pictures"]):
        assert "~not-a-user/pictures" in refused("train", *arguments)
    with pytest.raises(InputError, match=f"{tmp_path}/own.yaml is a file"):
        api.train("~/pictures", run_dir="~/own.yaml")


def test_places_of_data_are_stored_whole(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for given in ("sub", "~/sub", "./sub"):
        config = loading.absolute(loading.load("quickstart", [f"data.data_dir={given}"]))
        assert config.data.data_dir == str(tmp_path / "sub")


def test_a_data_dir_that_is_one_level_too_deep_means_the_folder_above(tmp_path, monkeypatch):
    inside = tmp_path / "cifar10" / "3.0.2"
    inside.mkdir(parents=True)
    for given in (tmp_path, tmp_path / "cifar10", inside):
        assert lookup.data_dir(str(given), "cifar10") == tmp_path
        monkeypatch.setenv("TFDS_DATA_DIR", str(given))
        assert lookup.data_dir(None, "cifar10") == tmp_path
    monkeypatch.delenv("TFDS_DATA_DIR")
    assert lookup.data_dir(None, "cifar10") is None


def test_classes_of_very_different_sizes_are_told(tmp_path):
    write_images(tmp_path, {"cat": 30, "cow": 12, "dog": 5})
    (note,) = sources.load(DataConfig(dataset=str(tmp_path)), 16).notes
    assert "by a factor of 6.0 (cat 24, cow 10, dog 4)" in note
    for number in range(24):
        (tmp_path / "cat" / f"{number}.jpg").unlink()
    assert sources.load(DataConfig(dataset=str(tmp_path)), 16).notes == ()
