"""Batch normalization with the statistics of the whole batch, over all replicas."""

import tensorflow as tf

from tfresnet.keras2 import keras


class SynchronizedBatchNormalization(keras.layers.BatchNormalization):
    """Batch normalization of NHWC images with the mean and variance over all replicas.

    All replicas must have the same number of images. The moving variance is the unbiased one, as
    in Keras's kernel for one replica. Keras's own ``synchronized=True`` records the biased one, and
    computes it as the mean of the squares minus the square of the mean, which in float32 loses all
    digits of numbers far from 0.
    """

    def call(
        self, inputs: tf.Tensor, training: bool | None = None, mask: tf.Tensor | None = None
    ) -> tf.Tensor:
        """Return the normalized ``inputs``, float [batch, H, W, C]."""
        if not (training and self.trainable):
            return super().call(inputs, training=False, mask=mask)
        x = tf.cast(inputs, self.moving_mean.dtype)
        mean, variance, unbiased = moments(x)
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, unbiased)):
            moving.assign_sub((1 - self.momentum) * (moving - value))
        outputs = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(outputs, self.compute_dtype)


def moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Return mean, variance and unbiased variance, each [C], over all replicas' x.

    Two passes: the variance is the mean of the squared differences from the global mean.

    Args:
        x: float [batch, H, W, C].
    """
    replica = tf.distribute.get_replica_context()
    mean = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(x, [0, 1, 2]))
    # The derivative of the variance by the mean is 0, so no gradient is lost here.
    squares = tf.math.squared_difference(x, tf.stop_gradient(mean))
    variance = replica.all_reduce(tf.distribute.ReduceOp.MEAN, tf.reduce_mean(squares, [0, 1, 2]))
    count = tf.cast(tf.size(x) / x.shape[-1] * replica.num_replicas_in_sync, x.dtype)
    return mean, variance, variance * count / (count - 1)


def synchronize(model: keras.Model) -> None:
    """Make the batch normalizations of a built model use the statistics over all replicas."""
    for layer in model.submodules:
        if type(layer) is keras.layers.BatchNormalization:
            # The weights, their names and the configuration are the same.
            layer.__class__ = SynchronizedBatchNormalization
            layer.fused = False  # Keras's kernel knows of one replica only
