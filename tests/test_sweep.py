"""Sweeps: what a file stands for, and that nothing is trained twice or lost."""

import json
import signal
import subprocess
import sys
import time

import filelock
import pytest

from tests.conftest import TINY
from tests.test_cli import json_of, refused, tfresnet
from tfresnet.runs.result import RunResult
from tfresnet.sweep import plan, runner, table
from tfresnet.sweep.plan import Trial

QUICK = {key: json.loads(value) for key, value in (s.split("=") for s in TINY)}


@pytest.fixture
def write(tmp_path):
    def sweep_file(**content):
        path = tmp_path / "small.yaml"
        path.write_text(json.dumps(content))  # JSON is YAML
        return path

    return sweep_file


def trials_of(file, directory):
    return plan.trials(plan.read(file), file, directory)


def names(trials: list[Trial]) -> list[str]:
    return [trial.name for trial in trials]


def test_variants_are_the_named_ones_times_the_grid_times_the_seeds(write, tmp_path):
    file = write(
        seeds=[0, 3],
        set={"train.epochs": 2, "train.lr": 0.3},
        runs={"plain": {}, "+ smoothing": {"train.label_smoothing": 0.1}},
        grid={"train.lr": [0.1, 0.2], "train.teacher": [None], "data.progressive": [{0.5: 16}]},
    )
    trials = trials_of(file, tmp_path)
    assert len(trials) == 2 * 2 * 2
    assert names(trials)[0] == "plain-lr=0.1-teacher=None-progressive=-0.5-16-seed0"
    last = trials[-1]
    assert last.variant == "+ smoothing, lr=0.2, teacher=None, progressive={'0.5': 16}"
    assert (last.config.train.lr, last.config.train.label_smoothing) == (0.2, 0.1)
    assert last.config.train.teacher is None
    assert (last.config.train.seed, last.config.data.progressive) == (3, {0.5: 16})
    assert "--set train.lr=0.2" in " ".join(last.arguments())


def test_without_runs_and_grid_a_sweep_is_its_base_with_several_seeds(write, tmp_path):
    trials = trials_of(write(base="cifar10-resnet20", seeds=[1, 2]), tmp_path)
    assert names(trials) == ["cifar10-resnet20-seed1", "cifar10-resnet20-seed2"]


def test_a_variant_without_settings_needs_no_braces_and_none_is_there_twice(tmp_path):
    file = tmp_path / "small.yaml"
    file.write_text("runs:\n  baseline:\n  faster: {train.lr: 0.2}\n")
    assert names(trials_of(file, tmp_path)) == ["baseline-seed0", "faster-seed0"]
    file.write_text("runs:\n  faster: {train.lr: 0.2}\n  faster: {train.lr: 0.4}\n")
    message = refused("sweep", file, "--run-dir", tmp_path / "runs")
    assert "small.yaml: expected YAML, got something else: the key faster twice" in message
    assert "line 3" in message


def test_a_base_may_be_a_file_beside_the_sweep(write, tmp_path):
    (tmp_path / "mine.yaml").write_text("train: {epochs: 7}")
    trials = trials_of(write(base="mine.yaml"), tmp_path)
    assert trials[0].config.train.epochs == 7
    assert trials[0].base == str(tmp_path / "mine.yaml")


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ({"seed": [1]}, "did you mean 'seeds'"),
        ({"base": "quikstart"}, "did you mean 'quickstart'"),
        ({"runs": {"a": {"train.epoch": 1}}}, "a: unknown key 'train.epoch'"),
        ({"grid": {"train.lr": [0.1, "fast"]}}, "train.lr: expected a valid number, got 'fast'"),
        ({"runs": {"a b": {}, "a-b": {}}}, "two runs would be a-b-seed0"),
        ({"runs": {"///": {}}}, "expected a name for a run, got '///'"),
        ({"seeds": []}, "seeds: expected"),
        ({"grid": {"train.lr": 0.1}}, "grid.train.lr: expected a valid list, got 0.1"),
        ({"grid": {"train.lr": []}}, "grid.train.lr: "),
        ({"grid": {"train.seed": [0, 1]}}, "expected seeds: [...], got train.seed"),
        ({"grid": {"train.lr": [1]}, "runs": {"a": {"train.lr": 2}}}, "in the grid or in 'a'"),
        ({"runs": {"EMA": {}, "ema": {}}}, "two runs would be ema-seed0"),
        ({"set": {"train": {"lr": 1}}}, "expected section.key: value (train.lr: 0.1), got 'train'"),
    ],
)
def test_a_mistake_in_a_sweep_is_found_before_anything_runs(write, tmp_path, content, expected):
    assert expected in refused("sweep", write(**content), "--run-dir", tmp_path / "runs")
    assert not (tmp_path / "runs").exists()


