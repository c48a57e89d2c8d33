"""Weights from elsewhere give the answers that they give elsewhere."""

import dataclasses
import functools
import importlib

import numpy as np
import pytest
import tf_keras as keras
from safetensors.numpy import load_file, save_file

from tests.test_cli import json_of, refused, tfresnet
from tfresnet.config.sections import ModelConfig
from tfresnet.models import functional, names, zoo
from tfresnet.models.efficientnet import STAGES
from tfresnet.runs import convert_weights, run_directory
from tfresnet.runtime.errors import InputError

CLASSES = 10
TORCH = names.CONVENTIONS["torch", "resnet"]
# What the error is measured by: the size of the logits. Both sides compute in float32.
TOLERANCE = 1e-4
NARROW = "model.width=0.125"  # an eighth of the channels: files of 0.2 MB instead of 45


def randomised(model: keras.Model) -> None:
    """Give every variable a value that shows if it lands in the wrong place."""
    rng = np.random.default_rng(0)
    for variable in model.variables:
        values = rng.normal(size=variable.shape) * 0.05
        kind = variable.name.rpartition("/")[2]
        if kind.startswith(("gamma", "moving_variance")):
            values = 1 + np.abs(values) * 8
        elif kind.startswith("kernel"):
            values = values * 20 * np.sqrt(1 / np.prod(variable.shape[:-1]))
        variable.assign(values.astype(np.float32))


def relative_error(ours: np.ndarray, theirs: np.ndarray) -> float:
    # Of zeros no error says anything; fresh EfficientNets have logits of 1e-4.
    assert np.abs(theirs).max() > 1e-5
    return float(np.abs(ours - theirs).max() / np.abs(theirs).max())


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(4, 64, 64, 3)).astype(np.float32)


@pytest.fixture
def float64():
    """Keras's networks in float64, so that what is left of an error is not rounding."""
    keras.mixed_precision.set_global_policy("float64")
    yield
    keras.mixed_precision.set_global_policy("float32")


def short_resnet(library, block: int, widths: dict[int, int]):
    """Return a function that builds Keras's ResNet with stages of ``{width: depth}``."""
    resnet = importlib.import_module(f"{library}.src.applications.resnet")
    stack = vars(resnet)[
        {"keras": "stack_residual_blocks_v", "tf_keras": "stack"}[library] + f"{block}"
    ]

    def stages(x):
        for number, (width, depth) in enumerate(widths.items(), start=2):
            inner = number < len(widths) + 1 if block == 2 else number > 2  # where it is strided
            x = stack(x, width, depth, stride1=2 if inner else 1, name=f"conv{number}")
        return x

    return functools.partial(resnet.ResNet, stages, block == 2, True)


def short_densenet(**options) -> keras.Model:
    return importlib.import_module("tf_keras.src.applications.densenet").DenseNet(
        [2, 1, 1, 1], **options
    )


def short_efficientnet(**options) -> keras.Model:
    """The first three lines of EfficientNet-B0, without what makes its answers random."""
    efficientnet = importlib.import_module("tf_keras.src.applications.efficientnet")
    return efficientnet.EfficientNet(
        1.0, 1.0, 224, drop_connect_rate=0.0, blocks_args=efficientnet.DEFAULT_BLOCKS_ARGS[:3],
        **options,
    )  # fmt: skip


# For each of Keras's networks a short one of the same blocks, and what is changed of our row.
V2_STAGES = {24: 3, 32: 2, 40: 2}  # a plain block, strided ones, and a stage without a stride
SHORT = {
    "resnet50": (
        short_resnet("tf_keras", 1, {24: 2, 32: 1, 40: 1}),
        {"depths": (2, 1, 1), "widths": (24, 32, 40)},
    ),
    "resnet50v2": (
        short_resnet("tf_keras", 2, V2_STAGES),
        {"depths": tuple(V2_STAGES.values()), "widths": tuple(V2_STAGES)},
    ),
    "densenet121": (short_densenet, {"depths": (2, 1, 1, 1)}),
    "efficientnet_b0": (short_efficientnet, {"stages": STAGES[:3]}),
}


@pytest.fixture
def shortened(monkeypatch):
    """A function that shortens our row of an architecture, as ``SHORT`` says."""

    def shorten(arch: str) -> None:
        row = dataclasses.replace(zoo.architecture(arch), **SHORT[arch][1])
        monkeypatch.setitem(zoo.ARCHITECTURES, arch, row)

    return shorten


