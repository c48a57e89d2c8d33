"""Random orders of an epoch's images, computed position by position: nothing is stored."""

import tensorflow as tf

# Rounds of the cipher (Simon) behind RandomIndexShuffle. TensorFlow's default of 4 leaves the
# orders of neighboring keys related: those of two epochs in a row correlate by 0.74.
ROUNDS = 8


def key(seed: int | tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """Return the key of a permutation, uint32 [3], hashed from a run's seed and a stream's number.

    The numbers themselves are no keys: small and neighboring ones give orders that resemble each
    other, and some that hardly permute at all.
    """
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(stream, tf.int64)])
    return tf.random.stateless_uniform(
        [3], seeds, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )


def permuted(positions: tf.Tensor, count: int | tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Return where a random permutation of ``count`` indices sends ``positions``, int64 [n].

    Equal keys give the same permutation, so that an epoch's order is a function of its key alone.
    """
    return tf.raw_ops.RandomIndexShuffle(
        index=positions, seed=key, max_index=tf.cast(count - 1, tf.int64), rounds=ROUNDS
    )
