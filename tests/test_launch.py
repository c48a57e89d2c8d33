"""Several processes as one training: stand-ins for workers end in all ways that there are."""

import os
import random
import signal
import sys
import threading
import time

import pytest

from benchmarks import lost_workers
from tests.test_cli import refused
from tfresnet.launch import gpus, launcher
from tfresnet.launch.launcher import Launcher, Outcome
from tfresnet.runtime.errors import InputError
from tfresnet.training import workers

# A worker knows its number and the try that it is part of, and may find the run of a try before.
BEGINNING = """
import json, os, signal, sys, time
from pathlib import Path
number = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
run = Path(sys.argv[1])
tries = run / f"tries{number}"
tried = len(tries.read_text()) if tries.exists() else 0
tries.write_text("x" * (tried + 1))
"""
BLAME = f"Error: another worker has stopped; look at its output, then {workers.START_ALL}"


@pytest.fixture
def launch(tmp_path, monkeypatch):
    """Launch stand-ins; returns the outcome and the lines that were told."""
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    monkeypatch.setattr(gpus.shutil, "which", lambda _: None)

    def run(script: str, restarts: int = 1, count: int = 3) -> tuple[Outcome, list[str]]:
        command = [sys.executable, "-c", BEGINNING + script, str(tmp_path)]
        told: list[str] = []
        outcome = Launcher(command, count, tmp_path, tmp_path, restarts, told.append).run()
        return outcome, told

    return run


def test_all_run_to_the_end_and_have_logs(launch, tmp_path, capfd):
    outcome, told = launch("print('out', number); print('error', number, file=sys.stderr)")
    assert (outcome.status, outcome.restarts, told) == (0, [], [])
    shown = capfd.readouterr()
    assert (shown.out, shown.err) == ("out 0\n", "error 0\n")
    assert (tmp_path / "worker0.log").read_text() == "error 0\n"
    assert sorted((tmp_path / "worker2.log").read_text().splitlines()) == ["error 2", "out 2"]


def test_what_goes_on_after_a_stop_is_the_launch(launch, tmp_path, capfd):
    """The workers print it; each alone would wait for the others."""
    launch("print(os.environ['TFRESNET_LAUNCHER'], file=sys.stderr)", count=2)
    assert capfd.readouterr().err == "tfresnet launch -n 2 --\n"


def test_a_killed_worker_is_started_again_with_all_others(launch, tmp_path):
    """With --resume, if there is a run by then; the others do not end by themselves."""
    (tmp_path / "run").mkdir()
    outcome, told = launch("""
if tried:
    sys.exit("--resume" not in sys.argv)
if number == 1:
    (run / "config.yaml").touch()
    os.kill(os.getpid(), signal.SIGKILL)
time.sleep(60)
""")
    assert (outcome.status, outcome.failure) == (0, None)
    assert [(r.worker, r.reason) for r in outcome.restarts] == [(1, "was killed by SIGKILL")]
    (line,) = told
    assert line == (
        "Worker 1 was killed by SIGKILL; all start again from the newest step that all have saved "
        "(restart 1 of 1)"
    )


def test_tries_are_bounded_and_the_last_lines_are_kept(launch):
    outcome, told = launch("""
if number == 2:
    print("\\x1b[1mno memory\\x1b[0m", file=sys.stderr)
    sys.exit(1)
time.sleep(60)
""")
    assert outcome.failure
    assert (outcome.status, outcome.failure.worker, len(told)) == (1, 2, 1)
    assert outcome.failure.reason == "ended with exit status 1"
    assert outcome.failure.lines == ["no memory", "no memory"]  # of both tries


def test_bad_input_is_not_tried_again(launch):
    outcome, told = launch("""
if number == 1:
    print("Error: expected room on the disk")
    sys.exit(2)
time.sleep(60)
""")
    assert outcome.failure
    assert (outcome.status, outcome.failure.final, told) == (2, True, [])
    assert outcome.failure.lines == ["Error: expected room on the disk"]


