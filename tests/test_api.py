"""The Python API: the verbs of the command line."""

import pytest

import tfresnet
from tests.conftest import TINY
from tfresnet.config import loading
from tfresnet.runs.run_directory import Run, weights_sha256
from tfresnet.runtime.errors import InputError


def test_train_load_evaluate_export_classify(tiny_run, tmp_path):
    settings = dict(setting.split("=") for setting in TINY)
    run = tfresnet.train("quickstart", settings, tmp_path / "run")
    assert isinstance(run, Run)
    assert weights_sha256(run.model()) == weights_sha256(tiny_run.model())
    assert tfresnet.load(tmp_path / "run") == run

    report = tfresnet.export(run, formats=("tflite",), quantizations=("int8",), max_drop=100)
    (artifact,) = report["artifacts"]
    result = tfresnet.evaluate(artifact["path"])
    assert result["top1"] == artifact["top1"]
    assert tfresnet.evaluate(run)["top1"] == run.result.test_top1

    sample = sorted((run.directory / "samples").glob("*.png"))[0]
    answers = tfresnet.deploy.Classifier(artifact["path"]).classify(sample, top=3)
    assert len(answers) == 3


def test_a_configuration_can_be_given_and_changed(tmp_path):
    config = loading.load("quickstart", TINY)
    with pytest.raises(InputError, match="expected at most 1437"):
        tfresnet.train(config, {"train.batch_size": 5000}, tmp_path / "run")
    with pytest.raises(InputError, match=r"did you mean 'train\.epochs'"):
        tfresnet.train("quickstart", ["train.epoch=3"], tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_only_what_is_there_can_be_asked_for():
    with pytest.raises(AttributeError, match="has no attribute 'trains'"):
        tfresnet.trains  # noqa: B018
    with pytest.raises(AttributeError, match="has no attribute 'Classifiers'"):
        tfresnet.deploy.Classifiers  # noqa: B018


def test_the_tab_key_finds_the_verbs():
    assert {"train", "load", "evaluate", "export", "deploy"} <= set(dir(tfresnet))
