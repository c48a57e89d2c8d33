"""The page of recorded results: right, and up to date in this repository."""

import json
from pathlib import Path

import pytest

from tests.test_cli import json_of, refused, tfresnet
from tfresnet import records
from tfresnet.sweep import plan

ROOT = Path(__file__).parent.parent


def test_the_page_in_the_repository_says_what_the_records_say():
    readme = ("--into", ROOT / "README.md")
    assert tfresnet("results", ROOT / "results", *readme, "--check").exit_code == 0


def test_the_table_is_put_between_two_marks_of_another_file(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path, "--name", "mine")
    assert (tmp_path / "mine.json").exists()
    page = tmp_path / "page.md"
    page.write_text(f"before\n{records.BEGIN}\nold\n{records.END}\nafter\n")
    assert tfresnet("results", tmp_path, "--into", page, "--check").exit_code == 1
    assert "old" in page.read_text()
    assert tfresnet("results", tmp_path, "--into", page).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and records.summary(tmp_path) in text
    assert tfresnet("results", tmp_path, "--into", page, "--check").exit_code == 0
    page.write_text(records.BEGIN)
    assert "expected a line" in refused("results", tmp_path, "--into", page)
    assert "none.md" in refused("results", tmp_path, "--into", tmp_path / "none.md")


def test_a_run_with_a_teacher_is_another_row(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    record = json.loads((tmp_path / "quickstart-seed0.json").read_text())
    for number, teacher in enumerate(("runs/a", "runs/b"), start=1):
        record["config"]["train"] |= {"teacher": teacher, "seed": number}
        (tmp_path / f"quickstart-seed{number}.json").write_text(json.dumps(record))
    rows = [line for line in records.summary(tmp_path).splitlines() if "`quickstart`" in line]
    assert ["±" in row for row in rows] == [False, True]


def test_several_seeds_are_one_row_with_a_deviation(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    record = json.loads((tmp_path / "quickstart-seed0.json").read_text())
    record["test"]["top1"] += 0.02
    (tmp_path / "quickstart-seed1.json").write_text(json.dumps(record))
    assert tfresnet("results", tmp_path).exit_code == 0
    text = (tmp_path / "RESULTS.md").read_text()
    mean = 100 * (tiny_run.result["test"]["top1"] + 0.01)
    assert f"{mean:.2f} ± {2 / 2**0.5:.2f}" in text  # of a sample of two
    assert text.count("\n| `quickstart`") == 1
    assert "[`quickstart-seed1.json`](quickstart-seed1.json)" in text


def test_a_page_that_is_out_of_date_fails_the_check(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    result = tfresnet("results", tmp_path, "--check")
    assert result.exit_code == 1
    assert f"run tfresnet results {tmp_path}" in result.stderr
    assert not (tmp_path / "RESULTS.md").exists()
    assert "found none" in refused("results", tmp_path / "none")
    assert json_of("results", tmp_path)["current"]


def test_other_settings_are_another_row(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    record = json.loads((tmp_path / "quickstart-seed0.json").read_text())
    record["config"]["train"] |= {"lr": 0.5, "seed": 1, "keep": "best"}
    (tmp_path / "quickstart-seed1.json").write_text(json.dumps(record))
    text = records.page(tmp_path)
    assert text.count("\n| `quickstart`") == 2
    assert "| `quickstart`, epoch chosen on these images" in text


@pytest.mark.parametrize("content", ["{}", "[1]", "{", '{"arch": "resnet8"}'])
def test_what_is_no_record_gets_one_line(tmp_path, content):
    (tmp_path / "a.json").write_text(content)
    assert "a.json: expected" in refused("results", tmp_path)
    (tmp_path / "a.json").rename(tmp_path / "sweep.json")
    assert "sweep.json: expected" in refused("record", tmp_path, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_sweep_is_recorded_and_shown(tmp_path):
    folder = tmp_path / "small"
    folder.mkdir()
    sweep = {"sweep": "s", "description": "Of nothing.", "markdown": "| variant |", "runs": []}
    (folder / "sweep.json").write_text(json.dumps(sweep))
    path = tmp_path / "results" / "sweeps" / "small.json"
    assert json_of("record", folder, "--out", tmp_path / "results") == {"record": str(path)}
    (folder / "sweep.json").write_text(json.dumps(sweep | {"runs": [{"settings": ["a=1"]}]}))
    assert "the record of another sweep" in refused("record", folder, "--out", tmp_path / "results")
    assert "## s\n\nOf nothing.\n\n| variant |" in records.page(tmp_path / "results")


@pytest.mark.parametrize("file", sorted((ROOT / "results").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_sweeps_in_the_repository_can_run(file, tmp_path):
    sweep = plan.read(file)
    assert len(plan.trials(sweep, file, tmp_path)) == len(sweep.runs) * len(sweep.seeds)
