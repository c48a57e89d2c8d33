"""Trained networks that ship with tfresnet, and packed runs, which they are."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from tests.conftest import TINY
from tests.test_cli import json_of, refused
from tests.test_demo import page_text, runtimes  # noqa: F401
from tests.test_imports import HEAVY, loaded_by
from tests.test_results import tool
from tfresnet.config import loading
from tfresnet.deploy.device import demo
from tfresnet.runs import experiments, packing, run_directory, shipped
from tfresnet.runs.train_run import train
from tfresnet.runtime.errors import InputError

ROOT = Path(__file__).parent.parent
EMBEDDED = [name for name in shipped.names() if not name.startswith("cifar10")]
# Processors round differently: of two nearly equal probabilities either may be the larger. A few
# pictures in ten thousand at most, or one of a few hundred.
PICTURES = 3


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty current directory, and an empty cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path / "here"


@pytest.fixture
def packed(tiny_run, tmp_path):
    return packing.pack(tiny_run, tmp_path / "packed")


def test_what_ships_is_small_and_says_what_it_is():
    files = [file for file in shipped.FOLDER.rglob("*") if file.is_file()]
    assert sum(file.stat().st_size for file in files) <= 3_000_000
    assert {"digits", shipped.DEFAULT} <= set(shipped.names())
    about = (shipped.FOLDER / "README.md").read_text()
    for name in shipped.names():
        assert f"`{name}`" in about
    assert "Apache-2.0" in about


@pytest.mark.parametrize("name", shipped.names())
def test_record_weights_and_table_are_of_the_same_network(name):
    run = run_directory.open_run(Path(name))
    result = run.finished_result()
    assert run_directory.weights_sha256(run.model()) == result.weights_sha256
    recorded = [one for e in experiments.shipped() for one in e.results]
    (record,) = [one for one in recorded if one.weights_sha256 == result.weights_sha256]
    assert record.test == result.test
    assert (record.preset, record.commit) == (result.preset, result.commit)
    assert result.commit and not result.commit.endswith("-dirty")
    # What was exported of these weights: the float32 file gives their number.
    (whole,) = [a for a in record.artifacts if (a.format, a.quantization) == ("tflite", "float32")]
    primary = next(e for e in experiments.shipped() if record in e.results).headings.primary
    n = result.test["n"]
    assert whole.value == pytest.approx(result.test[primary], abs=PICTURES / n)
    assert "/home" not in json.dumps(result.to_dict()) + (run.directory / "config.yaml").read_text()


@pytest.mark.parametrize("name", EMBEDDED)
def test_a_shipped_network_has_the_number_of_the_table(name, elsewhere):
    result = run_directory.open_run(Path(name)).finished_result()
    found = json_of("evaluate", name)
    primary = next(k for k in ("miou", "map50", "top1") if k in found)
    assert found["n"] == result.test["n"]
    # An interval of mIoU or mAP is drawn by a bootstrap; a picture weighs 1/n of top-1.
    assert found[primary] == pytest.approx(result.test[primary], abs=PICTURES / found["n"])
    assert not list(elsewhere.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("name", sorted(set(shipped.names()) - set(EMBEDDED)))
def test_a_network_of_cifar10_has_the_number_of_the_table(name):
    if not (Path(os.environ.get("TFDS_DATA_DIR", "none")) / "cifar10").is_dir():
        pytest.skip("needs CIFAR-10 in $TFDS_DATA_DIR")
    found = json_of("evaluate", name)
    expected = run_directory.open_run(Path(name)).finished_result().test["top1"]
    assert found["n"] == 10_000
    assert found["top1"] == pytest.approx(expected, abs=PICTURES / found["n"])


def test_a_name_is_predicted_with_and_its_file_is_made_once(elsewhere):
    pictures = sorted((shipped.FOLDER / "digits" / "samples").glob("*.png"))
    found = json_of("predict", "digits", *pictures, "--top", 1)["predictions"]
    labels = [one["top"][0]["label"] for one in found]
    assert labels == [picture.stem.partition("_")[2] for picture in pictures]
    code = (
        "from click.testing import CliRunner\nfrom tfresnet.cli.main import main\n"
        f"done = CliRunner().invoke(main, ['predict', 'digits', {str(pictures[0])!r}])\n"
        "assert done.exit_code == 0, done.output"
    )
    assert not loaded_by(code) & HEAVY
    assert not list(elsewhere.iterdir())


def test_demo_without_a_model_shows_a_shipped_one(elsewhere, runtimes, serve, monkeypatch):  # noqa: F811
    from tfresnet.cli.common import trained_file

    monkeypatch.setattr(shipped, "DEFAULT", "digits")
    file = trained_file(Path(shipped.DEFAULT))
    port = serve([file], demo.samples_of(file))
    assert "<title>" in page_text(port)
    site = json.loads(demo.pages([file], demo.samples_of(file))["/site.json"].read())
    assert site["title"] == "digits: resnet8"
    assert len(site["samples"]) == 5
    expected = run_directory.open_run(Path("digits")).finished_result().test["top1"]
    assert site["models"][0]["top1"] == expected


def test_export_of_a_name_writes_into_a_copy(elsewhere):
    first = json_of("export", "digits", "--tflite", "--quantize", "int8", "--max-drop", 100)
    assert [a["path"] for a in first["artifacts"]] == ["runs/digits/export/model_int8.tflite"]
    assert json_of("info", "runs/digits")["weights_sha256"] == (
        run_directory.open_run(Path("digits")).finished_result().weights_sha256
    )
    again = json_of("export", "digits", "--tflite", "--quantize", "float32")
    assert again["stale"] == []
    record = json_of("predict", "runs/digits", *Path("runs/digits/samples").glob("1_*.png"))
    assert len(record["predictions"]) == 1
    (Path("runs/digits") / shipped.WEIGHTS).unlink()
    assert "holds another run" in refused("export", "digits")


def test_models_lists_the_shipped_networks():
    found = {one["name"]: one for one in json_of("models")["trained"]}
    assert set(found) == set(shipped.names())
    assert found["digits"]["metric"] == "top1"


def test_a_name_is_a_start_and_a_teacher(elsewhere):
    config = loading.load("quickstart", ["train.epochs=1", "train.warmup_epochs=0"])
    changed = config.model_copy(
        update={"train": config.train.model_copy(update={"init_from": "digits", "lr": 1e-30})}
    )
    run = train(changed, elsewhere / "started")
    assert run.config.train.init_from == "digits"
    started, source = run.model(), run_directory.open_run(Path("digits")).model()
    for ours, theirs in zip(started.trainable_variables, source.trainable_variables, strict=True):
        # Weight decay of 1e-30 times anything is nothing.
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), atol=1e-6)
    taught = config.model_copy(
        update={"train": config.train.model_copy(update={"teacher": "digits"})}
    )
    assert train(taught, elsewhere / "taught").config.train.teacher == "digits"
    assert "expected a run directory" in refused(
        "train", "quickstart", "--init-from", "digit", "--run-dir", elsewhere / "none"
    )


def test_a_packed_run_is_the_run_it_was_made_of(tiny_run, packed):
    digest = run_directory.weights_sha256(tiny_run.model())
    assert run_directory.weights_sha256(packed.model()) == digest
    assert packed.finished_result().weights_sha256 == digest
    assert packed.model_and_step()[1] == tiny_run.model_and_step()[1]
    assert packed.records() == tiny_run.records()
    assert packed.config.data.data_dir is None
    size = sum(f.stat().st_size for f in packed.directory.rglob("*") if f.is_file())
    assert size < 450_000  # 78,042 parameters
    with pytest.raises(InputError, match="not empty"):
        packing.pack(tiny_run, packed.directory)


def test_half_precision_halves_the_kernels_and_nothing_else(tiny_run, tmp_path):
    half = packing.pack(tiny_run, tmp_path / "half", half=True)
    for ours, theirs in zip(half.model().variables, tiny_run.model().variables, strict=True):
        tolerance = 2.0**-11 if len(ours.shape) > 1 else 0.0  # of a float16's mantissa
        np.testing.assert_allclose(ours.numpy(), theirs.numpy(), rtol=tolerance, atol=1e-7)
    assert (half.directory / shipped.WEIGHTS).stat().st_size < 0.6 * 4 * 78_042


def test_a_packed_run_is_not_resumed(packed):
    flags = [word for setting in TINY for word in ("--set", setting)]
    line = refused("train", "quickstart", "--run-dir", packed.directory, "--resume", *flags)
    assert "is packed" in line and "--init-from" in line


def test_a_damaged_file_of_weights_gets_one_line(packed):
    file = packed.directory / shipped.WEIGHTS
    file.write_bytes(file.read_bytes()[:1000])
    assert f"{file}: expected the weights of a packed run" in refused("info", packed.directory)


def test_a_folder_of_that_name_comes_first(elsewhere, packed):
    shutil.copytree(packed.directory, elsewhere / "digits")
    assert json_of("info", "digits")["weights_sha256"] == packed.finished_result().weights_sha256


def test_only_committed_code_ships(tiny_run, tmp_path, monkeypatch, request):
    run = tmp_path / "run"
    shutil.copytree(tiny_run.directory, run)
    result = json.loads((run / "result.json").read_text()) | {"commit": "c0ffee-dirty"}
    (run / "result.json").write_text(json.dumps(result))
    assert "committed code" in refused("ship", run, run=tool)
    (run / "result.json").write_text(json.dumps(result | {"commit": "c0ffee"}))
    monkeypatch.setattr(shipped, "FOLDER", tmp_path / "trained")
    shipped.names.cache_clear()
    request.addfinalizer(shipped.names.cache_clear)
    found = json_of("ship", run, "--name", "small", run=tool)
    assert found["path"] == str(tmp_path / "trained" / "small")
    assert found["shipped"] == pytest.approx(found["trained"], abs=PICTURES / 360)
    assert run_directory.open_run(tmp_path / "trained" / "small").is_packed
