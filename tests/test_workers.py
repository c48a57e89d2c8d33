"""Several processes train as one: MultiWorkerMirroredStrategy on the loopback address."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import weakref
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import TINY
from tests.test_cli import refused
from tfresnet.config import loading
from tfresnet.keras2 import keras
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.errors import InputError
from tfresnet.training import checkpoint, distribute, lost_workers, workers
from tfresnet.training.workers import Cluster

SETTINGS = [*TINY, "train.ema_decay=0.9"]


def free_addresses(count: int) -> tuple[str, ...]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return tuple(f"127.0.0.1:{port}" for port in ports)


def tf_config(addresses: tuple[str, ...], index: int) -> str:
    task = {"type": "worker", "index": index}
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": task})


def start_workers(directory, *more: str, settings=SETTINGS) -> list[subprocess.Popen]:
    addresses = free_addresses(2)
    command = [sys.executable, "-c", "from tfresnet.cli.main import main; main()", "train"]
    command += ["quickstart", "--run-dir", str(directory), "--strategy", "multiworker", *more]
    command += [f"--set={setting}" for setting in settings]
    return [
        subprocess.Popen(
            command,
            env=os.environ | {"TF_CONFIG": tf_config(addresses, index)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        for index in range(2)
    ]


def wait_for_an_epoch(directory: Path, process: subprocess.Popen) -> None:
    """Wait until the second checkpoint is there; the first is of the start."""
    started = time.monotonic()
    while not (directory / "checkpoints" / "ckpt-2.index").exists():
        assert process.poll() is None, process.communicate()[1]
        assert time.monotonic() < started + 200
        time.sleep(0.1)


@pytest.mark.slow
def test_two_processes_equal_two_replicas_in_one(tmp_path):
    """The same batches, the same loss curve; a second start finds the run finished."""
    for more in ((), ("--resume",)):
        for process in start_workers(tmp_path / "run", *more):
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    one = loading.load("quickstart", [*SETTINGS, "train.strategy=mirrored", "train.devices=2"])
    expected = train(one, tmp_path / "one").records()
    for directory in (tmp_path / "run", tmp_path / "run" / "worker1"):
        found = run_directory.open_run(directory).records()
        for key in ("loss", "accuracy", "held_out_loss"):
            # 44 steps; the sum over replicas comes in another order
            assert [r[key] for r in found] == pytest.approx([r[key] for r in expected], abs=1e-4)


@pytest.mark.slow
def test_a_signal_to_one_worker_stops_all_at_the_same_step(tmp_path):
    """With its status; what only one of them has saved is trained again on --resume."""
    run, settings = tmp_path / "run", [*TINY, "train.epochs=3", "train.batch_size=8"]
    processes = start_workers(run, settings=settings)
    wait_for_an_epoch(run, processes[0])
    time.sleep(0.5)  # into the next one
    processes[1].send_signal(signal.SIGUSR1)
    for process in processes:
        _, errors = process.communicate(timeout=60)
        assert process.returncode == 128 + signal.SIGUSR1, errors
        assert "Stopped and saved. To go on, on all workers: tfresnet train --resume" in errors
    folders = [run, run / "worker1"]
    stopped, other = (checkpoint.newest_step(folder) for folder in folders)
    assert stopped == other

    kept = tf.train.get_checkpoint_state(str(folders[1] / "checkpoints"))
    older, times = kept.all_model_checkpoint_paths[:-1], kept.all_model_checkpoint_timestamps[:-1]
    tf.compat.v1.train.update_checkpoint_state(
        str(folders[1] / "checkpoints"), older[-1], older, all_model_checkpoint_timestamps=times
    )
    behind = checkpoint.newest_step(folders[1])
    assert behind < stopped
    for process in start_workers(run, "--resume", settings=settings):
        _, errors = process.communicate(timeout=240)
        assert process.returncode == 0, errors
        assert f"going on after step {behind}" in errors or behind == 0
    first, second = (run_directory.open_run(folder).records() for folder in folders)
    assert [r["epoch"] for r in first] == [1, 2, 3]
    assert [r["loss"] for r in first] == [r["loss"] for r in second]


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_worker_is_named_by_the_others(tmp_path, killed):
    """Nothing is lost: the last checkpoint is there."""
    run = tmp_path / "run"
    processes = start_workers(run, settings=[*TINY, "train.epochs=50"])
    wait_for_an_epoch(run, processes[0])
    processes[killed].kill()
    processes[killed].communicate()
    _, errors = processes[1 - killed].communicate(timeout=120)
    assert processes[1 - killed].returncode == 2, errors
    assert "Traceback" not in errors
    assert "Pool" not in errors
    step = checkpoint.newest_step(run / "worker1" if killed == 0 else run)
    last = errors.strip().splitlines()[-1]
    assert re.fullmatch(rf"Error: worker {killed} \(127.*\) is gone; the last .* {step}; .*", last)


def test_a_worker_that_does_not_start_is_waited_for_and_named(tmp_path, monkeypatch, capsys):
    addresses = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", tf_config(addresses, 0))
    monkeypatch.setenv(workers.TIMEOUT, "0.2")
    message = refused("train", "--strategy", "multiworker", "--run-dir", tmp_path / "run")
    assert f"expected worker 1 ({addresses[1]}) within 0.2 s, as in TF_CONFIG" in message
    assert not (tmp_path / "run").exists()

    monkeypatch.setattr(workers, "SILENCE", 0)
    monkeypatch.setattr(workers, "POLL", 0.01)
    monkeypatch.setenv(workers.TIMEOUT, "0.2")
    with pytest.raises(InputError, match="within"):
        workers.wait(Cluster(addresses, 1))
    told = f"Waiting for worker 0 ({addresses[0]}), up to 0.2 s\n"
    assert capsys.readouterr().err == told
    monkeypatch.setenv(workers.TIMEOUT, "soon")
    with pytest.raises(InputError, match="TFRESNET_WORKER_TIMEOUT: expected seconds, got 'soon'"):
        workers.wait(Cluster(addresses, 0))


@pytest.fixture
def heeds_ctrl_c():
    """Let SIGINT raise KeyboardInterrupt, also where a shell's background job ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_worker_that_waits_can_be_found_and_stopped(heeds_ctrl_c):
    addresses = free_addresses(3)
    third = Cluster(addresses, 2)
    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))):
        assert third.missing() == [0]
        looks = []

        def look() -> None:
            while third.number not in looks:  # until worker 2 waits, as worker 0 would see it
                looks[:] = [n for n in (1, 2) if n not in Cluster(addresses, 0).missing()]
                time.sleep(0.1)  # nobody accepts at worker 1, where only so many can queue
            os.kill(os.getpid(), signal.SIGINT)

        thread = threading.Thread(target=look)
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            workers.wait(third)
        thread.join()
        assert looks == [1, 2]


