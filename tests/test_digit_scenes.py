"""Scenes of digits: masks and boxes that fit the pictures, the same on every machine."""

import hashlib

import numpy as np
import pytest

from tfresnet.config.sections import DataConfig
from tfresnet.data import digit_scenes, digits, pipeline, sources
from tfresnet.runtime.spec import DETECTION, SEGMENTATION


@pytest.fixture(scope="module")
def scenes() -> digit_scenes.Scenes:
    scans, classes = digits.load()
    return digit_scenes.make(scans[..., 0], classes, 40, (0, 0))


def test_scenes_are_the_same_on_every_machine(scenes):
    """As are all integers: no version of a library and no processor may change a bit."""
    digest = hashlib.sha256(scenes.images.tobytes() + scenes.masks.tobytes()).hexdigest()
    assert digest[:16] == "94c3da4ccbe49637"


def test_a_scan_is_enlarged_smoothly():
    """Hand-computed: half-pixel centers, so 2x takes 3/4 and 1/4 of neighbors; edges repeat."""
    scan = np.tile(np.array([0, 100, 200, 200, 200, 200, 200, 0], np.uint8), (8, 1))
    twice = digit_scenes.enlarged(scan, 16)
    assert list(twice[0, :6]) == [0, 25, 75, 125, 175, 200]
    assert (twice == twice[0]).all()
    assert (digit_scenes.enlarged(np.full((8, 8), 255, np.uint8), 37) == 255).all()


def test_each_box_is_around_the_pixels_of_its_disc(scenes):
    for image, mask, boxes, classes in zip(
        scenes.images, scenes.masks, scenes.boxes, scenes.classes, strict=True
    ):
        there = classes >= 0
        assert 1 <= there.sum() <= digit_scenes.MOST
        assert set(np.unique(mask)) - {0} == set(classes[there] + 1)
        inside = np.zeros(mask.shape, bool)
        for x1, y1, x2, y2 in (boxes[there] * digit_scenes.SIDE).round().astype(int):
            assert 0 <= x1 < x2 <= 96
            assert 0 <= y1 < y2 <= 96
            inside[y1:y2, x1:x2] = True
        assert not mask[~inside].any()
        assert image.std() > 0
    alone = [i for i, classes in enumerate(scenes.classes) if (classes >= 0).sum() == 1]
    for i in alone:
        rows, columns = np.nonzero(scenes.masks[i])
        tight = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
        np.testing.assert_allclose(scenes.boxes[i, 0] * 96, tight, atol=1e-4)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_digits_are_a_data_set_of_pixels_or_of_boxes(monkeypatch, channels):
    monkeypatch.setattr(digit_scenes, "SCENES", {"train": 6, "held_out": 4})
    monkeypatch.setattr("tfresnet.data.scene_source.SCENES", digit_scenes.SCENES)
    config = DataConfig(task="segment", channels=channels)
    data = sources.load(config, default_size=32)
    assert data.output.task == SEGMENTATION
    assert data.output.labels == ("background", *"0123456789")
    assert (len(data.train), len(data.held_out)) == (6, 4)
    images, masks, _ = next(iter(pipeline.raw_batches(data.train, 6)))
    assert images.shape == (6, 96, 96, channels)
    assert masks.shape == (6, 96, 96)
    assert (masks.numpy() == sources.load(config, 32).train.masks).all()
    found = sources.load(DataConfig(task="detect", image_size=[64, 96]), default_size=32)
    assert found.output.task == DETECTION
    assert found.output.labels == tuple("0123456789")
    images, truth, _ = next(iter(pipeline.raw_batches(found.held_out, 4)))
    assert images.shape == (4, 64, 96, 3)
    assert truth["boxes"].shape == (4, 4, 4)
    assert truth["classes"].shape == truth["ignored"].shape == (4, 4)


def test_digits_in_held_out_scenes_are_not_trained_on(monkeypatch):
    given = []

    def record(scans, classes, count, seed):
        given.append(({scan.tobytes() for scan in scans}, count, seed))
        return digit_scenes.Scenes(
            *(np.zeros((1, *shape), kind) for shape, kind in (
                ((96, 96, 3), np.uint8), ((96, 96), np.uint8), ((4, 4), np.float32), ((4,), int)))
        )  # fmt: skip

    monkeypatch.setattr(digit_scenes, "make", record)
    sources.load(DataConfig(task="segment", split_seed=3), default_size=32)
    (ours, *one), (theirs, *other) = given
    assert (one, other) == ([3000, (3, 0)], [300, (3, 1)])
    assert len(ours & theirs) <= 2  # a few scans are there twice
