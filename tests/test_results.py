"""Records of results and their page: right, and up to date in this repository."""

import json
from functools import partial
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from tests import test_cli
from tests.test_imports import HEAVY, loaded_by
from tfresnet.runs import portable, run_directory
from tfresnet.runs.result import RunResult
from tfresnet.sweep import markdown, plan
from tfresnet.system import environment
from tools import record, records, results, results_page, ship

ROOT = Path(__file__).parent.parent
TOOLS = {"record": record.command, "results": results.command, "ship": ship.command}


def tool(name: str, *arguments: object) -> Result:
    return CliRunner().invoke(TOOLS[name], [str(a) for a in arguments])


json_of, refused = partial(test_cli.json_of, run=tool), partial(test_cli.refused, run=tool)


@pytest.mark.parametrize("name", TOOLS)
def test_every_tool_has_help_with_an_example(name):
    assert f"python -m tools.{name}" in tool(name, "--help").stdout.split("Example")[1]


def test_tools_need_no_tensorflow(tiny_run, tmp_path):
    words = [str(tiny_run.directory), "--out", str(tmp_path)]
    code = (
        "from click.testing import CliRunner\nfrom tools import record, results\n"
        f"assert CliRunner().invoke(record.command, {words}).exit_code == 0\n"
        f"assert CliRunner().invoke(results.command, [{str(tmp_path)!r}]).exit_code == 0"
    )
    assert not loaded_by(code) & HEAVY
    assert (tmp_path / "RESULTS.md").exists()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("result.json", b"{"),
        ("result.json", b"[]"),
        ("result.json", b'{"arch": "x"}'),
        ("metrics.jsonl", b"nonsense\n{}\n"),
    ],
)
def test_a_damaged_run_is_explained(run_copy, tmp_path, name, content):
    (run_copy / name).write_bytes(content)
    assert name in refused("record", run_copy, "--out", tmp_path / "records")


def test_the_page_in_the_repository_says_what_the_records_say():
    readme = ("--into", ROOT / "README.md")
    assert tool("results", ROOT / "results", *readme, "--check").exit_code == 0


def test_the_table_is_put_between_two_marks_of_another_file(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path, "--name", "mine")
    assert (tmp_path / "mine.json").exists()
    page = tmp_path / "page.md"
    page.write_text(f"before\n{results_page.BEGIN}\nold\n{results_page.END}\nafter\n")
    assert tool("results", tmp_path, "--into", page, "--check").exit_code == 1
    assert "old" in page.read_text()
    assert tool("results", tmp_path, "--into", page).exit_code == 0
    text = page.read_text()
    assert text.startswith("before\n") and text.endswith("\nafter\n")
    assert "old" not in text and results_page.summary(tmp_path) in text
    assert tool("results", tmp_path, "--into", page, "--check").exit_code == 0
    page.write_text(results_page.BEGIN)
    assert "expected a line" in refused("results", tmp_path, "--into", page)
    assert "none.md" in refused("results", tmp_path, "--into", tmp_path / "none.md")


def test_record_writes_the_result_with_its_curve(tiny_run, tmp_path):
    path = tmp_path / "quickstart-seed0.json"
    assert json_of("record", tiny_run.directory, "--out", tmp_path) == {"record": str(path)}
    found = json.loads(path.read_text())
    assert {
        "preset", "arch", "seed", "parameters", "epochs", "test_top1", "ema_top1",
        "wall_seconds", "images_per_second", "command", "commit", "artifacts", "curve",
    } <= set(found)  # fmt: skip
    assert [point["epoch"] for point in found["curve"]] == [1, 2]


