"""Several processes train as one: MultiWorkerMirroredStrategy on the loopback address."""

import json
import os
import socket
import subprocess
import sys

import pytest

from tests.conftest import TINY
from tests.test_cli import refused
from tfresnet import config as configs
from tfresnet import run as runs
from tfresnet.train_run import train

SETTINGS = [*TINY, "train.ema_decay=0.9"]


def free_ports(count: int) -> list[int]:
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start_workers(directory, *more: str) -> list[subprocess.Popen]:
    workers = [f"127.0.0.1:{port}" for port in free_ports(2)]
    command = [sys.executable, "-c", "from tfresnet.cli.main import main; main()", "train"]
    command += ["quickstart", "--run-dir", str(directory), "--strategy", "multiworker", *more]
    command += [f"--set={setting}" for setting in SETTINGS]
    processes = []
    for index in range(2):
        task = {"cluster": {"worker": workers}, "task": {"type": "worker", "index": index}}
        environment = os.environ | {"TF_CONFIG": json.dumps(task)}
        processes.append(
            subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL,
                             stderr=subprocess.PIPE, text=True)
        )  # fmt: skip
    return processes


@pytest.mark.slow
def test_two_processes_equal_two_replicas_in_one(tmp_path):
    """The same batches, the same loss curve; a second start finds the run finished."""
    for more in ((), ("--resume",)):
        for process in start_workers(tmp_path / "run", *more):
            _, errors = process.communicate(timeout=240)
            assert process.returncode == 0, errors
    one = configs.load("quickstart", [*SETTINGS, "train.strategy=mirrored", "train.devices=2"])
    expected = train(one, tmp_path / "one").records()
    for directory in (tmp_path / "run", tmp_path / "run" / "worker1"):
        found = runs.open_run(directory).records()
        for key in ("loss", "accuracy", "held_out_loss"):
            # 44 steps; the sum over replicas comes in another order
            assert [r[key] for r in found] == pytest.approx([r[key] for r in expected], abs=1e-4)


def test_a_fresh_process_splits_its_cpu_into_devices(tmp_path):
    """Before TensorFlow starts; in this process it has long been split."""
    command = [sys.executable, "-c", "from tfresnet.cli.main import main; main()", "train"]
    command += ["--strategy", "mirrored", "--devices", "2", "--run-dir", str(tmp_path / "run")]
    command += [f"--set={setting}" for setting in [*TINY, "train.epochs=1", "data.image_size=8"]]
    done = subprocess.run([*command, "--set=data.crop_padding=1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_a_dry_run_of_several_is_refused():
    message = refused("train", "--strategy", "multiworker", "--dry-run")
    assert "--dry-run: expected one process, got train.strategy=multiworker" in message


@pytest.mark.parametrize("text", ["", "{}", '{"cluster": {"worker": []}}'])
def test_a_cluster_that_is_not_named_is_asked_for(tmp_path, monkeypatch, text):
    monkeypatch.setenv("TF_CONFIG", text)
    message = refused("train", "--strategy", "multiworker", "--run-dir", tmp_path / "run")
    assert "expected TF_CONFIG to hold" in message
    assert not (tmp_path / "run").exists()