def test_a_sweep_goes_on_past_a_failure_and_keeps_what_is_done(write, tmp_path):
    file = write(
        seeds=[0],
        set=QUICK,
        runs={"plain": {}, "too large": {"train.batch_size": 5000}},
    )
    folder = tmp_path / "runs"
    trial = trials_of(file, folder)[1]
    result = tfresnet("sweep", file, "--run-dir", folder, "--jobs", "2")
    assert result.exit_code == 1
    assert "too-large-seed0: train.batch_size: expected at most 1437" in result.stderr
    whole = json.loads((folder / "sweep.json").read_text())
    plain, large = whole["rows"]
    first_run = whole["runs"][0]
    assert first_run["base"] == "quickstart" and 0 < first_run["train_accuracy"] < 1
    assert set(first_run["test"]["per_class"]) == set("0123456789")
    assert (plain["seeds"], plain["failed"], large["seeds"], large["failed"]) == (1, 0, 0, 1)
    measured = json.loads((folder / "plain-seed0" / "result.json").read_text())
    assert plain["top1"] == [measured["test_top1"]]
    assert measured["command"].startswith("tfresnet train quickstart --set ")
    assert "| too large | 0 (1 failed)" in (folder / "sweep.md").read_text()
    assert (folder / "sweep.png").read_bytes()[:4] == b"\x89PNG"
    assert (folder / "sweep.csv").read_text().count("\n") == 3

    before = (folder / "plain-seed0" / "result.json").stat().st_mtime_ns
    again = json_of("sweep", write(seeds=[0], set=QUICK, runs={"plain": {}}), "--run-dir", folder)
    assert again["rows"][0]["top1"] == plain["top1"]
    assert (folder / "plain-seed0" / "result.json").stat().st_mtime_ns == before

    log = folder / "too-large-seed0.log"
    log.write_bytes(b"\xff nothing that says Error")
    assert f"ended with status 3; see {log}" in runner._outcome(trial, 3).error
    assert f"killed by signal 9; see {log}" in runner._outcome(trial, -9).error

    changed = write(seeds=[0], set=QUICK | {"train.lr": 0.05}, runs={"plain": {}})
    result = tfresnet("sweep", changed, "--run-dir", folder)
    assert result.exit_code == 1
    assert "holds a run with train.lr=" in result.stderr


@pytest.mark.slow
def test_a_sweep_that_is_stopped_saves_and_goes_on(write, tmp_path):
    """SIGTERM in the middle of a run: it has saved, and the same command ends the sweep."""
    file = write(seeds=[0], set=QUICK | {"train.epochs": 30}, runs={"plain": {}})
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "tfresnet.cli", "sweep", str(file), "--run-dir", str(folder)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    metrics = folder / "plain-seed0" / "metrics.jsonl"
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline and not (metrics.exists() and metrics.read_text()):
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 128 + signal.SIGTERM
    assert f"To go on: tfresnet sweep {file} --run-dir {folder}" in said
    assert not (folder / "plain-seed0" / "result.json").exists()

    (trial,) = trials_of(file, folder)
    (outcome,) = runner.run_all([trial], 1, lambda outcome, number: None)
    assert outcome.result.epochs == 30


@pytest.mark.parametrize(("jobs", "threads"), [(1, "all"), (2, "4"), (3, "2"), (16, "1")])
def test_jobs_share_the_cores(write, tmp_path, monkeypatch, jobs, threads):
    script = tmp_path / "python"
    script.write_text("#!/bin/sh\necho Error: ${TF_NUM_INTRAOP_THREADS:-all} threads\nexit 1\n")
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    trials = trials_of(write(runs={"a": {}}, seeds=list(range(jobs))), tmp_path / "runs")
    for outcome in runner.run_all(trials, jobs, lambda outcome, number: None):
        assert outcome.error == f"{threads} threads"
    (last,) = runner.run_all(trials[:1], jobs, lambda outcome, number: None)
    assert last.error == "all threads"  # nothing else is left to run