def test_a_worker_that_hangs_is_the_one_that_does_not_end(launch, monkeypatch):
    monkeypatch.setattr(launcher, "GRACE", 2.0)
    outcome, told = launch(f"""
if tried:
    sys.exit(0)
if number == 2:
    os.kill(os.getpid(), signal.SIGSTOP)
print({BLAME!r}, file=sys.stderr)
sys.exit(2)
""")
    assert outcome.status == 0
    (failure,) = outcome.restarts
    assert (failure.worker, failure.reason) == (2, "does not answer and was ended")
    assert "Worker 2 does not answer" in told[0]


def test_the_cause_of_a_failure_is_not_the_one_that_is_seen_first(launch):
    """Worker 0 ends because worker 1 is lost, which takes longer to end."""
    outcome, _ = launch(
        f"""
if number == 1:
    time.sleep(1)
    sys.exit(3)
print({BLAME!r}, file=sys.stderr)
sys.exit(2)
""",
        restarts=0,
    )
    assert outcome.failure
    assert (outcome.failure.worker, outcome.status) == (1, 3)


@pytest.mark.parametrize("to_one", [False, True])
def test_a_signal_stops_all(launch, tmp_path, to_one):
    """Passed on to all; or sent by somebody to one, which stops the others by itself."""
    script = """
def stop(*_):
    (run / "stop").touch()
signal.signal(signal.SIGUSR1, stop)
new = run / f"new{number}"
new.write_text(str(os.getpid()))
new.rename(run / f"pid{number}")
while not (run / "stop").exists():
    time.sleep(0.02)
sys.exit(128 + signal.SIGUSR1)
"""

    def send() -> None:
        while not all((tmp_path / f"pid{n}").exists() for n in range(3)):
            time.sleep(0.05)
        whom = int((tmp_path / "pid1").read_text()) if to_one else os.getpid()
        os.kill(whom, signal.SIGUSR1)

    threading.Thread(target=send).start()
    outcome, told = launch(script)
    assert (outcome.status, outcome.failure, told) == (138, None, [])


def test_gpus_are_divided(monkeypatch):
    monkeypatch.setenv(gpus.VISIBLE, "4,5,6,7")
    assert gpus.shares(2) == [{gpus.VISIBLE: "4,5"}, {gpus.VISIBLE: "6,7"}]
    with pytest.raises(InputError, match="-n: expected a divisor of the 4 GPUs, got 3"):
        gpus.shares(3)
    monkeypatch.setenv(gpus.VISIBLE, "")
    assert gpus.shares(3) == [{}, {}, {}]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("-n 2 -- export", "expected -- train and its options, got export"),
        ("-n 2 -- train --dry-run", "expected a training, got --dry-run"),
        ("-n 2 -- train --strategy one", "expected --strategy multiworker, got one"),
        ("-n 2 -- train --arch resnet19", "resnet19"),
        ("-n 2 -- train --epochs none", "none"),
        ("-n 0 -- train", "0 is not in the range"),
        ("-- train", "Missing option"),
    ],
)
def test_what_can_not_be_launched_is_refused_once(words, said, tmp_path):
    assert said in refused("launch", *words.split(), "--run-dir", tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_launches_in_one_folder(tmp_path):
    from tfresnet.system.files import lock

    with lock(tmp_path / "run" / "logs", ""):
        message = refused("launch", "-n", 2, "--", "train", "--run-dir", tmp_path / "run")
    assert "for one process, another is at work in it" in message


@pytest.mark.slow
def test_a_killed_worker_changes_no_weight(tmp_path):
    """A small version of the benchmark: kill -9 at a random moment, then the same weights."""
    trials = lost_workers.Trials(tmp_path, workers=2, chance=random.Random(0), epochs=2)
    lost_workers.undisturbed(trials)
    lost_workers.killed(trials, kills=1)
    assert trials.lost == []
