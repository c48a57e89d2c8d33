"""Checkpoints of a run: weights, optimizer and step, written whole or not at all."""

from pathlib import Path

import tensorflow as tf
import tf_keras as keras

from tfresnet.errors import UserError

KEPT = 2


def manager(
    directory: Path, model: keras.Model, optimizer: keras.optimizers.Optimizer, step: tf.Variable
) -> tf.train.CheckpointManager:
    """Return the manager of a run's checkpoints; the newest two are kept."""
    checkpoint = tf.train.Checkpoint(model=model, optimizer=optimizer, step=step)
    return tf.train.CheckpointManager(checkpoint, str(directory), KEPT, step_counter=step)


def load_weights(directory: Path, model: keras.Model) -> int:
    """Load the newest checkpoint's weights into ``model`` and return its step.

    Raises:
        UserError: there is no checkpoint, or it is of another architecture.
    """
    latest = tf.train.latest_checkpoint(str(directory))
    if latest is None:
        raise UserError(f"expected a checkpoint in {directory}, found none; train the run first")
    step = tf.Variable(0, dtype=tf.int64)
    try:
        status = tf.train.Checkpoint(model=model, step=step).restore(latest)
        status.assert_existing_objects_matched().expect_partial()
    except (AssertionError, ValueError, tf.errors.OpError) as error:
        reason = " ".join(str(error).split())[:150]
        raise UserError(f"{latest}: expected the weights of {model.name}: {reason}") from None
    return int(step)
