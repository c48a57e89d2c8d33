"""Datasets: digits, folders of images, TFDS; and what is wrong with one, said before training."""

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tensorflow_datasets as tfds
from tensorflow_datasets.core.download import downloader

from tests.conftest import write_images
from tests.test_cli import refused
from tfresnet import tasks
from tfresnet.config.sections import DataConfig, RunConfig
from tfresnet.data import lookup, pipeline, sources, splits, tfds_source
from tfresnet.data.splits import RecordSplit, Split
from tfresnet.runs import train_run
from tfresnet.runtime import preprocess
from tfresnet.runtime.errors import InputError


def load(**config) -> sources.Dataset:
    return sources.load(DataConfig(**config), default_size=16)


def test_digits_are_split_by_class_and_seed():
    data = load(dataset="digits")
    assert data.train.images.shape == (1437, 8, 8, 3)
    assert data.held_out.images.shape == (360, 8, 8, 3)
    assert data.train.images.max() == 255
    assert set(data.held_out.targets) == set(range(10))
    again, other = load(dataset="digits"), load(dataset="digits", split_seed=1)
    assert (again.held_out.images == data.held_out.images).all()
    assert (other.held_out.targets != data.held_out.targets).any()


def test_a_folder_with_train_and_val(tmp_path):
    write_images(tmp_path / "train", {"cat": 3, "dog": 2})
    write_images(tmp_path / "val", {"cat": 1, "dog": 1})
    data = load(dataset=str(tmp_path))
    assert data.output.labels == ("cat", "dog")
    assert list(data.train.targets) == [0, 0, 0, 1, 1]
    images, labels, weights = next(iter(pipeline.raw_batches(data.held_out, 4)))
    assert images.shape == (2, 16, 16, 3)  # no more than there are
    assert list(labels.numpy()) == [0, 1]
    assert list(weights.numpy()) == [1, 1]
    *_, (_, _, weights) = pipeline.raw_batches(data.train, 3)
    assert list(weights.numpy()) == [1, 1, 0]


def test_a_folder_of_classes_gets_a_seeded_split(tmp_path):
    write_images(tmp_path, {"cat": 10, "dog": 10})
    data = load(dataset=str(tmp_path))
    assert (len(data.train), len(data.held_out)) == (16, 4)
    assert not set(data.train.paths) & set(data.held_out.paths)
    assert load(dataset=str(tmp_path)).held_out.paths == data.held_out.paths
    assert load(dataset=str(tmp_path), split_seed=1).held_out.paths != data.held_out.paths
    assert len(load(dataset=str(tmp_path), eval_fraction=0.01).held_out) == 2  # one a class
    (tmp_path / "fox").mkdir()
    shutil.copy(tmp_path / "cat" / "0.jpg", tmp_path / "fox" / "1.jpg")
    with pytest.raises(InputError, match=r"at least 2 images of a class, .*got fox.1.jpg"):
        load(dataset=str(tmp_path))


def test_new_pictures_leave_the_held_out_ones_held_out(tmp_path):
    """Of 100 files, 20 are held out; 5 more bring 1 more, which one of the old ones may be."""
    write_images(tmp_path, {"cat": 50, "dog": 50}, size=(2, 2))
    before = load(dataset=str(tmp_path))
    for name in "abcde":
        shutil.copy(tmp_path / "cat" / "0.jpg", tmp_path / "cat" / f"{name}.jpg")
    after = load(dataset=str(tmp_path))
    assert len(after.held_out) == 21
    assert len(set(after.held_out.paths) & set(before.train.paths)) <= 1
    Path(after.train.paths[0]).unlink()
    assert load(dataset=str(tmp_path)).held_out.paths == after.held_out.paths


def test_pictures_are_decoded_once_where_they_may_be_kept(tmp_path, monkeypatch):
    write_images(tmp_path, {"cat": 5, "dog": 5})
    read, seen = preprocess.read, []

    def note(path, spec):
        seen.append(path)
        return read(path, spec)

    monkeypatch.setattr("tfresnet.data.splits.preprocess.read", note)
    for cache, times in (("auto", 1), ("disk", 2)):
        train, seen[:] = load(dataset=str(tmp_path), cache=cache).train, []
        first, second = (next(iter(pipeline.raw_batches(train, 8)))[0] for _ in range(2))
        np.testing.assert_array_equal(first, second)
        assert sorted(seen) == sorted(train.paths * times)


