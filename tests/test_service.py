"""Batches from tf.data service: a dispatcher and two workers."""

import subprocess
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.test_workers import free_addresses
from tfresnet import tasks
from tfresnet.config import loading
from tfresnet.data import pipeline, service, sources
from tfresnet.data.validation import set_aside
from tfresnet.runtime.errors import InputError

COUNT, BATCH = 22, 4  # images to train on; the sixth batch of an epoch is filled up
WORKER = """
import sys, tensorflow as tf
config = tf.data.experimental.service.WorkerConfig(
    dispatcher_address=sys.argv[1], worker_address=sys.argv[2], port=int(sys.argv[2].split(":")[1])
)
tf.data.experimental.service.WorkerServer(config).join()
"""


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> Path:
    """Pictures whose color says which one they are."""
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(COUNT + 4):
        part = "val" if number >= COUNT else "train"
        path = folder / part / "ab"[number % 2] / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (20, 20), (10 * number, 0, 0)).save(path)
    return folder


@pytest.fixture(scope="module")
def servers():
    """A dispatcher and two workers, in this process."""
    made = tf.data.experimental.service
    dispatcher = made.DispatchServer()
    address = dispatcher.target.removeprefix("grpc://")
    workers = [made.WorkerServer(made.WorkerConfig(dispatcher_address=address)) for _ in range(2)]
    yield dispatcher, workers
    del workers, dispatcher


@pytest.fixture
def batches(pictures):
    """The batches of an epoch from a step on, with or without a service."""

    def of(address: str | None, first: int = 0, **more) -> tf.data.Dataset:
        changed = {"dataset": str(pictures), "image_size": 16, "crop_padding": 2} | more
        data = loading.from_overrides([f"data.{k}={v}" for k, v in changed.items()]).data
        data = data.model_copy(update={"service": address})
        dataset = set_aside(sources.load(data, 16), data)
        steps = pipeline.steps_per_epoch(dataset.train, BATCH)
        task = tasks.of(dataset.output)
        return pipeline.train_batches(
            dataset.train, dataset.spec, task.targets, data, BATCH, 3, first, steps
        )

    return of


def test_the_same_batches_come_in_the_same_order(batches, servers):
    """From two workers, each image once, also from the middle of an epoch on."""
    dispatcher, _ = servers
    local, found = list(batches(None)), list(batches(dispatcher.target))
    assert len(found) == len(local) == 6
    seen: Counter = Counter()
    for (images, targets), (expected, expected_targets) in zip(found, local, strict=True):
        np.testing.assert_array_equal(targets, expected_targets)
        np.testing.assert_allclose(images, expected, atol=2 / 128)  # TensorFlow reads other pixels
        red = 128 * images.numpy()[..., 0].max((1, 2)) + 128
        seen.update((red / 10).round().astype(int).tolist())
    assert set(seen) == set(range(COUNT))
    assert sum(seen.values()) == 24  # two fill the last batch up
    resumed = list(batches(dispatcher.target, first=4))
    for (images, _), (expected, _) in zip(resumed, found[4:], strict=True):
        np.testing.assert_array_equal(images, expected)


def test_no_python_function_is_sent(batches, servers):
    """Workers are other processes, which have none of ours."""
    dispatcher, _ = servers
    split_data = batches(dispatcher.target, validation_fraction=0.2, mixup_alpha=0.2)
    assert len(list(split_data)) == 5
    data = loading.from_overrides(["data.dataset=digits"]).data
    with pytest.raises(InputError, match="expected a folder of images with labels"):
        service.loader(sources.load(data, 32).train)


@pytest.mark.slow
def test_workers_are_processes_of_their_own(batches, servers):
    """Of TensorFlow alone."""
    made = tf.data.experimental.service
    dispatcher = made.DispatchServer()
    target = dispatcher.target.removeprefix("grpc://")
    command = [sys.executable, "-c", WORKER, target]
    workers = [subprocess.Popen([*command, address]) for address in free_addresses(2)]
    try:
        expected = list(batches(servers[0].target))
        for (images, _), (other, _) in zip(batches(dispatcher.target), expected, strict=True):
            np.testing.assert_array_equal(images, other)
    finally:
        for worker in workers:
            worker.kill()
            worker.wait()


def test_batches_are_put_in_order_and_a_lost_one_is_named(monkeypatch):
    def numbered(steps: list[int]) -> tf.data.Dataset:
        ones = tf.ones([len(steps), 2])
        numbers = tf.constant(steps, tf.int64)
        batches = (ones * tf.cast(numbers, tf.float32)[:, None], ones)
        return tf.data.Dataset.from_tensor_slices((numbers, batches))

    found = service._ordered(numbered([4, 3, 6, 5]), 3, 7)
    assert [int(images[0]) for images, _ in found] == [3, 4, 5, 6]
    monkeypatch.setattr(service, "AHEAD", 2)
    for steps in ([3, 5, 6], [3, 5, 6, 7, 8, 9, 4]):
        with (
            pytest.raises(
                InputError, match=r"^data.service: the batch of step 4 did not come from x"
            ),
            service.explained("x"),
        ):
            list(service._ordered(numbered(steps), 3, max(steps) + 1))
    with pytest.raises(tf.errors.InvalidArgumentError), service.explained("x"):
        raise tf.errors.InvalidArgumentError(None, None, "a shape")


def test_what_can_not_be_served_is_refused(pictures, tmp_path):
    (address,) = free_addresses(1)
    data = loading.from_overrides([f"data.dataset={pictures}", "data.image_size=16"]).data
    split = sources.load(data, 16).train
    with pytest.raises(InputError, match=f"expected a dispatcher of tf.data service at {address}"):
        service.check(address, split)
    path = tmp_path / "a" / "1.webp"
    path.parent.mkdir()
    Image.new("RGB", (20, 20)).save(path)
    with pytest.raises(InputError, match=r"expected images in .jpg .* got .*1.webp"):
        service.loader(type(split)([str(path)], np.zeros(1, np.int64), split.spec))
    for wrong in ("host:1", "grpc://host", "http://host:1"):
        with pytest.raises(InputError, match="service"):
            loading.from_overrides([f"data.service={wrong}"])
