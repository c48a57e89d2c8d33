"""One training step: loss, gradients, clipping, decay, and the moving average of the weights."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from tfresnet.config.sections import TrainConfig
from tfresnet.keras2 import keras
from tfresnet.tasks.base import Loss
from tfresnet.training.optimizers import finish_gradients

Observe = Callable[[Any, Any, tf.Tensor], None]


class TrainStep:
    """Trains ``model`` on one replica's share of a batch.

    Args:
        config: clipping, decay, accumulation.
        model: the network.
        optimizer: built for the model's trainable variables.
        loss: of every image, from targets and outputs.
        observe: takes the targets, outputs and losses that were trained on, for the metrics.
        teacher: a network whose outputs are to be matched, or None.
    """

    def __init__(
        self,
        config: TrainConfig,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        loss: Loss,
        observe: Observe,
        teacher: keras.Model | None = None,
    ):
        self.config, self.model, self.optimizer = config, model, optimizer
        self.loss, self.observe, self.teacher = loss, observe, teacher
        self.scales_loss = isinstance(optimizer, keras.mixed_precision.LossScaleOptimizer)

    def __call__(self, images: tf.Tensor, targets: Any) -> None:
        """Run one step; call it in a replica's context."""
        variables = self.model.trainable_variables
        gradients = self._accumulated(images, targets)
        replica = tf.distribute.get_replica_context()
        gradients = replica.all_reduce(tf.distribute.ReduceOp.SUM, gradients)
        if self.scales_loss:
            gradients = self.optimizer.get_unscaled_gradients(gradients)
        gradients = finish_gradients(gradients, variables, self.config)
        self.optimizer.apply_gradients(
            zip(gradients, variables, strict=True), skip_gradients_aggregation=True
        )

    def _accumulated(self, images: tf.Tensor, targets: Any) -> list[tf.Tensor]:
        """Return the gradients of this replica's share, summed over ``train.accumulate`` parts.

        Batch normalization uses each part's own mean and variance. Its moving statistics are
        updated once a step, by the mean of the parts' updates.
        """
        parts = self.config.accumulate
        if parts == 1:
            return self._gradients(images, targets)
        split = tf.nest.map_structure(
            lambda t: tf.reshape(t, [parts, t.shape[0] // parts, *t.shape[1:]]), (images, targets)
        )
        sums = [tf.zeros_like(v) for v in self.model.trainable_variables]
        state = updated_in_calls(self.model)
        before = [tf.identity(v) for v in state]
        moves = [tf.zeros_like(v) for v in before]
        for i in tf.range(parts):
            # One after the other, so that only one part is in memory.
            tf.autograph.experimental.set_loop_options(parallel_iterations=1)
            gradients = self._gradients(*tf.nest.map_structure(lambda t, i=i: t[i], split))
            sums = [a + b for a, b in zip(sums, gradients, strict=True)]
            moves = [m + (v - b) for m, v, b in zip(moves, state, before, strict=True)]
            for variable, value in zip(state, before, strict=True):
                variable.assign(value)
        for variable, value, move in zip(state, before, moves, strict=True):
            variable.assign(value + _divided(move, parts))
        return sums

    def _gradients(self, images: tf.Tensor, targets: Any) -> list[tf.Tensor]:
        teacher = None if self.teacher is None else self.teacher(images, training=False)
        with tf.GradientTape() as tape:
            outputs = self.model(images, training=True)
            each = self.loss(targets, outputs, teacher)
            # The mean over the whole batch: replicas' gradients are then added, not averaged.
            loss = tf.reduce_sum(each) / self.config.batch_size
            if self.scales_loss:
                loss = self.optimizer.get_scaled_loss(loss)
        # Variables that a compressed network has but does not use get a gradient of 0.
        none = tf.UnconnectedGradients.ZERO
        gradients = tape.gradient(loss, self.model.trainable_variables, unconnected_gradients=none)
        self.observe(targets, outputs, each)
        return gradients


def updated_in_calls(model: keras.Model) -> list[tf.Variable]:
    """Return the variables that calls in training update: statistics, ranges, counters.

    Frozen weights are not among them.
    """
    return [v for v in model.non_trainable_variables if not v.trainable]


def _divided(total: tf.Tensor, parts: int) -> tf.Tensor:
    return total // parts if total.dtype.is_integer else total / tf.cast(parts, total.dtype)


def update_average(
    strategy: tf.distribute.Strategy,
    average: keras.Model,
    model: keras.Model,
    decay: float,
    step: tf.Variable,
) -> None:
    """Update the exponential moving average of the model's variables, statistics included.

    ``decay`` is lower in the first steps, when the weights change fast: (1 + step) / (10 + step),
    as in TensorFlow's ExponentialMovingAverage. To be called in the cross-replica context.
    """
    now = tf.cast(step, tf.float32)
    share = 1 - tf.minimum(decay, (1 + now) / (10 + now))
    for mean, value in zip(average.variables, model.variables, strict=True):
        strategy.extended.update(mean, _move, args=(value, share))


def _move(mean: tf.Variable, value: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    return mean.assign_add(share * (value - mean))
