"""Checkpoints of a run: weights, optimizer and step, written whole or not at all."""

import textwrap
from pathlib import Path

import tensorflow as tf

from tfresnet.keras2 import keras
from tfresnet.runtime.errors import InputError

KEPT = 2
# What TensorFlow raises when files are truncated, missing, or of another network.
UNREADABLE = (AssertionError, ValueError, IndexError, tf.errors.OpError)


def manager(
    directory: Path,
    model: keras.Model,
    optimizer: keras.optimizers.Optimizer,
    step: tf.Variable,
    average: keras.Model | None = None,
    **epoch: keras.metrics.Metric | tf.Variable,
) -> tf.train.CheckpointManager:
    """Return the manager of a run's checkpoints; the newest two are kept.

    Args:
        directory: of the checkpoints.
        model: the network that is trained.
        optimizer: its optimizer, with slots.
        step: steps so far.
        average: the moving average of the weights, if there is one.
        epoch: the state of the current epoch, by the names under which it is saved: a run may stop
            in the middle of one.
    """
    parts = {"model": model, "optimizer": optimizer, "step": step, **epoch}
    if average is not None:
        parts["average"] = average
    checkpoint = tf.train.Checkpoint(**parts)
    return tf.train.CheckpointManager(checkpoint, str(directory), KEPT, step_counter=step)


def restore(checkpoints: tf.train.CheckpointManager) -> list[str]:
    """Restore the newest readable checkpoint, if there is any.

    Returns:
        The reasons why newer ones were skipped; usually none.

    Raises:
        InputError: there are checkpoints, but none is readable and of this network.
    """
    directory = Path(checkpoints.directory)
    if not checkpoints.checkpoints and any(directory.glob("ckpt-*.index")):
        raise InputError(
            f"expected {directory}/checkpoint to name the newest of the checkpoints beside it, it "
            "does not; restore that file, or start another run with --name NAME"
        )
    problems: list[str] = []
    for path in reversed(checkpoints.checkpoints):
        try:
            checkpoints.checkpoint.restore(path).assert_existing_objects_matched()
            return problems
        except UNREADABLE as error:
            problems.append(str(_unreadable(path, error)))
    if problems:
        raise InputError(problems[0])
    return []


def restore_step(checkpoints: tf.train.CheckpointManager, step: int) -> None:
    """Restore the checkpoint of a step.

    Raises:
        InputError: it is not there, or can't be read.
    """
    path = next((path for path in checkpoints.checkpoints if _step(path) == step), None)
    if path is None:
        raise InputError(f"expected a checkpoint of step {step} in {checkpoints.directory}")
    try:
        checkpoints.checkpoint.restore(path).assert_existing_objects_matched()
    except UNREADABLE as error:
        raise _unreadable(path, error) from None


def save(checkpoints: tf.train.CheckpointManager) -> None:
    """Write a checkpoint; if that fails, the earlier ones are still there.

    Raises:
        InputError: the disk is full, or the folder can't be written.
    """
    last = checkpoints.latest_checkpoint
    try:
        checkpoints.save()
    except (OSError, tf.errors.OpError) as error:
        reason = textwrap.shorten(str(error), 150, placeholder=" ...")
        raise InputError(
            f"expected to write a checkpoint into {checkpoints.directory}: {reason}; the last good "
            f"one is {last}; make room, then go on with --resume"
        ) from error


def save_weights(
    directory: Path, model: keras.Model, step: int = 0, average: keras.Model | None = None
) -> None:
    """Write a checkpoint of weights and step, and remove others from the folder."""
    counter = tf.Variable(step, dtype=tf.int64)
    parts = {"model": model, "step": counter} | ({"average": average} if average else {})
    manager = tf.train.CheckpointManager(
        tf.train.Checkpoint(**parts), str(directory), 1, step_counter=counter
    )
    save(manager)


def newest_step(run: Path) -> int | None:
    """Return the step of a run's newest checkpoint; None without one."""
    latest = tf.train.latest_checkpoint(str(run / "checkpoints"))
    return _step(latest) if latest else None


def kept(run: Path, keep: str) -> Path:
    """Return the folder with the weights of a run's ``last`` or ``best`` epoch."""
    return run / "checkpoints" / ("best" if keep == "best" else "")


def load_weights(directory: Path, model: keras.Model, averaged: bool = False) -> int:
    """Load the weights of the newest checkpoint into ``model`` and return its step.

    With ``averaged``, load their moving average.

    Raises:
        InputError: there is no checkpoint, or it is of another architecture.
    """
    latest = tf.train.latest_checkpoint(str(directory))
    if latest is None:
        raise InputError(f"expected a checkpoint in {directory}, found none; train the run first")
    step = tf.Variable(0, dtype=tf.int64)
    try:
        part = {"average" if averaged else "model": model}
        status = tf.train.Checkpoint(step=step, **part).restore(latest)
        status.assert_existing_objects_matched().expect_partial()
    except UNREADABLE as error:
        raise _unreadable(latest, error) from None
    return int(step.numpy())  # int() refuses a replicated variable


def _step(path: str) -> int | None:
    """Return the step of a checkpoint; None if it can't be read."""
    try:
        return int(tf.train.load_variable(path, "step/.ATTRIBUTES/VARIABLE_VALUE"))
    except UNREADABLE:
        return None


def _unreadable(path: str, error: Exception) -> InputError:
    reason = textwrap.shorten(str(error), 150, placeholder=" ...")
    return InputError(f"{path}: expected a whole checkpoint of this network: {reason}")