def test_files_and_arrays_give_the_same_batches(tmp_path):
    """Where the images are must not change what the network sees."""
    write_images(tmp_path, {"cat": 10, "dog": 10}, size=(16, 16))
    dataset = load(dataset=str(tmp_path))
    files = dataset.train
    whole, labels, _ = next(iter(pipeline.raw_batches(files, 16)))
    arrays = sources.ArraySplit(whole.numpy(), labels.numpy())
    targets = tasks.of(dataset.output).targets
    streams = [
        pipeline.train_batches(split, dataset.spec, targets, DataConfig(crop_padding=2), 4, 0, 0, 6)
        for split in (files, arrays)
    ]
    for (a, la), (b, lb) in zip(*streams, strict=True):
        assert (a.numpy() == b.numpy()).all()
        assert (la.numpy() == lb.numpy()).all()


def spoil(folder, name, content=b"this is text"):
    (folder / "cat" / name).write_bytes(content)


def test_a_model_gets_the_crop_that_it_was_trained_with(tmp_path):
    """Also one of imported weights, whose crop is not that of its size."""
    write_images(tmp_path, {"cat": 4, "dog": 4}, size=(32, 32))
    config = DataConfig(dataset=str(tmp_path), image_size=16)
    dataset = sources.load(config, 16)
    spec = replace(dataset.spec, crop_fraction=0.5)
    split = sources.load_for(spec, dataset.output, config).held_out
    images, _ = pixels_and_classes(split)
    expected = [preprocess.read(path, spec) for path in split.paths]
    assert (images == np.stack(expected)).all()


def test_bad_images_are_named_before_training(tmp_path):
    write_images(tmp_path, {"cat": 4, "dog": 4})
    spoil(tmp_path, "bad.jpg")
    spoil(tmp_path, "empty.png", b"")
    with pytest.raises(InputError, match=r"got 2 that are not: .*bad.jpg .*empty.png"):
        load(dataset=str(tmp_path))


def test_other_files_are_ignored(tmp_path):
    write_images(tmp_path, {"cat": 5, "dog": 5})
    spoil(tmp_path, "Thumbs.db")
    data = load(dataset=str(tmp_path))
    assert len(data.train) + len(data.held_out) == 10


def test_an_empty_class_is_named(tmp_path):
    write_images(tmp_path, {"cat": 4, "dog": 0})
    with pytest.raises(InputError, match=r"expected images .* in .*dog, found none"):
        load(dataset=str(tmp_path))


@pytest.mark.parametrize("classes", [{}, {"cat": 3}])
def test_fewer_than_two_classes_are_refused(tmp_path, classes):
    write_images(tmp_path, classes)
    with pytest.raises(InputError, match="expected at least 2 class folders"):
        load(dataset=str(tmp_path))


def test_classes_must_agree_between_train_and_val(tmp_path):
    write_images(tmp_path / "train", {"cat": 2, "dog": 2})
    write_images(tmp_path / "val", {"cat": 2, "cow": 2})
    with pytest.raises(InputError, match=r"the same classes .* in one alone: cow, dog"):
        load(dataset=str(tmp_path))


def test_train_without_val_is_refused(tmp_path):
    write_images(tmp_path / "train", {"cat": 2, "dog": 2})
    with pytest.raises(InputError, match=r"beside .*train, found neither"):
        load(dataset=str(tmp_path))


def test_a_missing_folder_is_named():
    with pytest.raises(InputError, match=r"got ./no/folder, which does not exist"):
        load(dataset="./no/folder")
    with pytest.raises(
        InputError, match=r"unknown dataset 'no/folder': expected .* existing folder"
    ):
        load(dataset="no/folder")


