"""Every head x architecture family x (checkpoint, functional twin, TFLite, ONNX, two replicas)."""

import dataclasses
import itertools

import numpy as np
import pytest
import tensorflow as tf

from tests.conftest import with_slow
from tfresnet import tasks
from tfresnet.config import formats
from tfresnet.config.export import ExportConfig
from tfresnet.config.sections import ModelConfig, RunConfig
from tfresnet.data.sources import Dataset
from tfresnet.data.splits import ArraySplit
from tfresnet.deploy.compress import qat, ranges
from tfresnet.deploy.compress.base import FunctionalNetwork
from tfresnet.deploy.formats import graph, onnx_format, table, tflite, wrap
from tfresnet.deploy.formats.base import Source, Target
from tfresnet.models import functional, zoo
from tfresnet.runs import run_directory
from tfresnet.runtime.backends import centered, open_model
from tfresnet.runtime.decode import named
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.training import checkpoint
from tfresnet.training.loop import Trainer

SPEC = InputSpec(32, 48, fit="stretch")
LABELS = tuple("abc")
# Of each family a network that is cut to a block in each of three stages; to two where the last one
# of a stage halves the maps.
FAMILIES = {
    "resnet18": {"depths": (1, 1, 1), "widths": (64, 128, 256)},
    "resnet50v2": {"depths": (2, 2, 1), "widths": (64, 128, 256)},
    "pyramidnet110_a48": {"depths": (1, 1, 1)},
    "resnet9": {},
    "densenet121": {"depths": (2, 1, 1)},
    "efficientnet_b0": {"depth": 0.25},
}
HEADS = {
    "unet": "segmentation", "lraspp": "segmentation", "center": "detection", "points": "points",
}  # fmt: skip
# The rest of the table takes minutes.
USUAL = [("resnet18", "unet"), ("resnet18", "center")]
REPLICATED = USUAL[1:]
REST = [pair for pair in itertools.product(FAMILIES, HEADS) if pair not in USUAL]


@dataclasses.dataclass(frozen=True)
class Case:
    """A network for a task."""

    config: ModelConfig
    output: OutputSpec

    def build(self, precision: str = "float32"):
        return zoo.build(self.config, SPEC.shape, len(LABELS), precision)


@pytest.fixture(scope="module", params=with_slow(USUAL, REST), ids="-".join)
def case(request):
    arch, head = request.param
    short = dataclasses.replace(zoo.architecture(arch), **FAMILIES[arch])
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(zoo.ARCHITECTURES, arch, short)
        config = ModelConfig(arch=arch, head=head, width=0.25, stem="cifar")
        yield Case(config, OutputSpec(HEADS[head], LABELS))


@pytest.fixture(scope="module")
def pixels():
    return np.random.default_rng(0).integers(0, 256, (6, *SPEC.shape), np.uint8)


@pytest.fixture(scope="module")
def model(case, pixels):
    """A model whose batch-norm statistics are not the initial ones."""
    tf.keras.utils.set_random_seed(1)
    model = case.build()
    for _ in range(10):
        model(centered(pixels), training=True)
    return model


def test_a_checkpoint_brings_every_weight_back(case, model, tmp_path):
    step = tf.Variable(3, dtype=tf.int64)
    saved = tf.train.Checkpoint(model=model, step=step)
    tf.train.CheckpointManager(saved, str(tmp_path), 1, step_counter=step).save()
    fresh = case.build()
    assert run_directory.weights_sha256(fresh) != run_directory.weights_sha256(model)
    assert checkpoint.load_weights(tmp_path, fresh) == 3
    assert run_directory.weights_sha256(fresh) == run_directory.weights_sha256(model)


def test_the_functional_twin_shares_variables_and_answers(model, pixels):
    twin = functional.functional(model, SPEC.shape)
    assert {id(v) for v in twin.variables} == {id(v) for v in model.variables}
    for training in (False, True):
        ours = tf.nest.flatten(model(centered(pixels), training=training))
        theirs = tf.nest.flatten(twin(centered(pixels), training=training))
        for one, other in zip(ours, theirs, strict=True):
            np.testing.assert_array_equal(one, other)


def test_float_files_agree_with_the_model(case, model, pixels, tmp_path):
    kind = tasks.of(case.output).output_kinds[0]
    given = wrap.from_pixels(model, SPEC, case.output, None)(pixels)
    expected = [values.numpy() for values in tf.nest.flatten(given)]
    for content, name in (
        (tflite.convert(model, SPEC, case.output, "float32"), "m.tflite"),
        (onnx_format.convert(model, SPEC, case.output), "m.onnx"),
    ):
        (tmp_path / name).write_bytes(content)
        found = named(open_model(tmp_path / name).outputs(pixels), kind).values()
        for ours, theirs in zip(expected, found, strict=True):
            # Another order of summation; where two classes, or two neighbors, are about equal it
            # decides for another one.
            away = np.abs(ours.astype(float) - theirs) > 1e-4
            assert away.mean() < 0.005, name


