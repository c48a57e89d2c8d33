"""The same run, versions and machine give the same files, but for the times that were measured."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import export
from tfresnet.config.export import ExportConfig
from tfresnet.deploy import measure
from tfresnet.runs import run_directory

# Files in which measured times are.
TIMED = ("report.json", "report.html", "MODEL_CARD.md")
MILLISECONDS = re.compile(r'^ *"(latency_ms|speedup)": .*\n', re.MULTILINE)


def contents(folder: Path) -> dict[str, bytes]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


def differing(one: dict[str, bytes], other: dict[str, bytes]) -> list[str]:
    assert set(one) == set(other)
    return [name for name in one if one[name] != other[name]]


def test_an_export_is_repeated_to_the_bit(run_copy, monkeypatch):
    """With equal times, and in one process.

    There a SavedModel is another one each time, since TensorFlow counts its functions; and see
    below.
    """
    monkeypatch.setattr(measure, "latency_ms", lambda model: 0.5)
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "1700000000")
    config = ExportConfig(
        formats=("tflite",), quantizations=("int8",), verify_images=40, calibration_images=40,
        calibration_method="min-max", max_drop=100,
    )  # fmt: skip
    found = []
    for _ in range(2):
        export(run_directory.open_run(run_copy), config)
        found.append(contents(run_copy / "export"))
    assert {"model_int8.tflite", "report.html", "provenance.json"} <= set(found[0])
    assert differing(*found) == []
    assert b"2023-11-14" in found[0]["report.html"]


@pytest.mark.slow
def test_two_processes_export_the_same(tmp_path):
    found = []
    for seed in ("1", "2"):
        (tmp_path / seed).mkdir()
        subprocess.run(
            [sys.executable, "-m", "tfresnet.cli", "export", "digits", "--tflite", "--onnx",
             "--saved-model"],
            cwd=tmp_path / seed, check=True, capture_output=True,
            env=os.environ | {"PYTHONHASHSEED": seed, "SOURCE_DATE_EPOCH": "1700000000"},
        )  # fmt: skip
        found.append(contents(tmp_path / seed / "runs" / "digits" / "export"))
    assert set(differing(*found)) <= set(TIMED)
    reports = [MILLISECONDS.sub("", one["report.json"].decode()) for one in found]
    assert reports[0] == reports[1]