def test_a_run_with_a_teacher_is_another_row(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    record = json.loads((tmp_path / "quickstart-seed0.json").read_text())
    for number, teacher in enumerate(("runs/a", "runs/b"), start=1):
        record["config"]["train"] |= {"teacher": teacher, "seed": number}
        (tmp_path / f"quickstart-seed{number}.json").write_text(json.dumps(record))
    rows = [line for line in results_page.summary(tmp_path).splitlines() if "`quickstart`" in line]
    assert ["±" in row for row in rows] == [False, True]


def test_several_seeds_are_one_row_with_a_deviation(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    file = tmp_path / "quickstart-seed0.json"
    record = json.loads(file.read_text()) | {"flip_top1": 0.5}
    file.write_text(json.dumps(record))
    record["test"]["top1"] += 0.02
    (tmp_path / "quickstart-seed1.json").write_text(json.dumps(record))
    assert "are of the same run" in refused("results", tmp_path)
    record["seed"] = record["config"]["train"]["seed"] = 1
    # What changes no weight, and what is younger than a record, makes no other experiment.
    record["config"]["train"]["eval_every"] = 7
    del record["config"]["data"]["erasing"], record["flip_top1"]
    (tmp_path / "quickstart-seed1.json").write_text(json.dumps(record))
    assert tool("results", tmp_path).exit_code == 0
    text = (tmp_path / "RESULTS.md").read_text()
    mean = 100 * (tiny_run.result.test["top1"] + 0.01)
    assert f"{mean:.2f} ± {2 / 2**0.5:.2f}" in text  # of a sample of two
    assert text.count("\n| `quickstart`") == 1
    assert text.count("(1 of 2)") == 1  # mirrored
    assert "[`quickstart-seed1.json`](quickstart-seed1.json)" in text


def test_a_record_is_not_replaced_by_that_of_another_run(tiny_run, tmp_path):
    """One that differs in nothing but chance; a later export of the same run replaces it."""
    arguments = ("record", tiny_run.directory, "--out", tmp_path)
    file = Path(json_of(*arguments)["record"])
    record = json.loads(file.read_text())
    file.write_text(json.dumps(record | {"artifacts": []}))
    json_of(*arguments)
    assert json.loads(file.read_text()) == record
    record["curve"][0]["seconds"] += 1
    file.write_text(json.dumps(record))
    assert "the record of another run of this configuration" in refused(*arguments)


def test_a_record_of_another_configuration_is_not_overwritten(run_copy, tmp_path):
    json_of("record", run_copy, "--out", tmp_path)
    result = json.loads((run_copy / "result.json").read_text())
    result["config"]["train"]["lr"] = 7
    (run_copy / "result.json").write_text(json.dumps(result))
    assert "another configuration" in refused("record", run_copy, "--out", tmp_path)


def test_a_record_names_no_private_folder(tiny_run):
    result = tiny_run.result.to_dict()
    result["artifacts"] = [{"path": "/home/me/runs/a/export/tflm/model.tflite"}]
    train = result["config"]["train"] | {"teacher": "/home/me/runs/large", "init_from": None}
    data = result["config"]["data"] | {
        "dataset": "/home/me/pictures", "data_dir": "/home/me/tfds", "labels": "/home/me/names.txt"
    }  # fmt: skip
    result["config"] = result["config"] | {"train": train, "data": data}
    result["command"] = "tfresnet train '/home/me/my pictures' --data-dir=/home/me/tfds --lr 1e-3"
    result["environment"] = result["environment"] | {"resumed": [{"command": "train /home/me/x"}]}
    result = RunResult.model_validate(result)
    written = portable.result(result, "a")
    assert "/home" not in json.dumps(written)
    assert written["artifacts"] == [{"path": "runs/a/export/tflm/model.tflite"}]
    assert written["config"]["train"]["teacher"] == "runs/large"
    assert written["config"]["data"]["dataset"] == "pictures"
    assert written["command"] == "tfresnet train 'my pictures' --data-dir=tfds --lr 1e-3"
    assert records.identity(RunResult.model_validate(written)) == records.identity(result)


def test_a_run_that_goes_on_with_other_code_says_so(tiny_run, tmp_path, monkeypatch):
    def go_on(commit, epochs):
        monkeypatch.setattr(environment, "commit", lambda: commit)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        records = [json.dumps({"epoch": n + 1}) for n in range(epochs)]
        (folder / "metrics.jsonl").write_text("".join(f"{record}\n" for record in records))
        return run_directory.create(
            folder, tiny_run.config, tiny_run.spec, tiny_run.output
        ).environment

    first = go_on("aaaa", 0)
    assert go_on("aaaa", 1) == first
    later = go_on("bbbb", 1)
    assert [(part.commit, part.epochs) for part in later.resumed] == [("bbbb", 1)]
    assert go_on("cccc", tiny_run.config.train.epochs) == later  # nothing is left to train
    assert (later.commit, later.command) == ("aaaa", first.command)
    json_of("record", tiny_run.directory, "--out", tmp_path / "records")
    file = tmp_path / "records" / "quickstart-seed0.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"environment": later.to_dict()}))
    text = results_page.page(tmp_path / "records")
    assert "commit aaaa, " in text
    assert "; from epoch 2 on commit bbbb, " in text


def test_a_page_that_is_out_of_date_fails_the_check(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    result = tool("results", tmp_path, "--check")
    assert result.exit_code == 1
    assert f"run python -m tools.results {tmp_path}" in result.stderr
    assert not (tmp_path / "RESULTS.md").exists()
    assert "found none" in refused("results", tmp_path / "none")
    assert json_of("results", tmp_path)["current"]


def test_other_settings_are_another_row(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    record = json.loads((tmp_path / "quickstart-seed0.json").read_text())
    record["config"]["train"] |= {"lr": 0.5, "seed": 1, "keep": "best"}
    (tmp_path / "quickstart-seed1.json").write_text(json.dumps(record))
    text = results_page.page(tmp_path)
    assert "\n| `quickstart`, lr=0.1, keep=last " in text
    assert "\n| `quickstart`, epoch chosen on these images, lr=0.5, keep=best " in text


def test_a_part_of_the_images_is_told(tiny_run, tmp_path):
    json_of("record", tiny_run.directory, "--out", tmp_path)
    file = tmp_path / "quickstart-seed0.json"
    record = json.loads(file.read_text())
    record["config"]["data"]["eval_split"] = "train[45000:]"
    measured = {"path": "a", "format": "tflite", "quantization": "int8", "top1": 0.123, "bytes": 9}
    record["artifacts"] = [measured | {"n": 10}]
    file.write_text(json.dumps(record))
    text = results_page.page(tmp_path)
    assert f"\n| `quickstart`, on {record['test']['n']} images of train[45000:] " in text
    assert "12.30" not in text  # of ten images
    record["artifacts"] = [measured]
    file.write_text(json.dumps(record))
    assert "12.30" in results_page.page(tmp_path)


def test_a_bar_in_a_name_stays_in_its_cell():
    assert "| mixup \\| cutmix |" in markdown.table([{"variant": "mixup | cutmix"}])


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
    runs = [{"base": "b", "settings": [f"a={a}"], "commit": "c0ffee"} for a in range(3)]
    machine = {"cores": 2, "processor": "P"}
    row = {
        "variant": "v", "seeds": 2, "failed": 0, "top1": [0.852, 0.856], "difference": 0.0,
        "parameters": 1, "wall_seconds": 60, "images_per_second": 1,
    }  # fmt: skip
    sweep = {"sweep": "s", "description": "Of nothing.", "rows": [row]}

    def record(runs, *arguments):
        whole = sweep | {"runs": runs, "environment": machine}
        (folder / "sweep.json").write_text(json.dumps(whole))
        return "record", folder, "--out", tmp_path / "results", *arguments

    path = tmp_path / "results" / "sweeps" / "small.json"
    assert json_of(*record(runs[:2])) == {"record": str(path)}
    assert "![" not in results_page.page(tmp_path / "results")
    (folder / "sweep.png").write_bytes(b"drawn")
    json_of(*record(runs))  # one more
    assert "the record of another sweep" in refused(*record(runs[1:]))
    assert "the record of another sweep" in refused(*record([r | {"base": "x"} for r in runs]))
    text = results_page.page(tmp_path / "results")
    assert "## s\n\nOf nothing.\n\n| variant " in text
    # Student's interval of a record from before there was a column for it.
    assert "| 85.40 ± 0.28 | 82.86 to 87.94 |" in text
    assert "\n\n![Mean and " in text
    assert text.endswith("dot](sweeps/small.png)\n\n3 runs, commit c0ffee, 2 cores of P.\n")
    assert path.with_suffix(".png").read_bytes() == b"drawn"
    assert json_of(*record(runs[1:], "--name", "other"))["record"].endswith("sweeps/other.json")


@pytest.mark.parametrize("file", sorted((ROOT / "results").glob("*.yaml")), ids=lambda f: f.stem)
def test_the_sweeps_in_the_repository_can_run(file, tmp_path):
    sweep = plan.read(file)
    assert len(plan.trials(sweep, file, tmp_path)) == len(sweep.runs) * len(sweep.seeds)