def theirs_of(build) -> keras.Model:
    model = build(
        weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None
    )
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0.0
    randomised(model)
    return model


def as_theirs(arch: str, images: np.ndarray) -> np.ndarray:
    """What Keras's network is fed with: BGR for the first ResNets, raw pixels for EfficientNet."""
    if arch.startswith("efficientnet"):
        return 255 * images  # it divides by 255 itself
    return images if arch.endswith("v2") or arch.startswith("dense") else images[..., ::-1]


@pytest.mark.parametrize("arch", SHORT)
def test_parity_with_keras_applications(arch, images, tmp_path, float64, shortened):
    """Every kind of block, in inference and training mode; the latter amplifies rounding to 1e-3
    if done in float32. What else a whole network has is more blocks of the same kinds, under the
    names that the next two tests are about.
    """
    theirs = theirs_of(SHORT[arch][0])
    theirs.save_weights(str(tmp_path / "theirs.h5"))
    shortened(arch)
    told = arch if arch == "efficientnet_b0" else None  # to find it, all four would be built
    run, _ = convert_weights.convert(
        tmp_path / "theirs.h5", told, tmp_path / "run", ("data.image_size=64",)
    )
    assert run.config.model.arch == arch
    ours = zoo.build(run.config.model, run.spec.shape, CLASSES, precision="float64")
    ours.set_weights(run.model().get_weights())
    assert theirs.layers[2].compute_dtype == "float64"
    for training in (False, True):
        expected = theirs(as_theirs(arch, images), training=training).numpy()
        error = relative_error(ours(images, training=training).numpy(), expected)
        assert error < TOLERANCE, (training, error)


@pytest.mark.parametrize(
    ("library", "family", "layer", "name"),
    [
        ("keras", "resnet", "stage3_block36_conv2", "conv4_block36_2_conv/kernel"),
        ("keras", "resnet_v2", "stage3_block36_conv2", "conv4_block36_2_conv/kernel"),
        ("keras", "densenet", "stage3_block24_conv2", "conv4_block24_2_conv/kernel"),
        ("torch", "resnet", "stage3_block36_conv2", "layer3.35.conv2.weight"),
        ("torch", "pyramidnet", "stage3_block18_conv2", "layer3.17.conv2.weight"),
        ("torch", "densenet", "stage3_block24_conv2",
         "features.denseblock3.denselayer24.conv2.weight"),
    ],
)  # fmt: skip
def test_blocks_are_counted_beyond_nine(library, family, layer, name):
    assert names.CONVENTIONS[library, family].candidates(layer, "kernel")[0] == name


@pytest.mark.slow
@pytest.mark.parametrize("arch", ["resnet152", "resnet152v2", "densenet169", "efficientnet_b3"])
def test_whole_networks_of_keras_fit(arch, images, tmp_path):
    """The deepest of each family: every weight finds its place, and the answers are the same."""
    theirs = getattr(keras.applications, names.KERAS_APPLICATIONS[arch])(
        weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None
    )
    theirs.save_weights(str(tmp_path / "theirs.h5"))
    run, _ = convert_weights.convert(
        tmp_path / "theirs.h5", arch, tmp_path / "run", ("data.image_size=64",)
    )
    expected = theirs(as_theirs(arch, images), training=False).numpy()
    # Fresh weights: 152 layers of float32 leave some 1e-5 of the logits.
    assert relative_error(run.model()(images).numpy(), expected) < 10 * TOLERANCE


@pytest.mark.parametrize("library", ["tf_keras", "keras"])
def test_both_of_keras_formats_are_read(library, images, tmp_path, shortened, monkeypatch):
    """``.weights.h5`` counts layers instead of naming them; Keras 3 writes it as Keras 2 does."""
    theirs = short_resnet(library, 2, V2_STAGES)(
        weights=None, input_shape=(64, 64, 3), classes=CLASSES, classifier_activation=None
    )
    theirs.save_weights(str(tmp_path / "theirs.weights.h5"))
    shortened("resnet50v2")
    # The network that the file is read with, to find the names of its layers.
    monkeypatch.setattr(keras.applications, "ResNet50V2", SHORT["resnet50v2"][0])
    run, _ = convert_weights.convert(
        tmp_path / "theirs.weights.h5", "resnet50v2", tmp_path / "run", ("data.image_size=64",)
    )
    assert run.spec.mean == (127.5, 127.5, 127.5)
    assert functional.parameters(run.model()) == sum(
        int(np.prod(v.shape)) for v in theirs.trainable_weights
    )
    expected = np.asarray(theirs(images))
    # Fresh weights: the logits are small, and float32 leaves 1e-5 of them.
    np.testing.assert_allclose(run.model()(images), expected, atol=1e-4 * np.abs(expected).max())


