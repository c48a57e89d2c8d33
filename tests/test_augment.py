"""Augmentations against hand-computed cases and the papers' formulas."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet.data import augment

SEED = tf.constant([3, 4], tf.int64)


def numbered(batch: int = 6, size: int = 8) -> tf.Tensor:
    """Images whose every pixel is different."""
    count = batch * size * size * 3
    return tf.reshape(tf.range(count, dtype=tf.float32), [batch, size, size, 3])


def one_hot(batch: int = 6) -> tf.Tensor:
    return tf.one_hot(tf.range(batch) % 4, 4)


def test_a_crop_is_a_window_of_the_reflected_image():
    images, padding = numbered(), 2
    cropped = augment.random_crop(images, padding, SEED).numpy()
    padded = np.pad(images.numpy(), [(0, 0), (2, 2), (2, 2), (0, 0)], mode="reflect")
    places = set()
    for image, big in zip(cropped, padded, strict=True):
        found = [
            (y, x) for y in range(5) for x in range(5) if (big[y : y + 8, x : x + 8] == image).all()
        ]
        assert len(found) == 1
        places.add(found[0])
    assert len(places) > 1  # each image has its own place


def test_a_flip_mirrors_about_half_of_the_images():
    images = tf.tile(numbered(1), [400, 1, 1, 1])
    flipped = augment.random_flip(images, SEED).numpy()
    mirrored = (flipped == images.numpy()[:, :, ::-1]).all(axis=(1, 2, 3))
    same = (flipped == images.numpy()).all(axis=(1, 2, 3))
    assert (mirrored ^ same).all()
    assert 150 < mirrored.sum() < 250  # 5 standard deviations of 10 around 200


def test_mixup_blends_images_and_labels_by_one_lambda():
    images, labels = numbered(), one_hot()
    mixed, soft = augment.mixup(images, labels, 0.4, SEED)
    lam = float(augment.sample_beta(0.4, SEED))
    before = np.roll(images.numpy(), 1, axis=0)
    np.testing.assert_allclose(mixed, lam * images + (1 - lam) * before, rtol=1e-6)
    expected = lam * labels + (1 - lam) * np.roll(labels.numpy(), 1, axis=0)
    np.testing.assert_allclose(soft, expected, atol=1e-6)


@pytest.mark.parametrize("seed", range(8))
def test_cutmix_labels_are_the_true_pixel_area(seed):
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


@pytest.mark.parametrize("alpha", [0.2, 1.0])
def test_beta_has_the_mean_and_variance_of_the_distribution(alpha):
    samples = [float(augment.sample_beta(alpha, tf.constant([i, 0]))) for i in range(400)]
    variance = 1 / (4 * (2 * alpha + 1))
    assert abs(np.mean(samples) - 0.5) < 5 * np.sqrt(variance / 400)
    assert abs(np.var(samples) - variance) < 0.35 * variance


def test_equal_seeds_give_equal_images():
    for operation in (
        lambda seed: augment.random_crop(numbered(), 3, seed),
        lambda seed: augment.random_flip(numbered(), seed),
        lambda seed: augment.cutmix(numbered(), one_hot(), 1.0, seed)[0],
    ):
        assert (operation(SEED).numpy() == operation(SEED).numpy()).all()
        others = [operation(tf.constant([i, 9], tf.int64)).numpy() for i in range(5)]
        assert any((operation(SEED).numpy() != other).any() for other in others)
