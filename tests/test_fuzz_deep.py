"""20,000 and more damaged files: each is read, or refused in one line, in a second and 1 GB.

``pytest -m fuzz`` runs them, in child processes; ``python -m tests.fuzzing KIND START COUNT``
some of one kind.
"""

import contextlib
import random
import sys
from pathlib import Path

import pytest

from tests import fuzzing
from tests.fuzzed_files import GOLDEN, KINDS, without_checksum
from tests.test_cli import refused
from tfresnet.runtime import probe
from tfresnet.runtime.errors import InputError

CASES = 2000
BARE = 400  # of interpreters by themselves
TOGETHER = [kind for kind in KINDS if not kind.startswith("bare") and kind != "h5"]
# The files whose readers in C crash: by themselves, and behind a child that tries them first.
ALONE = ("bare-tflite", "bare-onnx", "bare-h5")


def test_there_are_at_least_20_000_cases():
    assert CASES * len(TOGETHER) >= 20_000


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("kind", TOGETHER)
def test_damaged_files_are_read_or_refused(kind):
    found = fuzzing.run_elsewhere(kind, 0, CASES)
    bad = [case for case in found if case.outcome not in (fuzzing.READ, fuzzing.REFUSED)]
    assert not bad, f"{len(bad)}, the first: {bad[0]}"
    assert len(found) == CASES
    assert max(case.seconds for case in found) < 1
    assert max(case.bytes for case in found) < 2**30
    assert {case.outcome for case in found} == {fuzzing.READ, fuzzing.REFUSED}


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("kind", ALONE)
def test_readers_in_c_may_crash_but_raise_nothing_unknown(kind):
    """Behind the checksum; where there is none, a child process tries the file first."""
    found = fuzzing.run_elsewhere(kind, 0, BARE)
    assert len(found) == BARE
    assert not [case for case in found if case.outcome == fuzzing.ESCAPED]


@pytest.mark.parametrize("number", [7, 291])  # HDF5 1.14 crashes on the second
def test_hdf5_is_tried_in_a_child(number, tmp_path):
    kind = KINDS["h5"]
    (name, content), draw = next(iter(kind.files().items())), random.Random(f"h5 {number}")
    draw.choice([name])
    path = tmp_path / name
    path.write_bytes(fuzzing.damaged(content, draw, is_text=False))
    with contextlib.suppress(InputError):
        kind.read(path)


def test_a_model_that_crashes_its_interpreter_gets_one_line(tmp_path, monkeypatch):
    """Such files depend on the interpreter's version: here the child crashes by itself."""
    golden = GOLDEN / "files" / "model_int8.tflite"
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(without_checksum({"": golden.read_bytes()})[""])
    assert probe.open_unknown(foreign).input_shape[1:3] == (16, 16)
    monkeypatch.setattr(probe, "COMMAND", ("-c", "import os; os.abort()"))
    with pytest.raises(InputError, match=r"crashes its reader \(SIGABRT\)"):
        probe.open_unknown(foreign)
    assert "crashes its reader" in refused("benchmark", foreign)
    assert probe.open_unknown(golden)  # which has a checksum


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16"])
def test_voc_has_no_entities(tmp_path, encoding):
    from tfresnet.data import voc

    text = (
        '<?xml version="1.0"?><!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/hostname">]>'
        "<annotation><object><name>&e;</name></object></annotation>"
    )
    path = Path(tmp_path / "a.xml")
    path.write_bytes(text.encode(encoding))
    with pytest.raises(InputError, match="expected no document type"):
        voc.marked(path, path)
