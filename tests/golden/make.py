"""Make the golden files anew: ``python -m tests.golden.make``, after a change that is meant.

``runs/`` and ``files/`` are what earlier versions left behind: they are made only where missing.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import yaml
from click.testing import CliRunner

from tests.golden import measured
from tfresnet.cli.main import main as cli
from tfresnet.config import loading
from tfresnet.config.export import ExportConfig
from tfresnet.deploy import Classifier
from tfresnet.deploy.export import export
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train

TINY = ("data.image_size=16", "model.width=0.25", "train.epochs=3", "train.warmup_epochs=1")


def main() -> None:
    """Write all golden files."""
    _write_presets()
    _write_numbers()
    if not (measured.FOLDER / "runs").exists():
        _make_runs()
        _make_files()
    _write_commands()


def presets() -> dict[str, Any]:
    """Return the complete configuration of every preset."""
    return {name: loading.load(name).model_dump(mode="json") for name in loading.presets()}


def _write_presets() -> None:
    text = yaml.safe_dump(presets(), sort_keys=False)
    (measured.FOLDER / "presets.yaml").write_text(text, encoding="utf-8")


def _write_numbers() -> None:
    with tempfile.TemporaryDirectory() as folder:
        weights = {p: measured.weights_after(p, Path(folder, p)) for p in measured.TRAININGS}
    numbers = {
        "machine": measured.machine(),
        "weights": weights,
        "batches": {name: measured.batches_of(name) for name in measured.AUGMENTATIONS},
    }
    write_json("numbers.json", numbers)


def _make_runs() -> None:
    """Train a run to its end, and stop another in its second epoch."""
    finished, stopped = (measured.FOLDER / "runs" / name for name in ("finished", "stopped"))
    train(loading.load("quickstart", [*TINY, "train.ema_decay=0.9"]), finished)
    settings = [f"--set={setting}" for setting in (*TINY, "train.epochs=30")]
    program = [sys.executable, "-m", "tfresnet.cli", "train", "--run-dir", "stopped", *settings]
    with subprocess.Popen(
        program, cwd=stopped.parent, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stderr
        for line in process.stderr:
            if line.startswith("epoch 1/"):
                process.send_signal(signal.SIGTERM)
    for run in (finished, stopped):
        for name in ("curves.png", ".lock"):
            (run / name).unlink(missing_ok=True)
        shutil.rmtree(run / "tensorboard")


def _make_files() -> None:
    """Export the finished run, keep some files, and what they answer."""
    run = run_directory.open_run(measured.FOLDER / "runs" / "finished")
    os.chdir(run.directory.parent)  # no path of this machine in result.json
    export(
        run_directory.open_run(Path("finished")),
        ExportConfig(formats=("tflite", "onnx"), max_drop=100),
    )
    folder = measured.FOLDER / "files"
    folder.mkdir()
    for name in ("float32.tflite", "int8.tflite", "float32.onnx", "int8.onnx"):
        shutil.copy(run.directory / "export" / f"model_{name}", folder)
    shutil.rmtree(run.directory / "export")
    samples = sorted((run.directory / "samples").glob("*.png"))
    answers = {
        path.name: {s.name: dict(Classifier(path).classify(s, 10)) for s in samples}
        for path in sorted(folder.glob("model_*"))
    }
    write_json("answers.json", answers)


def _write_commands() -> None:
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        old_runs = Path(folder, "runs")
        shutil.copytree(measured.FOLDER / "runs", old_runs)
        for line in measured.COMMANDS:
            words = [*measured.words(line, old_runs), "--json"]
            result = CliRunner().invoke(cli, words, catch_exceptions=False)
            assert result.exit_code == 0, f"{line}: {result.stderr}"
            found[line] = measured.kinds(json.loads(result.stdout))
    write_json("commands.json", found)


def write_json(name: str, value: Any) -> None:
    """Write a golden file, readable in a diff."""
    path = measured.FOLDER / name
    path.write_text(json.dumps(value, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
