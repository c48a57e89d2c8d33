"""Folders of images and masks: what is read, and what is wrong with one, said before training."""

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from tests.test_cli import refused
from tfresnet.config.sections import DataConfig
from tfresnet.data import class_file, lookup, pipeline, sources, splits, tfds_masks
from tfresnet.data.dataset import Dataset
from tfresnet.deploy import subject
from tfresnet.runs.request import configuration
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import SEGMENTATION, InputSpec, OutputSpec

SIZE = (24, 20)  # width and height
CLASSES = "sky\nroad\ncar\n"


def write_pair(root: Path, name: str, mask: np.ndarray | None = None, seed: int = 0) -> None:
    """Write ``images/NAME.png``, noise, and ``masks/NAME.png``; by default in three stripes."""
    width, height = SIZE
    if mask is None:
        mask = np.repeat(np.arange(width, dtype=np.uint8)[None] * 3 // width, height, axis=0)
    pixels = np.random.default_rng([seed, *name.encode()]).integers(0, 256, (height, width, 3))
    for folder, picture in (("images", pixels.astype(np.uint8)), ("masks", mask)):
        path = root / folder / f"{name}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(picture).save(path)


def write_folder(root: Path, names: tuple[str, ...], classes: str = CLASSES) -> Path:
    for name in names:
        write_pair(root, name)
    (root / "classes.txt").write_text(classes)
    return root


@pytest.fixture
def streets(tmp_path: Path) -> Path:
    return write_folder(tmp_path, ("train/a", "train/b", "val/c"))


def load(root: Path, **config) -> Dataset:
    return sources.load(DataConfig(dataset=str(root), **config), default_size=8)


def first(split: splits.Split) -> tuple[np.ndarray, np.ndarray]:
    images, truth, _ = next(iter(pipeline.raw_batches(split, len(split))))
    return images.numpy(), truth.numpy()


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_a_folder_of_masks_is_segmentation(streets, cache):
    data = load(streets, cache=cache)
    assert data.output == OutputSpec(SEGMENTATION, ("sky", "road", "car"))
    assert data.spec == InputSpec(8, 8, fit="stretch")
    assert (len(data.train), len(data.held_out), data.notes) == (2, 1, ())
    for _ in range(2):  # the second time from memory
        images, masks = first(data.train)
    assert (images.shape, images.dtype) == ((2, 8, 8, 3), np.uint8)
    assert (masks.shape, masks.dtype) == ((2, 8, 8), np.uint8)
    np.testing.assert_array_equal(masks, np.broadcast_to([0, 0, 0, 1, 1, 2, 2, 2], (2, 8, 8)))


def test_pixels_of_each_class_are_counted_also_of_a_part(streets):
    """Void is no class."""
    write_pair(streets, "train/b", np.full(SIZE[::-1], 255, np.uint8))
    train = load(streets).train
    assert list(splits.pixel_counts(train, 3).sum(axis=0)) == [24, 16, 24]
    assert list(splits.pixel_counts(splits.Subset(train, np.array([1])), 3).sum(axis=0)) == [
        0,
        0,
        0,
    ]


def test_of_two_held_out_parts_the_test_part_is_taken_and_the_other_is_not_trained_on(streets):
    write_pair(streets, "test/d")
    data = load(streets)
    assert [Path(path).stem for path in data.held_out.paths] == ["d"]
    assert [Path(path).stem for path in data.train.paths] == ["a", "b"]
    assert "held-out ones those of test; not used: val" in data.notes[0]
    both = load(streets, train_split="train+val")
    assert [Path(path).stem for path in both.train.paths] == ["a", "b", "c"]
    assert [Path(path).stem for path in both.held_out.paths] == ["d"]
    chosen = load(streets, eval_split="val")
    assert [Path(path).stem for path in chosen.held_out.paths] == ["c"]
    with pytest.raises(InputError, match="train_split: expected one of test, train, val, got all"):
        load(streets, train_split="train+all")
    named = subject.data_section(DataConfig(dataset=str(streets)), {"eval_split": "val"})
    assert named.eval_split == "val"  # tfresnet evaluate --split val


def test_folders_of_other_names_are_parts_where_they_are_asked_for(tmp_path):
    root = write_folder(tmp_path, ("monday/a", "monday/b", "tuesday/c"))
    found = load(root, train_split="monday", eval_split="tuesday")
    assert [Path(path).stem for path in found.train.paths] == ["a", "b"]
    assert [Path(path).stem for path in found.held_out.paths] == ["c"]
    with pytest.raises(InputError, match="eval_split: expected one of monday, tuesday, got sunday"):
        load(root, train_split="monday", eval_split="sunday")
    flat = write_folder(tmp_path / "flat", ("a", "b"))
    with pytest.raises(InputError, match=r"train_split: expected no part of .*, which has none, "):
        load(flat, train_split="monday")


@pytest.mark.parametrize("folder", ["", "train/", "some/where/"])
def test_without_a_held_out_part_a_seeded_share_is_held_out(tmp_path, folder):
    root = write_folder(tmp_path, tuple(f"{folder}{i}" for i in range(10)))
    data = load(root)
    assert (len(data.train), len(data.held_out)) == (8, 2)
    assert load(root).held_out.paths == data.held_out.paths
    assert load(root, split_seed=2).held_out.paths != data.held_out.paths


def palette_picture(values: np.ndarray, colors: list[int]) -> Image.Image:
    picture = Image.fromarray(values, "P")
    picture.putpalette(colors)
    return picture


def test_the_palette_of_a_mask_gives_the_colors_where_the_classes_have_none(streets):
    path = streets / "masks/train/a.png"
    colors = [10, 20, 30, 200, 0, 0, 0, 0, 255]
    palette_picture(np.asarray(Image.open(path)), colors).save(path)
    data = load(streets)
    assert data.output.colors == ("#0a141e", "#c80000", "#0000ff")
    np.testing.assert_array_equal(first(data.train)[1][0, 0], [0, 0, 0, 1, 1, 2, 2, 2])
    (streets / "classes.txt").write_text("sky #000001\nroad\t#000002\nlong car   #ABCDEF\n")
    assert load(streets).output.colors == ("#000001", "#000002", "#abcdef")
    assert load(streets).output.labels == ("sky", "road", "long car")


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_gray_masks_of_few_bits_count_as_they_are_stored(tmp_path, bits):
    """Pillow would spread them: 1 of 2 bits becomes 85."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(kind + content))
        return struct.pack(">I", len(content)) + kind + content + crc

    root = write_folder(tmp_path, ("train/a", "train/b", "val/c"), "no\nyes\n")
    width, height = SIZE
    half = np.arange(width) >= width // 2
    row = np.packbits(np.pad(half[:, None], ((0, 0), (bits - 1, 0))).astype(np.uint8).ravel())
    header = struct.pack(">IIBBBBB", width, height, bits, 0, 0, 0, 0)
    content = zlib.compress((b"\0" + row.tobytes()) * height)
    png = b"\x89PNG\r\n\x1a\n" + b"".join(
        chunk(*part) for part in ((b"IHDR", header), (b"IDAT", content), (b"IEND", b""))
    )
    for path in (root / "masks").rglob("*.png"):
        path.write_bytes(png)
    np.testing.assert_array_equal(first(load(root).train)[1][0, 0], [0] * 4 + [1] * 4)


@pytest.mark.parametrize("turned", [False, True])
def test_an_image_is_upright_and_its_mask_lies_on_it(streets, turned):
    """A photo held upright is stored lying; its mask is as it is seen, or as it is stored."""
    width, height = SIZE
    seen = np.zeros((width, height), np.uint8)  # upright it is higher than wide
    seen[: width // 4] = 1
    stored = np.rot90(seen)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    pixels = np.repeat(stored[..., None] * 255, 3, axis=-1)
    (streets / "images/train/a.png").unlink()
    Image.fromarray(pixels).save(streets / "images/train/a.jpg", exif=exif, quality=95)
    Image.fromarray(stored if turned else seen).save(streets / "masks/train/a.png")
    images, masks = first(load(streets, image_size=[12, 10]).train)
    np.testing.assert_array_equal(images[0, ..., 0] > 127, masks[0] == 1)
    assert list(masks[0, :, 0]) == [1] * 3 + [0] * 9


def mask(value: int, kind: type = np.uint8, channels: tuple[int, ...] = ()) -> np.ndarray:
    return np.full((*SIZE[::-1], *channels), value, kind)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (mask(0)[1:], r"as large as their images, got masks.train.b.png \(24 x 19, the image 24 x"),
        (mask(7), r"indices from 0 to 2, or 255 for void, .* got masks.train.b.png \(7\); add the"),
        (mask(1, channels=(3,)), r"one channel, .*, got masks.train.b.png \(RGB\); replace each"),
        (mask(1, np.uint16), r"masks of 8 bits a pixel, got masks.train.b.png \(16 or 32\); save"),
    ],
)
def test_a_mask_that_does_not_fit_is_named(streets, wrong, message):
    write_pair(streets, "train/b", wrong)
    with pytest.raises(InputError, match=message):
        load(streets, skip_broken=True)


def test_a_broken_mask_is_named_or_left_out(streets):
    path = streets / "masks/train/b.png"
    path.write_bytes(path.read_bytes()[:45])
    with pytest.raises(InputError, match=r"readable images and masks, got 1 .*masks.train.b.png"):
        load(streets)
    data = load(streets, skip_broken=True)
    assert len(data.train) == 1
    assert "left out: 1 image that can't be read" in data.notes[0]


def test_an_image_without_a_mask_is_named_or_left_out_and_a_lone_mask_is_told(streets):
    (streets / "masks/train/b.png").rename(streets / "masks/train/e.png")
    with pytest.raises(
        InputError, match=r"such as masks.train.b.png, 1 of 2 have none: images.train.b.png; add"
    ):
        load(streets)
    notes = load(streets, skip_broken=True).notes
    assert "left out: 1 image without a mask: images/train/b.png" in notes
    assert "not used: 1 mask without an image: masks/train/e.png" in notes


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, r"expected .*classes.txt with the names of the classes, .* found no such file"),
        ("", r"at least 2 names of classes, one a line, got 0"),
        ("car\n", r"at least 2 names .* got 1 \(car\); name the background, too"),
        ("sky\n\ncar\n", r"line 2: expected a name, got an empty line"),
        ("sky\ncar\nsky\n", r"expected each name once, got twice: sky"),
        ("sky #000000\ncar\nroad\n", r"a color #rrggbb on each line or on none, got 1 on 3 lines"),
    ],
)
def test_what_is_wrong_with_the_classes_is_said(streets, text, message):
    file = streets / class_file.NAME
    file.unlink() if text is None else file.write_text(text)
    with pytest.raises(InputError, match=message):
        load(streets)


def test_a_class_without_pixels_is_told_and_one_alone_is_refused(streets):
    """As is a mask of 0 and 255, where 255 was meant as a class."""
    for name in "ab":
        write_pair(streets, f"train/{name}", mask(0), seed=1)
    with pytest.raises(InputError, match=r"at least 2 classes in the masks to train on, got only"):
        load(streets)
    half = mask(0)
    half[:4] = 255
    write_pair(streets, "train/a", half)
    with pytest.raises(InputError, match=r"got only sky and void \(255\); where 255 is meant"):
        load(streets)
    half[:4] = 2
    write_pair(streets, "train/a", half)
    assert load(streets).notes == (
        "no mask to train on has a pixel of: road; they can't be learned",
    )


def test_the_task_is_what_the_folder_has(streets, tmp_path):
    config = DataConfig(dataset=str(streets))
    assert lookup.task(config) == "segment"
    for config in (DataConfig(), DataConfig(task="classify")):
        assert lookup.task(config) == "classify"
    with pytest.raises(
        InputError, match=r"data.task: expected segment with .*, which has images/ beside masks/, "
    ):
        load(streets, task="classify")
    (tmp_path / "classes" / "cat").mkdir(parents=True)
    with pytest.raises(InputError, match=r"expected classify with .* got segment; that needs imag"):
        load(tmp_path / "classes", task="segment")


def test_a_model_is_refused_data_of_another_task_or_of_other_classes(streets):
    data = load(streets)
    config = DataConfig(dataset=str(streets))
    assert sources.load_for(data.spec, data.output, config).output == data.output
    with pytest.raises(InputError, match=r"expected one label a picture, .* got a mask for each"):
        sources.load_for(data.spec, OutputSpec("classification", ("a", "b")), config)
    with pytest.raises(InputError, match=r"expected the labels that the model was trained with"):
        sources.load_for(data.spec, OutputSpec(SEGMENTATION, ("a", "b")), config)


def test_a_picture_with_masks_is_not_cropped(streets):
    with pytest.raises(InputError, match=r"data.crop_fraction: expected 1 for segmentation, .*0.5"):
        load(streets, crop_fraction=0.5)


def test_a_wrong_task_is_one_line_of_the_command(streets):
    assert "--task: expected segment with" in refused("train", str(streets), "--task", "classify")


class TinyPets(tfds.core.GeneratorBasedBuilder):
    """Images with a label and a mask whose classes count from 1, as those of oxford_iiit_pet."""

    VERSION = tfds.core.Version("1.0.0")
    MASK = tfds.features.Image(shape=(None, None, 1))

    def _info(self):
        features = {
            "image": tfds.features.Image(shape=(None, None, 3)),
            "label": tfds.features.ClassLabel(names=["cat", "dog"]),
            "segmentation_mask": self.MASK,
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(4), "test": self._generate_examples(2)}

    def _generate_examples(self, count=0):
        for i in range(count):
            mask = np.ones((10, 12, 1), np.uint8)
            mask[:, 6:] = 2
            mask[9] = 0
            pixels = np.repeat(mask * 100, 3, axis=-1)
            yield i, {"image": pixels, "label": i % 2, "segmentation_mask": mask}


class TinyNamed(TinyPets):
    """Masks with names."""

    MASK = tfds.features.LabeledImage(labels=["void", "left", "right"], shape=(None, None, 1))


def load_tfds(name: str, root: Path, **config) -> Dataset:
    return load(name, data_dir=str(root), image_size=[10, 12], **config)


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_tfds_masks_that_count_from_1_start_at_0(tmp_path, monkeypatch, cache):
    TinyPets(data_dir=tmp_path).download_and_prepare()
    monkeypatch.setitem(tfds_masks.KNOWN, "tiny_pets", tfds_masks.MaskClasses(("a", "b"), 1))
    data = load_tfds("tiny_pets", tmp_path, task="segment", cache=cache)
    assert data.output == OutputSpec(SEGMENTATION, ("a", "b"))
    assert data.notes == ("values in the masks of tiny_pets: 1 a, 2 b",)
    images, found = first(data.train)
    assert (images.shape, found.shape, found.dtype) == ((4, 10, 12, 3), (4, 10, 12), np.uint8)
    np.testing.assert_array_equal(found[0, 0], [0] * 6 + [1] * 6)
    assert set(found[0, 9]) == {255}
    assert list(splits.pixel_counts(data.train, 2).sum(axis=0)) == [4 * 54, 4 * 54]
    # Of a dataset with both, labels are learned unless the task says otherwise.
    assert load_tfds("tiny_pets", tmp_path).output.labels == ("cat", "dog")


def test_names_of_tfds_masks_come_from_the_feature_or_from_a_file(tmp_path):
    for builder in (TinyNamed, TinyPets):
        builder(data_dir=tmp_path).download_and_prepare()
    named = load_tfds("tiny_named", tmp_path, task="segment")
    assert named.output.labels == ("void", "left", "right")
    with pytest.raises(InputError, match=r"data.labels: expected a file that names the classes in"):
        load_tfds("tiny_pets", tmp_path, task="segment")
    file = tmp_path / "names.txt"
    file.write_text("none\nleft\n")
    few = load_tfds("tiny_pets", tmp_path, task="segment", labels=str(file))
    with pytest.raises(InputError, match=r"masks with values from 0 to 1, or 255 for void, got 2"):
        few.train.mask(0)
    with pytest.raises(InputError, match=r"data.task: expected classify or segment with tiny_pets"):
        load_tfds("tiny_pets", tmp_path, task="detect")


def test_a_recipe_is_chosen_for_a_folder_of_masks(streets):
    """Sizes are multiples of 32 pixels; the network is the user's, where one is named."""
    config = configuration(str(streets), [])
    assert (config.name, config.data.task, config.data.image_size) == (
        "scenes",
        "segment",
        [32, 32],
    )
    assert config.train.batch_size == 2  # all there are
    assert "2 pictures with masks of 3 classes, 24 x 20 pixels" in config.description
    named = configuration(str(streets), ["model.arch=resnet34", "train.epochs=3"])
    assert (named.model.arch, named.model.width, named.train.epochs) == ("resnet34", 1.0, 3)