def test_a_port_that_is_taken_is_explained():
    (address,) = free_addresses(1)
    with (
        socket.create_server(("", int(address.rpartition(":")[2]))),
        pytest.raises(InputError, match=r"expected port \d+ of this machine, .* to be free"),
    ):
        workers.wait(Cluster((address,), 0))


def test_what_a_lost_worker_raises_becomes_one_line(tmp_path, monkeypatch):
    addresses = free_addresses(2)
    monkeypatch.setenv("TF_CONFIG", tf_config(addresses, 0))
    unavailable = tf.errors.UnavailableError(None, None, "stopped sending heartbeats")
    gone = rf"worker 1 \({addresses[1]}\) is gone; there is no checkpoint yet; .* --resume"
    with pytest.raises(InputError, match=gone), lost_workers.explained(tmp_path):
        raise unavailable
    with pytest.raises(InputError, match=gone), lost_workers.explained(tmp_path):
        raise InputError("expected to write a checkpoint") from unavailable
    mistake = tf.errors.InvalidArgumentError(None, None, "a shape")
    with socket.create_server(("127.0.0.1", int(addresses[1].rpartition(":")[2]))):
        with pytest.raises(tf.errors.InvalidArgumentError), lost_workers.explained(tmp_path):
            raise mistake
        with (
            pytest.raises(InputError, match=r"^another worker has stopped; there is no"),
            lost_workers.explained(tmp_path),
        ):
            raise unavailable