def test_every_operation_of_an_int8_file_is_integer(case, model, pixels):
    content = tflite.convert(model, SPEC, case.output, "int8", pixels)
    assert graph.float_operations(content) == []


@pytest.mark.parametrize("kind", with_slow([0], [1]))
def test_files_of_a_network_that_was_trained_for_int8(case, model, pixels, tmp_path, kind):
    """TFLite for one image and ONNX for any number of them, of each kind of output."""
    kinds = tasks.of(case.output).output_kinds
    if kind >= len(kinds):
        pytest.skip(f"files give {kinds[0]} alone")
    network = FunctionalNetwork.of(model, SPEC.shape)
    aware = qat.quantization_aware(network)
    ranges.observe(aware, centered(pixels))
    aware(centered(pixels), training=True)  # sets the ranges of weights
    ranges.set_input_range(aware, SPEC)
    source = Source(aware, SPEC, case.output, pixels, kinds[kind])
    config = ExportConfig(output=kinds[kind] if kind else "auto")
    found = []
    for row in (formats.TFLITE, formats.ONNX):
        path = tmp_path / f"m{row.suffix}"
        form = table.format_of(row)
        path.write_bytes(form.convert(source, Target(row, formats.INT8), config))
        found.append(open_model(path))
    assert graph.float_operations((tmp_path / "m.tflite").read_bytes()) == []
    first, second = (file.outputs(pixels[:1]) for file in found)
    assert [v.shape for v in first.values()] == [v.shape for v in second.values()]


def truth(case: Case, count: int):
    """What is true of ``count`` images: of pixels a class each or none, of objects three boxes."""
    rng = np.random.default_rng(1)
    if case.output.task == "segmentation":
        mask = rng.choice([0, 1, 2, 255], (count, *SPEC.shape[:2]))
        return tf.constant(mask, tf.uint8)
    corner = rng.uniform(0, 0.5, (count, 3, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(0.2, 0.5, corner.shape)], axis=-1)
    return {
        "boxes": tf.constant(boxes, tf.float32),
        "classes": tf.constant(rng.integers(0, 3, (count, 3)), tf.int32),
        "ignored": tf.constant(rng.random((count, 3)) < 0.2),
    }


def one_step(case: Case, devices: int, pixels: np.ndarray, directory) -> dict[str, np.ndarray]:
    """Return how a training step of 8 images, shared out over ``devices``, moves each weight."""
    split = ArraySplit(np.resize(pixels, (8, *SPEC.shape)), np.arange(8))
    train = {
        "batch_size": 8, "epochs": 1, "warmup_epochs": 0.0, "lr": 0.01, "strategy": "mirrored",
        "devices": devices,
    }  # fmt: skip
    config = RunConfig.model_validate({"model": case.config.model_dump(), "train": train})
    # In float64: in float32 another order of summation flips a few ReLUs.
    dataset = Dataset(split, split, SPEC, case.output)
    trainer = Trainer(config, dataset, directory, lambda: case.build("float64"))
    # Both halves are the same: then the batch norms, which look at one replica's share only, see
    # the same statistics on one device as on two.
    batch = tf.nest.map_structure(
        lambda x: tf.concat([x, x], 0), (tf.constant(centered(pixels[:4])), truth(case, 4))
    )
    images = tf.data.Dataset.from_tensors(batch).unbatch().batch(8)
    batches = iter(trainer.strategy.experimental_distribute_dataset(images))
    before = {v.name: v.numpy() for v in trainer.model.variables}
    trainer.train_steps(batches, tf.constant(1))
    return {v.name: v.numpy() - before[v.name] for v in trainer.model.variables}


@pytest.mark.parametrize(
    "case",
    with_slow(REPLICATED, [pair for pair in USUAL + REST if pair not in REPLICATED]),
    indirect=True,
    ids="-".join,
    scope="module",
)
def test_two_replicas_equal_one(case, pixels, tmp_path):
    one, two = (one_step(case, n, pixels, tmp_path / str(n)) for n in (1, 2))
    assert any(np.abs(moved).max() > 0 for moved in one.values())
    for name in one:
        # The statistics' variance is n / (n - 1) of the batch's, with n the replica's own share.
        if not name.endswith("moving_variance:0"):
            difference = np.linalg.norm(one[name] - two[name])
            # The head's outputs and the loss are float32; what must be 0 is 1e-18.
            assert difference <= 1e-5 * np.linalg.norm(one[name]) + 1e-15, name