def test_weights_of_other_networks_are_refused_by_name(tmp_path):
    (tmp_path / "w.h5").write_bytes(b"")
    (tmp_path / "w.safetensors").write_bytes(b"")
    for file, arch, expected in [
        ("w.h5", "resnet18", "expected one of keras.applications' networks (resnet50, "),
        (
            "w.safetensors",
            "efficientnet_b0",
            "efficientnet_b0: expected weights of another library, got torch's, of which only "
            "those of resnet, pyramidnet, densenet are read",
        ),
    ]:
        arguments = ["convert-weights", tmp_path / file, "--arch", arch, "--out", tmp_path / "run"]
        assert expected in refused(*arguments)


def test_the_head_is_kept_or_replaced_as_asked(tmp_path):
    """ImageNet-21k's has 21,841 classes."""
    state = state_dict("resnet18")
    state["fc.weight"] = np.ones((21_841, 64), np.float32)
    state["fc.bias"] = np.ones(21_841, np.float32)
    save_file(state, tmp_path / "in21k.safetensors")
    kept, _ = convert_weights.convert(
        tmp_path / "in21k.safetensors", "resnet18", tmp_path / "kept", (NARROW,)
    )
    assert len(kept.output.labels) == 21_841
    out = tmp_path / "new"
    result = tfresnet("convert-weights", tmp_path / "in21k.safetensors", "--arch", "resnet18",
                      "--set", NARROW, "--out", out, "--new-head", 5,
                      "--mean", 1, 2, 3)  # fmt: skip
    assert "resnet18 with an untrained head" in result.stdout, result.stderr
    new = run_directory.open_run(out)
    assert new.model().get_layer("head").kernel.shape == (64, 5)
    assert new.spec.mean == (1, 2, 3)
    np.testing.assert_array_equal(
        new.model().get_layer("stem_conv").kernel,
        state["conv1.weight"].transpose(2, 3, 1, 0),
    )  # fmt: skip


def state_dict(arch: str, width: float = 0.125) -> dict[str, np.ndarray]:
    """A narrow state dict in PyTorch's layout, as our own names give it; the same each time."""
    return {name: array.copy() for name, array in _state_dict(arch, width).items()}


@functools.cache
def _state_dict(arch: str, width: float) -> dict[str, np.ndarray]:
    config = ModelConfig(arch=arch, stem="imagenet", padding="symmetric", width=width)
    model = zoo.build(config, (64, 64, 3), CLASSES)
    randomised(model)
    state = {"bn1.num_batches_tracked": np.array(3)}
    for layer in functional.functional(model, (64, 64, 3)).layers:
        for variable in layer.variables:
            kind = variable.name.rpartition("/")[2].partition(":")[0]
            array = variable.numpy()
            turned = np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array
            name = TORCH.candidates(layer.name, kind)[0]
            state[name] = np.ascontiguousarray(turned)
    return state


@pytest.fixture
def weights(tmp_path):
    path = tmp_path / "r18.safetensors"
    save_file(state_dict("resnet18"), path)
    return path


def test_the_names_are_torchvisions(weights):
    names = set(load_file(weights))
    assert {
        "conv1.weight", "bn1.running_var", "layer1.0.conv1.weight", "layer2.0.downsample.0.weight",
        "layer2.0.downsample.1.bias", "layer4.1.bn2.running_mean", "fc.weight", "fc.bias",
    } <= names  # fmt: skip
    assert (
        len(names) == 103
    )  # torchvision has 122: a counter of batches for each of the 20 norms, not for 1


def convert(weights, tmp_path, *more):
    return ["convert-weights", weights, "--arch", "resnet18", "--out", tmp_path / "run",
            "--set", "data.image_size=64", "--set", NARROW, *more]  # fmt: skip