def test_a_run_that_starts_from_another_is_recognised_when_done(write, tiny_run, tmp_path):
    """What it adopts from that run is in its own configuration, but not in the sweep's."""
    start = {"train.init_from": str(tiny_run.directory), "train.epochs": 1}
    file = write(base="quickstart", set=QUICK | start, runs={"tuned": {}})
    for _ in range(2):
        out = json_of("sweep", file, "--run-dir", tmp_path / "runs")
        assert out["rows"][0]["seeds"] == 1


def test_a_folder_of_something_else_is_left_alone(write, tmp_path):
    file = write(runs={"a": {}})
    (tmp_path / "runs" / "a-seed0").mkdir(parents=True)
    result = tfresnet("sweep", file, "--run-dir", tmp_path / "runs")
    assert result.exit_code == 1
    assert "was not made by this sweep" in result.stderr


def test_two_sweeps_in_one_folder_and_a_sweep_in_a_run_are_refused(write, tiny_run, tmp_path):
    with filelock.FileLock(tmp_path / ".lock"):
        assert "another is at work in it" in refused("sweep", write(), "--run-dir", tmp_path)
    assert "expected a folder for runs" in refused(
        "sweep", write(), "--run-dir", tiny_run.directory
    )


def test_a_damaged_result_is_named(write, tmp_path):
    (trial,) = trials_of(write(runs={"a": {}}), tmp_path)
    trial.directory.mkdir()
    (tmp_path / "a-seed0.yaml").write_text(trial.config.to_yaml())
    (trial.directory / "result.json").write_text("{}")
    (outcome,) = runner.run_all([trial], 1, lambda outcome, number: None)
    assert "result.json: expected the result of a run, got none of" in outcome.error


def test_the_table_of_one_seed_has_no_deviation():
    trial = Trial("a", 0, "quickstart", (), None, None)
    result = RunResult(
        preset="a", arch="resnet8", seed=0, parameters=1234, macs=1, epochs=1, test_top1=0.9,
        test={"top1": 0.9, "n": 10}, wall_seconds=90.0, images_per_second=10.0, commit=None,
    )  # fmt: skip
    rows = table.rows([runner.Outcome(trial, result)])
    assert rows[0].value_std is None
    assert "|       90.00 | 59.58 to 98.21 |" in table.to_markdown(rows)  # Wilson, 9 of 10
    assert "|        1,234 |" in table.to_markdown(rows)


def test_the_table_of_another_task_has_its_number(tmp_path):
    """Two seeds of one variant, and one that failed."""

    def finished(seed: int, miou: float) -> runner.Outcome:
        result = RunResult(
            preset="a", arch="resnet8", seed=seed, parameters=9, macs=1, epochs=1, test_top1=None,
            test={"miou": miou, "n": 10, "miou_interval": [0.1, 0.9]}, wall_seconds=60.0,
            images_per_second=10.0, commit=None, test_miou=miou,
        )  # fmt: skip
        return runner.Outcome(Trial("a", seed, "scenes", (), None, tmp_path), result)

    (tmp_path / "metrics.jsonl").write_text('{"pixel_accuracy": 0.75}\n')
    failed = runner.Outcome(Trial("b", 0, "scenes", (), None, tmp_path / "b"), None, "no")
    outcomes = [finished(0, 0.5), finished(1, 0.6), failed]
    whole = table.write("s", "", outcomes, tmp_path)
    first, second = whole["rows"]
    assert (first["miou"], first["miou_mean"]) == ([0.5, 0.6], pytest.approx(0.55))
    assert second["miou_mean"] is None and "top1" not in second
    assert whole["runs"][0]["test_miou"] == 0.5
    assert whole["runs"][0]["train_accuracy"] == 0.75
    assert " mIoU (%) |" in whole["markdown"] and "| 55.00 ± 7.07 |" in whole["markdown"]
    assert (tmp_path / "sweep.csv").read_text().startswith("variant,seeds,failed,miou,miou_mean,")
    assert [table.Row.from_json(row) for row in whole["rows"]] == table.rows(outcomes)
