"""Class activation maps add up to the logits, and the files of ``explain`` are there."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from tests.conftest import write_images
from tests.test_cli import json_of, refused, tfresnet
from tfresnet import explain
from tfresnet.config.sections import ModelConfig
from tfresnet.data.splits import ArraySplit
from tfresnet.models import zoo
from tfresnet.runtime.spec import InputSpec, OutputSpec

SPEC = InputSpec(32, 48)


@pytest.mark.parametrize("arch", ["resnet8", "densenet121", "resnet50v2", "efficientnet_b0"])
def test_the_mean_of_the_activation_maps_and_the_bias_are_the_logits(arch):
    """By the definition of class activation maps; float32 has 7 digits, sums lose 2 of them.

    Of the largest logit: where a sum is small, terms as large as that cancel.
    """
    model = zoo.build(ModelConfig(arch=arch), SPEC.shape, 2)
    images = tf.random.stateless_normal([2, *SPEC.shape], [0, 1])
    maps, logits = model.class_activation_maps(images)
    bias = model.head.dense.bias
    largest = float(tf.reduce_max(abs(logits)))
    np.testing.assert_allclose(tf.reduce_mean(maps, [1, 2]) + bias, logits, atol=1e-5 * largest)
    np.testing.assert_allclose(logits, model(images), rtol=1e-6, atol=1e-5)


def test_grad_cam_gives_the_same_picture():
    """Against its definition: gradients of the logit, averaged, as weights of the maps."""
    model = zoo.build(ModelConfig(arch="resnet8"), SPEC.shape, 2)
    images = tf.random.stateless_normal([1, *SPEC.shape], [0, 1])
    x = images
    x, (pool, head) = model.backbone(x, training=False).last, model.head.layers
    with tf.GradientTape() as tape:
        tape.watch(x)
        logit = head(pool(x))[:, 1]
    weights = tf.reduce_mean(tape.gradient(logit, x), [1, 2])
    expected = tf.einsum("bhwd,bd->bhw", x, weights)[0].numpy()
    found = model.class_activation_maps(images)[0][0, ..., 1].numpy()
    np.testing.assert_allclose(explain.heat(found, SPEC), explain.heat(expected, SPEC), atol=1e-4)


def test_heat_is_where_the_activation_is_positive():
    heat = explain.heat(np.array([[-5.0, 0.0], [1.0, 4.0]]), SPEC)
    assert heat.shape == (32, 48)
    assert heat[0, 0] == 0
    assert heat.max() == heat[-1, -1] == 1
    assert not explain.heat(-np.ones((2, 2)), SPEC).any()


def test_the_command_draws_mistakes_and_a_map(tiny_run, tmp_path):
    out = json_of("explain", tiny_run.directory, "--count", 5, "--out", tmp_path)
    assert out["pictures"] == [str(tmp_path / "mistakes.png"), str(tmp_path / "map.png")]
    for path in out["pictures"]:
        assert Image.open(path).size[0] > 500
    assert out["n"] == 360
    assert out["wrong"] == round(360 * (1 - tiny_run.result.test["top1"]))
    assert len(out["mistakes"]) == min(5, out["wrong"])
    assert {one["file"] for one in out["mistakes"]} == {None}  # the digits are one file
    with Path(out["csv"]).open(newline="") as file:
        assert len(list(csv.DictReader(file))) == out["wrong"]


def test_mistakes_have_the_names_of_their_files(run_copy, tmp_path, monkeypatch):
    """In JSON, in the CSV (of all mistakes), in print and in the picture."""
    labels = json.loads((run_copy / "spec.json").read_text())["output"]["labels"]
    folder = write_images(tmp_path / "noise", dict.fromkeys(labels, 2))
    captions = []

    def draw(model, spec, panels, title, path):
        captions.extend(panel.caption for panel in panels)
        return path

    monkeypatch.setattr(explain, "_draw", draw)
    arguments = ("explain", run_copy, "--dataset", folder, "--count", 3)
    out = json_of(*arguments)
    assert (out["n"], len(out["mistakes"])) == (10, 3)
    with Path(out["csv"]).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == out["wrong"] > 3
    assert [float(r["probability"]) for r in rows[:3]] == [
        pytest.approx(one["probability"]) for one in out["mistakes"]
    ]
    for one, line, caption in zip(out["mistakes"], rows, captions, strict=False):
        path = Path(one["file"])
        assert path.is_file() and path.parent.name == one["label"] != one["predicted"]
        assert (line["file"], line["label"]) == (one["file"], one["label"])
        assert caption[1:] == (f"is {one['label']}", path.name)
        assert one["probability"] > one["probability_of_label"]
    printed = tfresnet(*arguments).stdout
    assert all(one["file"] in printed for one in out["mistakes"])
    assert printed.splitlines()[-1] == out["csv"]


def test_a_network_without_mistakes_has_no_picture_of_them(tmp_path):
    spec, output = InputSpec(16, 16), OutputSpec("classification", ("a", "b"))
    model = zoo.build(ModelConfig(arch="resnet8"), spec.shape, 2)
    images = np.random.default_rng(0).integers(0, 256, (4, *spec.shape), np.uint8)
    given = model((images.astype(np.float32) - 128) / 128).numpy().argmax(axis=1)
    found = explain.mistakes(model, spec, output, ArraySplit(images, given), 5, tmp_path)
    assert (found.found, found.n, found.picture) == ([], 4, None)
    assert (tmp_path / "mistakes.csv").read_text().startswith("index,file,label,")


def test_long_names_keep_their_beginning_and_their_end():
    assert explain._short("IMG_20230101_123456789.jpg") == "IMG_2023010…456789.jpg"
    assert explain._short("short.jpg") == "short.jpg"


def test_the_command_draws_what_pictures_are_judged_by(run_copy):
    samples = sorted((run_copy / "samples").glob("*.png"))
    out = json_of("explain", run_copy, *samples)
    assert out["pictures"] == [str(run_copy / "explain" / "looked-at.png")]
    assert [one["image"] for one in out["answers"]] == [str(path) for path in samples]
    assert all(one["label"] in "0123456789" for one in out["answers"])


def test_what_can_not_be_explained_gets_one_line(run_copy, tmp_path):
    assert "does not exist" in refused("explain", tmp_path / "none")
    assert "none.png" in refused("explain", run_copy, tmp_path / "none.png")
    spec = json.loads((run_copy / "spec.json").read_text())
    spec["output"]["labels"] = list("abcdefghij")
    (run_copy / "spec.json").write_text(json.dumps(spec))
    assert "expected the labels that the model was trained with" in refused("explain", run_copy)
