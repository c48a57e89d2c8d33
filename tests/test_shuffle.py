"""The orders of epochs: permutations that have nothing to do with one another."""

import itertools

import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from tfresnet.data import augment, shuffle

IMAGES = 50_000


@tf.function
def orders(count, seeds, streams, length):
    """The first ``length`` images of the order of each (seed, stream)."""
    positions = tf.range(tf.cast(length, tf.int64))
    return tf.map_fn(
        lambda pair: shuffle.permuted(positions, count, shuffle.key(pair[0], pair[1])),
        tf.stack([seeds, streams], axis=1),
        fn_output_signature=tf.int64,
    )


def orders_of(count, pairs, length=None):
    seeds, streams = np.array(list(pairs), np.int64).T
    length = count if length is None else length
    return orders(tf.constant(count, tf.int64), seeds, streams, length).numpy()


def test_an_order_has_every_image_once():
    for count in (2, 3, 7, 300, 1000):
        for order in orders_of(count, [(0, 0), (5, 9)]):
            assert sorted(order) == list(range(count))


def test_no_two_epochs_and_no_two_seeds_have_related_orders():
    """Neighbors and distances of 256, in which a raw key's orders are equal, among them.

    The correlation of two random orders has a standard deviation of 1 / sqrt(50,000) = 0.0045:
    of the 1,540 pairs here none is expected beyond 0.017.
    """
    epochs = [*range(14), 255, 256, 257, 512]
    pairs = [*itertools.product((0, 1, 256), epochs), (2**31 - 1, 12), (12, 2**31 - 1)]
    found = orders_of(IMAGES, pairs)
    with_as_it_is = np.vstack([found, np.arange(IMAGES)])
    correlations = np.corrcoef(with_as_it_is) - np.eye(len(with_as_it_is))
    assert np.abs(correlations).max() < 0.02


def test_no_order_comes_again_within_2000_epochs():
    """Five images say it: two random orders agree in them with a probability of 3e-24."""
    beginnings = orders_of(IMAGES, [(0, epoch) for epoch in range(2000)], length=5)
    assert len(np.unique(beginnings, axis=0)) == 2000


@pytest.mark.parametrize("images", [300, 1000, 2000])
def test_batches_of_images_in_the_order_of_their_classes_are_mixed_by_chance(images):
    """Ten classes one after the other, 5 seeds of 60 epochs, batches of 30.

    The chi-square of the classes in the batches has a p-value for each epoch; of 300 epochs the
    smallest is below 1e-6 with a probability of 3e-4, and they are uniform between 0 and 1.
    """
    classes, batch = 10, 30
    found = orders_of(images, itertools.product(range(5), range(60)))
    labels = (found[:, : images // batch * batch] * classes // images).reshape(300, -1, batch)
    counts = (labels[..., None] == np.arange(classes)).sum(axis=2)
    expected = batch / classes
    chi_square = ((counts - expected) ** 2 / expected).sum(axis=(1, 2))
    # Drawn without replacement, counts vary less than a multinomial's, by (n - batch) / (n - 1),
    # and the classes' sums over all batches are fixed.
    freedom = (classes - 1) * (images // batch - 1)
    p = stats.chi2.sf(chi_square, freedom)
    assert p.min() > 1e-6
    assert stats.kstest(p, "uniform").pvalue > 1e-6


def test_alternating_flips_of_two_seeds_agree_on_half_of_the_images():
    """For 4,000 images a half is 2,000 with a standard deviation of 32."""
    count = 4000

    def mirrored(seed):
        epoch = tf.constant(0, tf.int64)
        indices = tf.range(count, dtype=tf.int64)
        flip_seed = tf.constant([seed, -1], tf.int64)
        return augment.alternating_half(indices, count, epoch, flip_seed).numpy()

    for one, other in ((0, 1), (1, 2), (0, 256)):
        first, second = mirrored(one), mirrored(other)
        assert first.sum() == count / 2
        assert abs((first == second).sum() - count / 2) < 6 * 32