def test_the_command_line_makes_a_run_that_can_be_used(weights, tmp_path):
    from tests.conftest import write_images

    labels = [f"class {i}" for i in range(CLASSES)]
    (tmp_path / "labels.txt").write_text("\n".join(labels))
    result = tfresnet(*convert(weights, tmp_path, "--labels", tmp_path / "labels.txt"))
    assert result.exit_code == 0, result.stderr
    info = json_of("info", tmp_path / "run")
    assert info["labels"] == labels
    assert info["input"]["mean"] == [123.675, 116.28, 103.53]
    folder = write_images(tmp_path / "images", dict.fromkeys(labels, 5), size=(64, 64))
    data = ["--dataset", folder]
    assert json_of("evaluate", tmp_path / "run", *data)["n"] == CLASSES
    report = json_of("export", tmp_path / "run", *data, "--tflite", "--quantize", "float32",
                     "--onnx", "--max-drop", 100)  # fmt: skip
    assert [a["max_abs_error"] < 1e-4 for a in report["artifacts"]] == [True, True]
    model = tmp_path / "run" / "export" / "model_float32.tflite"
    image = next(folder.rglob("*.jpg"))
    assert json_of("predict", model, image)["predictions"][0]["top"][0]["label"] in labels


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (lambda s: s.pop("layer3.0.conv2.weight"), "1 missing: layer3.0.conv2.weight"),
        (lambda s: s.update({"extra.weight": np.ones(3)}), "1 unexpected: extra.weight"),
        (
            lambda s: s.update({"bn1.weight": np.ones(3, np.float32)}),
            r"1 of another shape: bn1.weight (expected (8,), got (3,))",
        ),
        (
            lambda s: s.update({"conv1.weight": np.ones((3, 4), np.float32)}),
            "1 of another shape: conv1.weight (expected (7, 7, 3, 8), got (3, 4))",
        ),
        (
            lambda s: s.update({"fc.weight": np.ones((1, 64), np.float32)}),
            "expected a head of 2 classes or more, got a kernel of (1, 64)",
        ),
    ],
)
def test_what_does_not_fit_is_named_and_nothing_is_written(tmp_path, change, expected):
    state = state_dict("resnet18")
    change(state)
    save_file(state, tmp_path / "bad.safetensors")
    assert expected in refused(*convert(tmp_path / "bad.safetensors", tmp_path))
    assert not (tmp_path / "run").exists()


def test_weights_of_another_architecture_are_refused(weights, tmp_path):
    arguments = ["convert-weights", weights, "--arch", "resnet50", "--out", tmp_path / "run"]
    assert "the weights do not fit resnet50" in refused(*arguments)


def test_damaged_files_are_refused(weights, tmp_path):
    cut = tmp_path / "cut.safetensors"
    cut.write_bytes(weights.read_bytes()[:5000])
    (tmp_path / "text.h5").write_text("hello")
    for path in (cut, tmp_path / "text.h5", tmp_path / "none.h5", tmp_path):
        assert "expected" in refused(*convert(path, tmp_path))
    assert not (tmp_path / "run").exists()


def test_nan_is_warned_of(tmp_path):
    state = state_dict("resnet18")
    state["fc.bias"][3] = np.nan
    save_file(state, tmp_path / "nan.safetensors")
    result = tfresnet(*convert(tmp_path / "nan.safetensors", tmp_path))
    assert result.exit_code == 0
    assert "Warning: NaN or infinity in fc.bias" in result.stderr


def test_a_folder_that_is_not_empty_is_left_alone(weights, tmp_path):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("")
    assert "is not empty" in refused(*convert(weights, tmp_path))


def test_labels_must_be_as_many_as_classes(weights, tmp_path):
    (tmp_path / "labels.txt").write_text("a\nb\n")
    with pytest.raises(InputError, match=r"expected 10 labels, one a line, got 2"):
        convert_weights.convert(
            weights, "resnet18", tmp_path / "run", (NARROW,), tmp_path / "labels.txt"
        )


def test_converted_weights_are_the_runs_weights(weights, tmp_path):
    run, _ = convert_weights.convert(weights, "resnet18", tmp_path / "run", (NARROW,))
    again = run_directory.open_run(tmp_path / "run")
    assert run_directory.weights_sha256(again.model()) == run_directory.weights_sha256(run.model())
    np.testing.assert_array_equal(
        again.model().get_layer("head").kernel, load_file(weights)["fc.weight"].T
    )


def test_the_oldest_densenet_files_have_a_dot_more():
    densenet = names.CONVENTIONS["torch", "densenet"]
    assert densenet.candidates("stage2_block3_bn1", "gamma") == [
        "features.denseblock2.denselayer3.norm1.weight",
        "features.denseblock2.denselayer3.norm.1.weight",
    ]
