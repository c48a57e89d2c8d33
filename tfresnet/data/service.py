"""Batches that tf.data service makes on other machines, in the order of their steps.

The dispatcher gives each step to one worker (``distributed_epoch``), so that every batch is made
once. They arrive in any order and are put in that of their steps, so that a resumed run sees what
the uninterrupted one would have. Its workers are TensorFlow's own and know nothing of tfresnet:
what they run is a graph, without the Python functions by which :mod:`.splits` reads pictures.
"""

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import tensorflow as tf

from tfresnet.data import decoding
from tfresnet.data.splits import FileSplit, LazySplit, Split, Subset
from tfresnet.runtime.errors import InputError

READABLE = (".jpg", ".jpeg", ".png", ".gif", ".bmp")  # by TensorFlow's operations
CONNECT = 10.0  # seconds that the dispatcher has to accept a connection
AHEAD = 64  # batches that may arrive before the one that is next; a lost worker's never comes
LOST = "data.service: the batch of step "

Load = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


def check(address: str, split: Split) -> None:
    """Check that a dispatcher is there, and that it can be given the images of a split.

    Raises:
        InputError: it accepts no connection, or the images are not files that TensorFlow reads.
    """
    host, _, port = address.removeprefix("grpc://").rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), CONNECT).close()
    except OSError as error:
        raise InputError(
            f"data.service: expected a dispatcher of tf.data service at {address}, got "
            f"{error.strerror or error}; start it, or leave data.service out"
        ) from None
    loader(split)


def loader(split: Split) -> Load:
    """Return a function, of TensorFlow's operations alone, from an index to an image and target.

    Returns:
        A function from int64 [] to uint8 [H, W, C] and int64 [] or float32 [classes].

    Raises:
        InputError: the images are not files with labels, or of a kind that TensorFlow can't read.
    """
    if isinstance(split, LazySplit):
        return loader(split.loaded)
    if isinstance(split, Subset):
        inner, indices = loader(split.whole), tf.constant(split.indices)
        return lambda index: inner(indices[index])
    if not isinstance(split, FileSplit):
        raise InputError(
            "data.service: expected a folder of images with labels in data.dataset, got other "
            "data, which are read by Python; leave data.service out"
        )
    for path in split.paths:
        if Path(path).suffix.lower() not in READABLE:
            raise InputError(
                f"data.service: expected images in {' '.join(READABLE)}, got {path}; convert it, "
                "or leave data.service out"
            )
    paths, targets, spec = tf.constant(split.paths), tf.constant(split.targets), split.spec

    def load(index: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        image = decoding.picture(tf.io.read_file(paths[index]), spec)
        return tf.ensure_shape(image, spec.shape), targets[index]

    return load


def batches(
    address: str,
    split: Split,
    indices: Callable[[tf.Tensor], tf.Tensor],
    augmented: Callable[[tf.Tensor, tuple[tf.Tensor, tf.Tensor]], tuple],
    first_step: int,
    last_step: int,
) -> tf.data.Dataset:
    """Return the batches of the steps from ``first_step`` up to ``last_step``, in their order.

    Args:
        address: of the dispatcher: ``grpc://host:port``.
        split: the images.
        indices: from a step to the indices of its images, int64 [b].
        augmented: from a step and its images and targets to what is trained on.
        first_step: the number of the first batch.
        last_step: the number after that of the last batch.
    """
    load = loader(split)
    # All is made of one source, the steps, since each source would be divided by itself.
    steps = tf.data.Dataset.range(first_step, last_step)

    def images_of(step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        chosen = indices(step)
        return tf.fill(tf.shape(chosen), step), chosen

    each = steps.map(images_of).unbatch()
    loaded = each.map(lambda step, index: (step, load(index)), tf.data.AUTOTUNE)
    length = indices(tf.constant(first_step, tf.int64)).shape[0]
    whole = loaded.batch(length, drop_remainder=True)
    made = whole.map(lambda step, batch: (step[0], augmented(step[0], batch)), tf.data.AUTOTUNE)
    service = tf.data.experimental.service.distribute("distributed_epoch", address)
    return _ordered(made.apply(service), first_step, last_step)


def _ordered(numbered: tf.data.Dataset, first: int, last: int) -> tf.data.Dataset:
    """Return the batches of a dataset of steps and batches, from ``first`` up to ``last``."""

    def generate() -> Iterator[Any]:
        waiting: dict[int, Any] = {}
        wanted = first
        for step, batch in numbered:
            waiting[int(step)] = batch
            while wanted in waiting:
                yield waiting.pop(wanted)
                wanted += 1
            if len(waiting) > AHEAD:
                break
        if wanted < last:
            raise RuntimeError(f"{LOST}{wanted}.")

    return tf.data.Dataset.from_generator(generate, output_signature=numbered.element_spec[1])


@contextlib.contextmanager
def explained(address: str | None) -> Iterator[None]:
    """Turn TensorFlow's error for a batch that did not come into one line.

    Raises:
        InputError: a batch did not come.
    """
    try:
        yield
    except tf.errors.OpError as error:
        _, found, rest = error.message.partition(LOST)
        if not found:
            raise
        raise InputError(
            f"{LOST}{rest.partition('.')[0]} did not come from {address}: a worker of the service "
            "has ended, or is far slower than others; go on with --resume"
        ) from None
