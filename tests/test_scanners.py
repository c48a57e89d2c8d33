"""A scanner for code in model files finds none in what is written here."""

import shutil
import subprocess

import pytest

SCANNER = shutil.which("modelscan")


@pytest.mark.skipif(not SCANNER, reason="needs pip install modelscan, with h5py and TensorFlow")
def test_modelscan_finds_nothing(exported, tiny_run):
    done = subprocess.run(
        [SCANNER, "-p", tiny_run.directory], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0 and "No issues found" in done.stdout, done.stdout
