"""``tfresnet run``: training, export, boards and bundle in one file, with gates."""

import json
import shutil
from pathlib import Path

import pytest

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.deploy import pipeline_plan
from tfresnet.deploy.device import boards

TINY = {"data.image_size": 16, "train.epochs": 2, "train.warmup_epochs": 1}
EXPORT = {"formats": ["tflite"], "quantizations": ["int8"], "max_drop": 100, "verify_images": 50,
          "calibration_images": 20}  # fmt: skip


def written(**sections) -> Path:
    """A file in the current folder, which all paths are relative to."""
    file = Path("tiny.yaml")
    file.write_text(json.dumps(sections))  # JSON is YAML
    return file


@pytest.fixture
def trained(tiny_run, tmp_path, monkeypatch) -> dict:
    """The section of a training that is finished already in runs/tiny."""
    monkeypatch.chdir(tmp_path)
    shutil.copytree(
        tiny_run.directory, "runs/tiny", ignore=shutil.ignore_patterns("export", ".lock")
    )
    return {"preset": "quickstart", "set": TINY}


def ended(status: int, *arguments: object):
    """The result of a command that ends with a status."""
    result = tfresnet(*arguments)
    assert result.exit_code == status, result.output
    return result


def skipped(report: dict) -> dict[str, bool]:
    return {name: stage["skipped"] for name, stage in report["stages"].items()}


def test_what_is_done_and_unchanged_is_skipped(trained):
    sections = {"train": trained, "export": EXPORT, "fit": {"boards": ["rpi-pico"]},
                "bundle": "out/device"}  # fmt: skip
    first = json_of("run", written(**sections))
    assert first["passed"]
    assert skipped(first) == dict.fromkeys(("train", "export", "fit", "bundle"), False)
    assert first["stages"]["fit"]["result"]["boards"][0]["fits"]
    assert Path("out/device/model_int8.tflite").exists()

    again = json_of("run", written(**sections))
    assert skipped(again) == dict.fromkeys(skipped(first), True)
    assert {n: s["result"] for n, s in again["stages"].items()} == {
        n: s["result"] for n, s in first["stages"].items()
    }

    # A stage that changed, and those behind it; a gate of the training trains nothing.
    sections["train"] = {**trained, "at_least": 0.0}
    sections["export"] = {**EXPORT, "verify_images": 40}
    assert skipped(json_of("run", written(**sections))) == {
        "train": True, "export": False, "fit": False, "bundle": False,
    }  # fmt: skip

    shutil.rmtree("out")
    assert skipped(json_of("run", written(**sections)))["bundle"] is False
    assert Path("out/device/model_int8.tflite").exists()


def test_the_first_gate_that_fails_ends_it(trained):
    file = written(train={**trained, "at_least": 1.0}, export=EXPORT)
    result = ended(1, "run", file, "--json")
    report = json.loads(result.stdout)
    assert not report["passed"]
    assert [*report["stages"]] == ["train"]
    assert "less than 100.00%" in result.stderr

    strict = {**EXPORT, "max_drop": -100}
    result = ended(1, "run", written(train=trained, export=strict, bundle="out"))
    assert "Failed: export: runs/tiny/export/model_int8.tflite: top-1 dropped" in result.stderr
    assert not Path("out").exists()
    # It is not exported again to fail again.
    report = json.loads(ended(1, "run", "tiny.yaml", "--json").stdout)
    assert report["stages"]["export"]["skipped"]


def test_a_run_with_other_settings_is_put_aside(trained, monkeypatch):
    from tfresnet.runs import train_run

    json_of("run", written(train=trained))
    begun = []
    monkeypatch.setattr(train_run, "train", lambda *args: begun.append(args))
    more = {**trained, "set": {**TINY, "train.epochs": 3}}
    ended(2, "run", written(train=more))  # nothing was trained
    assert (Path("runs/tiny.old1") / "result.json").exists()
    assert [resume for _, _, resume in begun] == [False]
    assert {p.name for p in Path("runs/tiny").iterdir()} <= {"pipeline.json", ".lock"}


def test_a_folder_that_is_not_its_bundle_is_kept(trained):
    Path("mine").mkdir()
    Path("mine/file").touch()
    file = written(train=trained, export=EXPORT, bundle="mine")
    assert "expected a new or an empty folder, got mine" in ended(2, "run", file).stderr
    assert Path("mine/file").exists()


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"trian": {}}, "unknown key 'trian': did you mean 'train'?"),
        ({"train": {"presets": "x"}}, "unknown key 'train.presets': did you mean 'train.preset'?"),
        ({"train": {"set": {"lr": 1}}}, "train.set: expected section.key: value"),
        ({"train": {"set": {"train.lrr": 1}}}, "train: "),
        ({"train": {"at_least": 92}}, "train.at_least: expected less than or equal to 1, got 92"),
        ({"export": {"quantize": ["int8"]}}, "export: unknown key 'quantize'"),
        ({"export": {"quantizations": ["int9"]}}, "export: quantizations: unknown quantization"),
        ({"export": {"max_bytes": 9}}, "export: expected auto: true with max_bytes"),
        ({"export": {"auto": True, "prune": 0.5}}, "export: auto: expected it to choose"),
        (
            {"train": {"set": {"model.arch": "densenet121"}}, "export": {"slim": 0.5}},
            "tiny.yaml: export: slim: expected",
        ),
        ({"fit": {"boards": ["rpi-pico"]}}, "fit: expected export beside it, got none"),
        ({"export": {}, "fit": {"boards": ["pico"]}}, "fit: unknown board 'pico'"),
        ({"name": "../up"}, "name: expected"),
    ],
)
def test_a_mistake_is_one_line_before_anything_is_trained(sections, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert message in refused("run", written(**sections))
    assert not Path("runs").exists()


def test_a_key_twice_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text("train: {}\nbundle: a\nbundle: b\n")
    assert "the key bundle twice" in refused("run", "tiny.yaml")


def test_the_file_in_the_documentation_can_be_read(tmp_path):
    page = Path(__file__).parent.parent / "docs" / "how-to" / "pipeline.md"
    _, block = page.read_text(encoding="utf-8").split('```yaml title="digits.yaml"\n', 1)
    file = tmp_path / "digits.yaml"
    file.write_text(block.partition("```")[0], encoding="utf-8")
    plan = pipeline_plan.read(file)
    assert plan.config.train.epochs == 10
    assert plan.export.target == "arm64"
    assert plan.boards == ("rpi-pico", "arduino-nano-33-ble")


def test_a_plan_can_be_read_without_tensorflow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    plan = pipeline_plan.read(written(export={"auto": True, "max_bytes": 90_000, "max_drop": 0.3}))
    assert plan.limits == {}
    sections = {"export": {"auto": True}, "fit": {"boards": ["rpi-pico", "rpi-5"]}}
    for_board = pipeline_plan.read(written(**sections))
    pico = boards.named("rpi-pico")
    assert for_board.limits == {"max_flash": pico.flash_bytes, "max_ram": pico.ram_bytes}
    assert for_board.export.formats == ("tflm",)
    assert pipeline_plan.read(written(export={}, fit={"boards": ["rpi-pico"]})).limits == {}
    assert plan.directory == Path("runs/tiny")
    assert plan.budget.max_bytes == 90_000
    assert plan.export.formats == ("tflite",)
