"""The whitened stem: what its outputs are like, that it stays, and where it is refused."""

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import write_images
from tests.test_cli import refused
from tfresnet.config import loading
from tfresnet.data import pipeline
from tfresnet.models.resnet9 import WHITENED
from tfresnet.runs.preparation import prepare
from tfresnet.runs.train_run import train

SMALL = ("data.image_size=16", "model.arch=resnet9", "model.width=0.125", "model.stem=whitened",
         "train.epochs=1", "train.batch_size=16")  # fmt: skip


@pytest.fixture(scope="module")
def settings(tmp_path_factory) -> list[str]:
    folder = write_images(tmp_path_factory.mktemp("pictures"), {"a": 40, "b": 40}, (16, 16))
    return [f"data.dataset={folder}", *SMALL]


def kernel(model) -> np.ndarray:
    layer = next(layer for layer in model.backbone.layers if layer.name == WHITENED)
    return layer.kernel.numpy()


def test_its_outputs_are_uncorrelated_with_variance_1(settings, tmp_path):
    config = loading.load("quickstart", settings)
    trainer = prepare(config, tmp_path / "run", resume=False).trainer
    (batch,) = pipeline.raw_batches(trainer.dataset.train, 64)
    images = pipeline.normalize(batch[0], trainer.dataset.spec)
    found = tf.nn.conv2d(images, kernel(trainer.model), 1, "VALID").numpy().reshape(-1, 24)
    np.testing.assert_allclose(found[:, 12:], -found[:, :12], atol=1e-5)  # float32
    covariance = np.cov(found[:, :12].T)
    # 5e-4 of the pixels' variance is added to each direction's, of which the smallest, in the
    # colors of a JPEG, are some hundredths of it.
    np.testing.assert_allclose(np.diag(covariance), 1, atol=0.05)
    np.testing.assert_allclose(covariance, np.diag(np.diag(covariance)), atol=1e-4)


def test_training_leaves_it_and_a_resumed_run_has_it(settings, tmp_path):
    config = loading.load("quickstart", settings)
    before = kernel(prepare(config, tmp_path / "run", resume=False).trainer.model)
    run = train(config, tmp_path / "run")
    np.testing.assert_array_equal(kernel(run.model()), before)
    again = prepare(config, tmp_path / "run", resume=True).trainer.model
    np.testing.assert_array_equal(kernel(again), before)
    assert len(again.trainable_variables) < len(again.variables)


def test_weights_to_start_from_keep_theirs(settings, tmp_path):
    run = train(loading.load("quickstart", settings), tmp_path / "first")
    folder = write_images(tmp_path / "others", {"c": 20, "d": 20}, (16, 16))
    other = [f"data.dataset={folder}", *SMALL, f"train.init_from={run.directory}"]
    trainer = prepare(loading.load("quickstart", other), tmp_path / "run", resume=False).trainer
    np.testing.assert_array_equal(kernel(trainer.model), kernel(run.model()))


def test_where_it_is_refused(settings, tmp_path):
    def asked(*more: str) -> str:
        options = [part for setting in [*settings, *more] for part in ("--set", setting)]
        return refused("train", "quickstart", "--run-dir", tmp_path / "run", *options)

    assert "expected color images for whitened, got images of 1 channel" in asked("data.channels=1")
    assert "model.stem: expected auto, cifar, cifar_pool or imagenet for resnet20" in asked(
        "model.arch=resnet20", "model.width=1"
    )
    assert not (tmp_path / "run").exists()
