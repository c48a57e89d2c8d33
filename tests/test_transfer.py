"""Fine-tuning: weights to start from, parts that stay, and a head for other classes."""

import shutil

import numpy as np
import pytest

from tests.conftest import TINY, write_images
from tests.test_cli import json_of, refused, tfresnet
from tests.test_pretrained import state_dict
from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig
from tfresnet.models import zoo
from tfresnet.models.functional import functional
from tfresnet.runs import run_directory
from tfresnet.runs.train_run import train
from tfresnet.runtime.errors import InputError


def weights(run: run_directory.Run) -> dict[str, np.ndarray]:
    model = run.model()
    return {v.name: v.numpy() for v in functional(model, run.spec.shape).variables}


def fine_tune(source, directory, *overrides):
    config = loading.from_overrides([*TINY, f"train.init_from={source}", *overrides])
    return train(config, directory)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures of three classes, none of them digits."""
    root = tmp_path_factory.mktemp("images")
    return write_images(root, {"bird": 20, "cat": 20, "dog": 20}, size=(16, 16))


def test_frozen_parts_stay_and_the_others_learn(tiny_run, folder, tmp_path):
    run = fine_tune(
        tiny_run.directory, tmp_path / "run", f"data.dataset={folder}",
        "train.freeze_until=stage2", "train.batch_size=16",
    )  # fmt: skip
    before, after = weights(tiny_run), weights(run)
    assert run.config.model.arch == "resnet8"  # the source's, as nothing else was asked for
    for name, value in after.items():
        if name.startswith(("stem", "stage1", "stage2")):
            np.testing.assert_array_equal(value, before[name], name)  # statistics, too
        elif name.startswith("stage3"):
            assert np.abs(value - before[name]).max() > 0, name
    assert after["head/kernel:0"].shape == (64, 3)


def test_the_same_classes_keep_their_head(tiny_run, tmp_path):
    """A step too small to move a weight leaves the source's network, head and all."""
    run = fine_tune(tiny_run.directory, tmp_path / "run", "train.lr=1e-30", "train.epochs=1",
                    "train.freeze_until=stage3", "train.weight_decay=0.0")  # fmt: skip
    before = weights(tiny_run)
    for name, value in weights(run).items():
        np.testing.assert_array_equal(value, before[name], name)


def test_a_file_of_weights_brings_its_normalisation(folder, tmp_path):
    from safetensors.numpy import save_file

    save_file(state_dict("resnet8", width=1), tmp_path / "r8.safetensors")
    arguments = ["train", "--init-from", tmp_path / "r8.safetensors", "--arch", "resnet8",
                 "--dataset", folder, "--run-dir", tmp_path / "run", "--epochs", 1,
                 "--batch-size", 16, "--set", "data.image_size=32",
                 "--freeze-until", "stage3"]  # fmt: skip
    result = tfresnet(*arguments)
    assert result.exit_code == 0, result.stderr
    info = json_of("info", tmp_path / "run")
    assert info["input"]["mean"] == [123.675, 116.28, 103.53]
    run = run_directory.open_run(tmp_path / "run")
    assert run.config.model.padding == "symmetric"
    assert run.config.model.stem == "imagenet"
    kernel = state_dict("resnet8", width=1)["layer1.0.conv1.weight"].transpose(2, 3, 1, 0)
    np.testing.assert_array_equal(
        weights(run)["stage1_block1/stage1_block1_conv1/kernel:0"], kernel
    )
    # The same command, resumed, has nothing left to do and finds nothing to object to.
    assert tfresnet(*arguments, "--resume").exit_code == 0


def test_a_resumed_fine_tuning_equals_the_uninterrupted_one(tiny_run, folder, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(tiny_run.directory, source, ignore=shutil.ignore_patterns("export"))
    settings = (f"data.dataset={folder}", "train.freeze_until=stem", "train.batch_size=16")
    whole = fine_tune(source, tmp_path / "whole", *settings)
    from tfresnet.training.loop import Trainer

    epoch = Trainer._train_epoch

    def stop(self, number, *args):
        if number == 2:
            raise KeyboardInterrupt
        return epoch(self, number, *args)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Trainer, "_train_epoch", stop)
        with pytest.raises(KeyboardInterrupt):
            fine_tune(source, tmp_path / "cut", *settings)
    shutil.rmtree(source)  # what it started from is not needed any more
    resumed = train(run_directory.open_run(tmp_path / "cut").config, tmp_path / "cut", resume=True)
    assert run_directory.weights_sha256(resumed.model()) == run_directory.weights_sha256(
        whole.model()
    )


def test_what_does_not_fit_is_said(tiny_run, tmp_path):
    for overrides, expected in [
        (["model.arch=resnet20"], r"expected model.arch='resnet8' as in .*, got 'resnet20'"),
        (["model.attention=se"], r"expected model.attention='none' as in"),
        (["data.channels=1"], r"data.channels: expected 3 as in .*, got 1"),
        (
            ["train.freeze_until=stage9"],
            r"unknown part of the network 'stage9'.*expected one of stem, stage1, stage2, stage3",
        ),
    ]:
        with pytest.raises(InputError, match=expected):
            fine_tune(tiny_run.directory, tmp_path / "run", *overrides)
        assert not (tmp_path / "run").exists()
    message = refused("train", "--init-from", tmp_path / "none", "--run-dir", tmp_path / "run")
    assert "expected a run directory" in message


def test_a_frozen_network_without_weights_is_possible():
    """Freezing counts parts from the input on; the head always learns."""
    model = zoo.build(ModelConfig(arch="resnet8"), (16, 16, 3), 10)
    everything = len(model.trainable_variables)
    model.freeze_until("stage3")
    assert [v.name for v in model.trainable_variables] == ["head/kernel:0", "head/bias:0"]
    assert everything > 2
