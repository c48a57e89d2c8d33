"""The records of a run: files of every version open, and say what they said when written again."""

import json
import math
from pathlib import Path

import pytest
from pydantic import ValidationError

from tests.golden import measured
from tfresnet.runs import run_directory
from tfresnet.runs.result import ArtifactRecord, RunResult
from tfresnet.runtime.errors import InputError

ROOT = Path(__file__).parent.parent
FILES = [
    measured.FOLDER / "runs" / "finished" / "result.json",
    *sorted((ROOT / "results").glob("*.json")),
]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_what_was_recorded_is_written_again_as_it_was(file):
    values = json.loads(file.read_text())
    assert RunResult.model_validate(values).to_dict() == values


def test_keys_of_another_version_are_kept_and_missing_ones_have_defaults():
    old = {"path": "export/model_int8.tflite", "top1": 0.5, "colour": "blue"}
    record = ArtifactRecord(**old)
    assert (record.metric, record.value, record.colour) == ("top1", 0.5, "blue")
    assert record.delegates is None and record.failures == []
    assert math.isnan(record.drop) and math.isnan(ArtifactRecord(path="model").value)
    assert record.to_dict() == old


def test_scores_of_other_tasks_are_there_by_their_keys(tiny_run):
    values = tiny_run.result.to_dict() | {"test_top1": None, "test_map": 0.25}
    assert RunResult(**values).test_map == 0.25


def test_a_record_does_not_change():
    record = ArtifactRecord(path="model")
    with pytest.raises(ValidationError):
        record.bytes = 3


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"parameters": "many"}, "parameters: expected a valid integer"),
        ({"artifacts": [{"bytes": 1}]}, "artifacts.0.path"),
        ({"test": []}, "test: expected a valid dictionary"),
    ],
)
def test_a_damaged_result_is_explained(run_copy, change, expected):
    path = run_copy / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=r"result\.json") as error:
        _ = run_directory.open_run(run_copy).result
    assert expected in str(error.value)


def test_a_run_that_is_not_done_has_no_result(run_copy):
    (run_copy / "result.json").unlink()
    run = run_directory.open_run(run_copy)
    assert run.result is None
    with pytest.raises(InputError, match="not trained to its end"):
        run.finished_result()
