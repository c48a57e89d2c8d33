"""20,000 and more damaged files: each is read, or refused in one line, in a second and 1 GB.

``pytest -m fuzz -n 0`` runs them, in child processes; ``python -m tests.fuzzing KIND START COUNT``
some of one kind.
"""

import sys
from pathlib import Path

import pytest

from tests import fuzzing
from tests.test_cli import refused
from tfresnet.runtime import probe
from tfresnet.runtime.errors import InputError

CASES = 2000
BARE = 400  # of interpreters by themselves
TOGETHER = [kind for kind in fuzzing.KINDS if not kind.startswith("bare")]


def test_there_are_at_least_20_000_cases():
    assert CASES * len(TOGETHER) >= 20_000


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("kind", TOGETHER)
def test_damaged_files_are_read_or_refused(kind):
    found = list(fuzzing.run(kind, 0, CASES))
    bad = [case for case in found if case.outcome not in (fuzzing.READ, fuzzing.REFUSED)]
    assert not bad, f"{len(bad)}, the first: {bad[0]}"
    assert len(found) == CASES
    assert max(case.seconds for case in found) < 1
    assert max(case.bytes for case in found) < 2**30
    assert {case.outcome for case in found} == {fuzzing.READ, fuzzing.REFUSED}


@pytest.mark.fuzz
@pytest.mark.skipif(sys.platform == "win32", reason="needs fork")
@pytest.mark.parametrize("kind", ["bare-tflite", "bare-onnx"])
def test_interpreters_may_crash_but_raise_nothing_unknown(kind):
    """Behind the checksum; where there is none, a child process tries the file first."""
    found = list(fuzzing.run(kind, 0, BARE))
    assert len(found) == BARE
    assert not [case for case in found if case.outcome == fuzzing.ESCAPED]


def test_a_model_that_crashes_its_interpreter_gets_one_line(tmp_path, monkeypatch):
    """Such files depend on the interpreter's version: here the child crashes by itself."""
    golden = fuzzing.GOLDEN / "files" / "model_int8.tflite"
    foreign = tmp_path / "foreign.tflite"
    foreign.write_bytes(fuzzing._without_checksum({"": golden.read_bytes()})[""])
    assert probe.open_unknown(foreign).input_shape[1:3] == (16, 16)
    monkeypatch.setattr(probe, "COMMAND", ("-c", "import os; os.abort()"))
    with pytest.raises(InputError, match=r"crashes its interpreter \(SIGABRT\)"):
        probe.open_unknown(foreign)
    assert "crashes its interpreter" in refused("inspect", foreign)
    assert "crashes its interpreter" in refused("benchmark", foreign)
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