def test_a_dry_run_downloads_nothing(tmp_path, monkeypatch):
    """What TFDS knows is told apart from a slip without its builder, which looks for a network."""
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path))
    monkeypatch.setattr(tfds, "builder", lambda *_, **__: pytest.fail("it opened a builder"))
    missing = f"dataset cifar10 is not in {tmp_path}, and --dry-run downloads nothing"
    assert missing in refused("train", "cifar10-resnet8", "--dry-run")
    slip = refused("train", "cifar10-resnet8", "--dry-run", "--dataset", "cifr10")
    assert "unknown dataset 'cifr10': did you mean 'cifar10'?" in slip
    assert not list(tmp_path.iterdir())


def test_a_version_that_is_not_there_is_not_downloaded_by_a_dry_run(tmp_path, monkeypatch):
    (tmp_path / "mnist").mkdir()
    monkeypatch.setattr(tfds_source, "_download", lambda _: pytest.fail("it downloaded"))
    with pytest.raises(InputError, match=r"dataset mnist is not in .*--dry-run downloads nothing"):
        tfds_source.open_builder("mnist", str(tmp_path), download=False)


def test_a_download_that_fails_is_one_line_after_one_that_says_it_began(
    tmp_path, monkeypatch, capsys
):
    def offline(self):
        raise ConnectionError(f"{downloader.MAX_RETRIES} retries")

    monkeypatch.setattr(tfds.core.DatasetBuilder, "download_and_prepare", offline)
    with pytest.raises(InputError, match=r"could not be downloaded; .*ConnectionError: 2 retries"):
        tfds_source.open_builder("mnist", str(tmp_path))
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"dataset mnist is not in {tmp_path}: downloading it")


def test_an_unknown_name_gets_the_closest():
    with pytest.raises(
        InputError, match=r"unknown dataset 'mnits': did you mean 'mnist'. expected digits"
    ):
        load(dataset="mnits")


class TinyColours(tfds.core.GeneratorBasedBuilder):
    """Red and blue rectangles, of a size that has to be fitted."""

    VERSION = tfds.core.Version("1.0.0")

    def _info(self):
        features = tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3)),
                "label": tfds.features.ClassLabel(names=["red", "blue"]),
            }
        )
        return self.dataset_info_from_configs(
            features=features, supervised_keys=("image", "label"), homepage="https://example.com"
        )

    def _split_generators(self, dl_manager):
        return {"train": self._generate_examples(8), "test": self._generate_examples(4)}

    def _generate_examples(self, count=0):
        for i in range(count):
            image = np.zeros((10 + i, 30, 3), np.uint8)
            image[..., 2 * (i % 2)] = 255
            yield i, {"image": image, "label": i % 2}


