"""Augmentations against hand-computed cases and the papers' formulas."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.data import augment, erasing

SEED = tf.constant([3, 4], tf.int64)


def numbered(batch: int = 6, size: int = 8) -> tf.Tensor:
    """Images whose every pixel is different."""
    count = batch * size * size * 3
    return tf.reshape(tf.range(count, dtype=tf.float32), [batch, size, size, 3])


def one_hot(batch: int = 6) -> tf.Tensor:
    return tf.one_hot(tf.range(batch) % 4, 4)


@pytest.mark.parametrize(("mode", "pad"), [("reflect", "reflect"), ("zero", "constant")])
@pytest.mark.parametrize("dtype", [np.float32, np.uint8])
def test_a_crop_is_a_window_of_the_padded_image(mode, pad, dtype):
    images = (numbered().numpy() % 251).astype(dtype)
    cropped = augment.random_crop(tf.constant(images), 2, SEED, mode).numpy()
    assert cropped.dtype == dtype
    padded = np.pad(images, [(0, 0), (2, 2), (2, 2), (0, 0)], mode=pad)
    places = set()
    for image, big in zip(cropped, padded, strict=True):
        found = [
            (y, x) for y in range(5) for x in range(5) if (big[y : y + 8, x : x + 8] == image).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 1  # each image has its own place


def test_a_resized_crop_samples_its_box_evenly(monkeypatch):
    """On a ramp of columns: output pixel x lies at left + (x + 1/2) * box / width - 1/2."""
    top, left, height, width = 1.0, 3.0, 6.0, 4.0
    box = tuple(tf.constant([n]) for n in (top, left, height, width))
    monkeypatch.setattr(augment, "_fitting_box", lambda *arguments: box)
    y, x = np.mgrid[:16, :16].astype(np.float32)
    images = tf.constant(np.stack([y, x], axis=-1)[None])
    out = augment.random_resized_crop(images, 0.08, SEED).numpy()[0]
    centres = np.arange(16) + 0.5
    rows, columns = top + centres * height / 16 - 0.5, left + centres * width / 16 - 0.5
    # TensorFlow's own arithmetic is float32, on numbers up to 16.
    np.testing.assert_allclose(out[..., 0], np.tile(rows[:, None], (1, 16)), atol=1e-5)
    np.testing.assert_allclose(out[..., 1], np.tile(columns, (16, 1)), atol=1e-5)


@pytest.mark.parametrize("smallest", [0.08, 0.5])
def test_resized_crops_have_the_areas_and_shapes_of_the_paper(smallest):
    images = tf.zeros([4000, 64, 64, 1])
    top, left, height, width = (
        n.numpy() for n in augment._fitting_box(tf.constant(4000), images, smallest, SEED)
    )
    assert (top >= 0).all()
    assert (left >= 0).all()
    assert (top + height <= 64).all()
    assert (left + width <= 64).all()
    area, ratio = height * width / 64**2, width / height
    whole = (height == 64) & (width == 64)
    # A side is rounded to a whole pixel: at 0.08 of the area half a pixel of about 18 is 3 %.
    assert (area > 0.93 * smallest).all()
    assert (ratio[~whole] < 4 / 3 * 1.06).all()
    assert (ratio[~whole] > 3 / 4 / 1.06).all()
    assert abs(np.log(ratio).mean()) < 0.02  # symmetric: 5 standard deviations of 0.17 / 63 = 0.013
    assert area.min() < smallest + 0.02
    assert area.max() > 0.95


def test_a_resized_crop_of_everything_is_the_image():
    images = tf.cast(numbered() % 251, tf.uint8)
    out = augment.random_resized_crop(images, 1.0, SEED)
    assert out.dtype == tf.uint8
    assert (out.numpy() == images.numpy()).all()


def test_a_flip_mirrors_about_half_of_the_images():
    images = tf.tile(numbered(1), [400, 1, 1, 1])
    flipped = augment.flipped_where(augment.random_half(400, SEED), images).numpy()
    mirrored = (flipped == images.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (flipped == images.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250  # 5 standard deviations of 10 around 200


def test_an_alternating_flip_mirrors_each_image_every_other_epoch():
    images = tf.tile(numbered(1), [400, 1, 1, 1])
    indices = tf.range(400, dtype=tf.int64)

    def mirrored(epoch, order=indices):
        half = augment.alternating_half(order, 400, tf.constant(epoch, tf.int64), SEED)
        out = augment.flipped_where(half, images)
        return (out.numpy() == images.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))

    first = mirrored(0)
    assert first.sum() == 200
    assert (mirrored(1) == ~first).all()
    assert (mirrored(2) == first).all()
    # It goes with the image, wherever in the batch that is.
    assert (mirrored(0, indices[::-1]) == first[::-1]).all()
    assert 60 < first[:200].sum() < 140  # a hash: no half of the indices, nor their parity
    assert 60 < first[::2].sum() < 140


def test_cutout_hides_a_square_that_may_stick_out():
    images = tf.fill([500, 16, 12, 3], tf.constant(7, tf.uint8))
    out = erasing.cutout(images, 6, SEED).numpy()
    hidden = (out == 128).all(axis=-1)
    assert ((out == 7).all(axis=-1) ^ hidden).all()
    rows, columns = hidden.any(axis=2).sum(axis=1), hidden.any(axis=1).sum(axis=1)
    assert (hidden.sum(axis=(1, 2)) == rows * columns).all()  # one box each
    # The centre is in the image: half a side, 3 pixels, is the least that is left of it.
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (3, 6, 3, 6)
    # Inside in 11 of 16 rows (centres 3 to 13) and 7 of 12 columns.
    whole = (rows * columns == 36).mean()
    assert abs(whole - 11 / 16 * 7 / 12) < 5 * np.sqrt(0.24 / 500)


def test_random_erasing_fills_boxes_of_the_papers_areas_with_noise():
    images = tf.fill([600, 32, 32, 3], tf.constant(7, tf.uint8))
    out = erasing.random_erasing(images, 0.5, SEED).numpy()
    erased = (out != 7).any(axis=-1)
    hit = erased.any(axis=(1, 2))
    assert abs(hit.mean() - 0.5) < 5 * 0.5 / np.sqrt(600)
    rows, columns = erased.any(axis=2).sum(axis=1), erased.any(axis=1).sum(axis=1)
    # All of a box differs from 7, but for the few pixels whose three random values are all 7.
    assert (erased.sum(axis=(1, 2)) >= rows * columns - 1).all()
    share = (rows * columns)[hit] / 32**2
    # Sides are rounded: the smallest box is 20 pixels, say 2.5 x 8.2.
    assert 0.014 < share.min() < 0.05
    assert 0.35 < share.max() < 0.43
    assert abs(out[erased].mean() - 127.5) < 1  # uniform noise


def test_no_box_is_erased_at_probability_0():
    images = tf.cast(numbered() % 251, tf.uint8)
    assert (erasing.random_erasing(images, 0.0, SEED).numpy() == images.numpy()).all()


def test_mixup_blends_images_and_labels_by_one_lambda():
    images, labels = numbered(), one_hot()
    mixed, soft = augment.mixup(images, labels, 0.4, SEED)
    lam = float(augment.sample_beta(0.4, SEED))
    before = np.roll(images.numpy(), 1, axis=0)
    np.testing.assert_allclose(mixed, lam * images + (1 - lam) * before, rtol=1e-6)
    expected = lam * labels + (1 - lam) * np.roll(labels.numpy(), 1, axis=0)
    np.testing.assert_allclose(soft, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_targets_are_the_true_pixel_area(seed):
    images, labels = numbered(), one_hot()
    mixed, soft = augment.cutmix(images, labels, 1.0, tf.constant([seed, 0], tf.int64))
    pasted = (mixed.numpy() != images.numpy())[0, :, :, 0]
    assert (mixed.numpy()[0][pasted] == images.numpy()[-1][pasted]).all()
    rows, columns = pasted.any(axis=1).sum(), pasted.any(axis=0).sum()
    assert pasted.sum() == rows * columns  # one box
    lam = 1 - pasted.mean()
    expected = lam * labels + (1 - lam) * np.roll(labels.numpy(), 1, axis=0)
    np.testing.assert_allclose(soft, expected, atol=1e-6)


def test_the_cut_box_has_the_area_of_the_paper_when_inside():
    """Width and height are W and H times sqrt(1 - lambda): lambda 0.75 cuts a quarter."""
    areas = set()
    for seed in range(40):
        top, bottom, left, right = (
            int(n) for n in augment.cut_box(16, 16, tf.constant(0.75), tf.constant([seed, 1]))
        )
        assert 0 <= top <= bottom <= 16
        assert 0 <= left <= right <= 16
        areas.add((bottom - top) * (right - left))
    assert max(areas) == 64  # inside: 8 x 8; at a border less


def test_beta_of_a_tiny_alpha_is_a_number():
    """Its gamma samples are 0, both of them, in a quarter of the draws."""
    samples = [float(augment.sample_beta(1e-3, tf.constant([i, 0]))) for i in range(40)]
    assert all(0 <= sample <= 1 for sample in samples)


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_beta_has_the_mean_and_variance_of_the_distribution(alpha):
    samples = [float(augment.sample_beta(alpha, tf.constant([i, 0]))) for i in range(400)]
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(np.mean(samples) - 0.5) < 5 * np.sqrt(variance / 400)
    assert abs(np.var(samples) - variance) < 0.35 * variance


def test_equal_seeds_give_equal_images():
    for operation in (
        lambda seed: augment.random_crop(numbered(), 3, seed),
        lambda seed: augment.flipped_where(
            augment.random_half(numbered().shape[0], seed), numbered()
        ),
        lambda seed: augment.random_resized_crop(numbered(), 0.08, seed),
        lambda seed: erasing.cutout(numbered(), 4, seed),
        lambda seed: erasing.random_erasing(numbered(), 0.5, seed),
        lambda seed: augment.cutmix(numbered(), one_hot(), 1.0, seed)[0],
    ):
        assert (operation(SEED).numpy() == operation(SEED).numpy()).all()
        others = [operation(tf.constant([i, 9], tf.int64)).numpy() for i in range(5)]
        assert any((operation(SEED).numpy() != other).any() for other in others)
