"""Random permutations that are computed position by position, so that no order is stored."""

import tensorflow as tf

# Rounds of the cipher (Simon) behind RandomIndexShuffle. TensorFlow's default of 4 leaves the
# orders of neighboring keys related: those of two epochs in a row correlate by 0.74.
ROUNDS = 8


def key(seed: int | tf.Tensor, stream: int | tf.Tensor) -> tf.Tensor:
    """Hash a run's seed and the number of a stream, such as an epoch, to a key, uint32 [3].

    The numbers can't be the key themselves: small and neighboring keys give permutations that
    resemble each other, and some that hardly permute at all.
    """
    seeds = tf.stack([tf.cast(seed, tf.int64), tf.cast(stream, tf.int64)])
    return tf.random.stateless_uniform(
        [3], seeds, minval=None, maxval=None, dtype=tf.uint32, alg="philox"
    )


def permuted(positions: tf.Tensor, count: int | tf.Tensor, key: tf.Tensor) -> tf.Tensor:
    """Return the indices, int64 [n], at ``positions`` of a random permutation of ``count`` indices.

    Equal keys give the same permutation.
    """
    return tf.raw_ops.RandomIndexShuffle(
        index=positions, seed=key, max_index=tf.cast(count - 1, tf.int64), rounds=ROUNDS
    )