def test_nothing_is_left_in_the_frames_of_a_lost_worker(tmp_path, monkeypatch):
    """TensorFlow leaves a thread pool in a frame that it takes out of the traceback."""
    monkeypatch.setenv("TF_CONFIG", tf_config(free_addresses(2), 0))
    left = []

    def innermost():
        raise tf.errors.UnavailableError(None, None, "stopped sending heartbeats")

    def reduce():
        pool = threading.Event()
        left.append(weakref.ref(pool))
        innermost()

    def filtered():
        try:
            reduce()
        except tf.errors.OpError as error:
            raise error.with_traceback(error.__traceback__.tb_next.tb_next) from None

    with pytest.raises(InputError) as caught, lost_workers.explained(tmp_path):
        filtered()
    assert "gone" in str(caught.value)
    assert left[0]() is None


def test_lost_workers_are_named(monkeypatch):
    addresses = ("a:1", "b:2", "c:3")
    monkeypatch.setattr(Cluster, "missing", lambda _: [0, 2])
    assert workers.lost(Cluster(addresses, 1), 46) == (
        "worker 0 (a:1), worker 2 (c:3) are gone; the last checkpoint is of step 46; look at its "
        "output, then start all workers again with --resume"
    )


def test_a_fresh_process_splits_its_cpu_into_devices(tmp_path):
    """Before TensorFlow starts; in this process it has long been split."""
    command = [sys.executable, "-c", "from tfresnet.cli.main import main; main()", "train"]
    command += ["--strategy", "mirrored", "--devices", "2", "--run-dir", str(tmp_path / "run")]
    command += [f"--set={setting}" for setting in [*TINY, "train.epochs=1", "data.image_size=8"]]
    done = subprocess.run([*command, "--set=data.crop_padding=1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": []}}'])
def test_a_cluster_that_is_not_named_is_asked_for(tmp_path, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    message = refused("train", "--strategy", "multiworker", "--run-dir", tmp_path / "run")
    assert "expected TF_CONFIG to hold" in message
    assert not (tmp_path / "run").exists()


def test_replicas_have_the_mean_of_their_statistics_as_after_a_restart():
    """Else a run that goes on from a checkpoint is rounded unlike one that never stops."""
    devices = [device.name for device in tf.config.list_logical_devices("CPU")]
    strategy = tf.distribute.MirroredStrategy(devices, tf.distribute.ReductionToOneDevice())
    with strategy.scope():
        model = keras.Sequential([keras.layers.BatchNormalization()])
        model.build([None, 2, 2, 3])

    def step() -> None:
        number = tf.distribute.get_replica_context().replica_id_in_sync_group
        images = tf.random.stateless_normal([4, 2, 2, 3], [1, 2]) + tf.cast(number, tf.float32)
        model(images, training=True)

    strategy.run(step)
    mean = model.layers[0].moving_mean
    first, second = (v.numpy() for v in strategy.experimental_local_results(mean))
    assert not np.allclose(first, second)
    distribute.average_statistics(strategy, model, None)
    for value in strategy.experimental_local_results(mean):
        np.testing.assert_allclose(value.numpy(), (first + second) / 2, rtol=1e-6)


def test_where_there_is_no_tpu_it_is_refused(tmp_path, monkeypatch):
    monkeypatch.delenv("TPU_NAME", raising=False)
    message = refused("train", "--strategy", "tpu", "--run-dir", tmp_path / "run")
    assert "expected a TPU for tpu, found none (" in message
    assert not (tmp_path / "run").exists()