def pixels_and_classes(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """All images of a split and their classes, in its order."""
    images, classes, _ = next(iter(pipeline.raw_batches(split, len(split))))
    return images.numpy(), classes.numpy()


@pytest.mark.parametrize("cache", ["memory", "disk"])
def test_tfds_images_are_fitted_and_labelled(tmp_path, cache):
    TinyColours(data_dir=tmp_path).download_and_prepare()
    data = load(dataset="tiny_colours", data_dir=str(tmp_path), cache=cache)
    assert data.output.labels == ("red", "blue")
    images, classes = pixels_and_classes(data.train)
    assert images.shape == (8, 16, 16, 3)
    assert set(classes) == {0, 1}
    assert (images[..., 0].max(axis=(1, 2)) == 255 * (classes == 0)).all()
    part = load(dataset="tiny_colours", data_dir=str(tmp_path), train_split="train[:50%]")
    assert len(part.train) == 4
    with pytest.raises(InputError, match=r"expected a split of tiny_colours .*got 'valid'"):
        load(dataset="tiny_colours", data_dir=str(tmp_path), eval_split="valid")


def test_images_on_disk_are_those_in_memory_and_only_read_when_needed(tmp_path, monkeypatch):
    """Also of slices that begin in the middle of a file; lossless PNGs are equal to the bit."""
    TinyColours(data_dir=tmp_path).download_and_prepare()
    slices = {"train_split": "train[6:]+train[:3]", "data_dir": str(tmp_path)}
    in_memory = load(dataset="tiny_colours", cache="memory", **slices)
    monkeypatch.setattr(splits, "MEMORY_LIMIT", 100)
    on_disk = load(dataset="tiny_colours", **slices)
    expected, got = pixels_and_classes(in_memory.train), pixels_and_classes(on_disk.train)
    assert len(on_disk.train) == 5
    assert isinstance(on_disk.train.loaded, RecordSplit)
    assert all((a == b).all() for a, b in zip(expected, got, strict=True))
    for data in (in_memory, on_disk):
        np.testing.assert_array_equal(data.train.targets, expected[1])
        part = splits.Subset(data.train, np.array([4, 0]))
        np.testing.assert_array_equal(part.targets, expected[1][[4, 0]])
    assert "loaded" not in vars(on_disk.held_out)  # nobody has asked for it


class TinySquares(TinyColours):
    """Noise of 16 x 16 pixels."""

    def _generate_examples(self, count=0):
        for i in range(count):
            image = np.random.default_rng(i).integers(0, 256, (16, 16, 3), np.uint8)
            yield i, {"image": image, "label": i % 2}


def test_images_of_the_models_size_are_cropped_too_wherever_they_are_kept(tmp_path):
    TinySquares(data_dir=tmp_path).download_and_prepare()

    def images(**settings):
        data = load(dataset="tiny_squares", data_dir=str(tmp_path), image_size=16, **settings)
        return pixels_and_classes(data.train)[0]

    cropped = images(cache="memory", crop_fraction=0.5)
    assert (cropped == images(cache="disk", crop_fraction=0.5)).all()
    assert (cropped != images(cache="memory")).any()


@pytest.mark.parametrize(
    ("train", "held_out"),
    [("train", "train[50%:]"), ("train[2:6]", "train[:3]"), ("test+train[:1]", "train[:1]")],
)
def test_splits_that_share_images_are_refused(tmp_path, train, held_out):
    TinyColours(data_dir=tmp_path).download_and_prepare()

    def config(train, held_out):
        return DataConfig(
            dataset="tiny_colours", data_dir=str(tmp_path), train_split=train, eval_split=held_out
        )

    sources.check_disjoint(config("train[:50%]", "train[50%:]+test"))
    both = RunConfig(data=config(train, held_out))
    with pytest.raises(InputError, match=r"expected no image of data.train_split=.*train\[90%:\]"):
        train_run.train(both, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_dataset_that_cannot_be_downloaded_is_explained(tmp_path, monkeypatch):
    def fail(self, *args, **kwargs):
        raise ConnectionError("no route to host")

    monkeypatch.setattr(TinyColours, "download_and_prepare", fail)
    with pytest.raises(InputError, match=r"could not be downloaded; connect .*no route to host"):
        load(dataset="tiny_colours", data_dir=str(tmp_path))


def test_data_in_a_cloud_are_left_to_tfds(monkeypatch):
    monkeypatch.setenv("TFDS_DATA_DIR", "gs://bucket/data")
    assert lookup.data_dir(None, "cifar10") is None
    lookup.check_present(DataConfig(dataset="cifar10"), download=False)


def test_a_missing_data_dir_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"data.data_dir: expected a folder, .*none does not exist"
    ):
        load(dataset="cifar10", data_dir=str(tmp_path / "none"))


@pytest.mark.skipif(
    not Path(os.environ.get("TFDS_DATA_DIR", ""), "cifar10").is_dir()
    or not os.environ.get("TFDS_DATA_DIR"),
    reason="the real CIFAR-10 is not in TFDS_DATA_DIR",
)
def test_the_real_cifar10():
    data = load(dataset="cifar10", train_split="train[:2000]", eval_split="test[:500]")
    assert data.output.labels[:3] == ("airplane", "automobile", "bird")
    images, _ = pixels_and_classes(data.train)
    assert images.shape == (2000, 32, 32, 3)
    # The training set's mean is 0.491, 0.482, 0.447 of 255 (its standard error here: 0.4).
    np.testing.assert_allclose(images.mean((0, 1, 2)), [125.3, 123.0, 113.9], atol=3)
