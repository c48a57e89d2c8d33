"""Corruptions: each does what its name says, alike each time, and evaluate measures under them."""

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.data import corruptions, pipeline
from tfresnet.data.corrupted_split import CorruptedSplit
from tfresnet.data.splits import ArraySplit

RNG = np.random.default_rng(0)
# Smooth, as pictures are: blur and JPEG shall change it less than noise does.
RAMP = np.linspace(40, 200, 32)[None, :, None, None] + np.linspace(0, 30, 32)[None, None, :, None]
IMAGES = (RAMP + np.array([0, 10, 20])).round().astype(np.uint8).repeat(4, axis=0)
GREY = IMAGES[..., :1]


def changed(name, severity, images=IMAGES):
    return corruptions.corrupt(images, name, severity, range(len(images))).astype(float)


@pytest.mark.parametrize("name", corruptions.CORRUPTIONS)
def test_the_same_image_is_corrupted_alike_each_time(name):
    for images in (IMAGES, GREY):
        first = corruptions.corrupt(images, name, 3, range(4))
        assert first.dtype == np.uint8 and first.shape == images.shape
        np.testing.assert_array_equal(first[2:], corruptions.corrupt(images[2:], name, 3, [2, 3]))


@pytest.mark.parametrize("name", [n for n in corruptions.CORRUPTIONS if n != "saturate"])
def test_the_strongest_changes_more_than_the_weakest(name):
    """All but saturate, which takes colour away at first and adds it at last."""
    noise = RNG.integers(0, 256, (4, 32, 32, 3)).astype(np.uint8)
    images = noise if name in ("gaussian_blur", "pixelate", "jpeg_compression") else IMAGES
    weak, strong = (abs(changed(name, s, images) - images).mean() for s in (1, 5))
    assert 0 < weak < strong


def test_the_strengths_are_those_of_the_benchmark():
    """Against the definitions: standard deviation, share, factor; 12,288 values each."""
    error = (changed("gaussian_noise", 5) - IMAGES)[IMAGES < 190]  # not where white cuts it
    assert error.std() / 255 == pytest.approx(0.10, rel=0.05)
    share = np.isin(changed("impulse_noise", 5), [0, 255]).mean()
    assert share == pytest.approx(0.07, rel=0.15)  # binomial: 3 standard deviations are 10 %
    centre = IMAGES.mean(axis=(1, 2), keepdims=True)
    np.testing.assert_allclose(changed("contrast", 2), (IMAGES - centre) * 0.5 + centre, atol=1)
    value = np.minimum(IMAGES.max(axis=-1) + 0.05 * 255, 255)  # the V of HSV
    np.testing.assert_allclose(changed("brightness", 1).max(axis=-1), value, atol=1)
    error = (changed("shot_noise", 5) - IMAGES)[IMAGES < 150]
    assert error.var() == pytest.approx(IMAGES[IMAGES < 150].mean() * 255 / 50, rel=0.1)

    error = (changed("speckle_noise", 5) / IMAGES - 1)[(IMAGES > 60) & (IMAGES < 120)]
    assert error.std() == pytest.approx(0.2, rel=0.05)


def test_those_without_chance_are_what_libraries_make():
    picture = Image.fromarray(IMAGES[0])
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=58)
    np.testing.assert_array_equal(changed("jpeg_compression", 3)[0], Image.open(buffer))
    small = picture.resize((20, 20), Image.Resampling.BOX)  # int(0.65 * 32)
    large = small.resize((32, 32), Image.Resampling.BOX)
    np.testing.assert_array_equal(changed("pixelate", 5)[0], large)
    point = np.zeros((1, 33, 33, 1), np.uint8)
    point[0, 16, 16] = 255
    # A Gaussian of sigma 1 has 0.3989 ** 2 of its weight at the middle pixel.
    assert changed("gaussian_blur", 5, point)[0, 16, 16, 0] == pytest.approx(0.1592 * 255, abs=1)
    grey = changed("saturate", 2)  # a tenth of the saturation
    spread, before = np.ptp(grey, axis=-1), np.ptp(IMAGES.astype(float), axis=-1)
    np.testing.assert_allclose(spread, 0.1 * before, atol=1.5)  # both ends are cut off


def test_a_split_hands_out_corrupted_images_whatever_the_batches():
    split = CorruptedSplit(ArraySplit(IMAGES, np.arange(4, dtype=np.int64)), "speckle_noise", 4)
    assert len(split) == 4
    for size in (2, 4):
        got = [x.numpy() for x, _, _ in pipeline.raw_batches(split, size)]
        np.testing.assert_array_equal(np.concatenate(got), changed("speckle_noise", 4))


def test_evaluate_measures_under_corruptions_and_draws(exported, tiny_run, tmp_path):
    for model in (tiny_run.directory, exported["artifacts"][0]["path"]):
        out = json_of(
            "evaluate", str(model), "--corruptions", "gaussian_noise, contrast",
            "--severities", "1,5", "--plots", str(tmp_path / "plots"),
        )  # fmt: skip
        table = out["corruptions"]
        assert list(table) == ["gaussian_noise", "contrast"]
        assert all(list(row) == ["1", "5"] for row in table.values())
        every = [top1 for row in table.values() for top1 in row.values()]
        assert out["corrupted_top1"] == pytest.approx(np.mean(every))
        held_out = tiny_run.dataset().held_out
        corrupted = corruptions.corrupt(held_out.images, "contrast", 5, range(len(held_out)))
        answers = (
            tiny_run.model()((corrupted.astype(np.float32) - 128) / 128).numpy().argmax(axis=1)
        )
        # One of 360 images may be on the border between two classes.
        right = (answers == held_out.targets).mean()
        assert table["contrast"]["5"] == pytest.approx(right, abs=1.5 / len(held_out))
        assert [Path(p).name for p in out["plots"]] == ["reliability.png", "confusion.png"]
        assert all(Path(path).read_bytes()[:4] == b"\x89PNG" for path in out["plots"])


def test_the_help_names_them_all():
    """It starts without TensorFlow, so it can't ask them."""
    text = tfresnet("evaluate", "--help").stdout
    assert set(corruptions.CORRUPTIONS) <= set(text.replace(",", " ").replace(".", " ").split())


def test_a_folder_that_can_not_be_made_is_found_first(tmp_path):
    file = tmp_path / "file"
    file.touch()
    assert "file" in refused("evaluate", tmp_path / "none", "--plots", file)
