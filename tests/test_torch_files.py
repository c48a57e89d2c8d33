"""PyTorch's files as people have them are read without PyTorch, and nothing in them is run.

``torch_files`` writes them; ``test_torch_parity`` compares its bytes with PyTorch's.
"""

import functools
import io
import pickle
import re
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from tests import torch_files
from tests.test_cli import refused, tfresnet
from tests.test_pretrained import randomised
from tests.torch_files import Call, Storage, Tensor, bfloat16, tensors, write, zip_file
from tfresnet.config import loading
from tfresnet.config.sections import ModelConfig
from tfresnet.models import functional, names, pretrained, structure, zoo
from tfresnet.runs import convert_weights, transfer, weights_file
from tfresnet.runs.run_directory import open_run
from tfresnet.runtime.errors import InputError

CLASSES = 10
NARROW = "model.width=0.125"
TORCH = names.CONVENTIONS["torch", "resnet"]


def state_dict(arch: str = "resnet20", **options) -> dict[str, np.ndarray]:
    """A narrow network's weights under torchvision's names; the same each time."""
    return dict(_state_dict(arch, **options))


@functools.cache
def _state_dict(arch: str, **options) -> dict[str, np.ndarray]:
    config = ModelConfig(arch=arch, stem="cifar", padding="symmetric", width=0.125, **options)
    model = zoo.build(config, (32, 32, 3), CLASSES)
    randomised(model)
    state = {"bn1.num_batches_tracked": np.array(3)}
    for layer in functional.functional(model, (32, 32, 3)).layers:
        for variable in layer.variables:
            array = variable.numpy()
            turned = np.moveaxis(array, (-1, -2), (0, 1)) if array.ndim > 1 else array
            name = TORCH.candidates(layer.name, names.variable_kind(variable))[0]
            state[name] = np.ascontiguousarray(turned)
    return state


def renamed(state: dict, *changes: tuple[str, object]) -> dict:
    """Return the same weights under other names, changed by patterns one after another."""
    result = {}
    for name, array in state.items():
        for pattern, to in changes:
            name = re.sub(pattern, to, name)
        result[name] = array
    return result


HEAD = (r"^fc\.", "linear.")
PARALLEL = (r"^", "module.")
SHORTCUT = (r"downsample", "shortcut")
NUMBERED = (
    (r"^conv1\.", "conv1.0."), (r"^bn1\.", "conv1.1."),
    (r"^layer(\d)", lambda m: f"conv{int(m[1]) + 1}_x"),
    (r"\.conv(\d)\.", lambda m: f".residual_function.{3 * int(m[1]) - 3}."),
    (r"\.bn(\d)\.", lambda m: f".residual_function.{3 * int(m[1]) - 2}."), SHORTCUT,
)  # fmt: skip
WIDE = ((r"^layer(\d)\.", r"block\1.layer."), (r"downsample\.0", "convShortcut"))
# Each with its file's name, what is around the weights, and how they are called.
SOURCES = {
    "akamaster/pytorch_resnet_cifar10": (
        "resnet20-12fca82f.th", "resnet20", {}, (HEAD, PARALLEL), "resnet20",
        lambda s: {"state_dict": s, "best_prec1": 91.7},
    ),
    "kuangliu/pytorch-cifar": (
        "ckpt.pth", "resnet18", {}, (HEAD, SHORTCUT, PARALLEL), "resnet18",
        lambda s: {"net": s, "acc": 95.4, "epoch": 199},
    ),
    "weiaicunzai/pytorch-cifar100": (
        "resnet18-200-regular.pth", "resnet18", {}, NUMBERED, "resnet18", lambda s: s,
    ),
    "weiaicunzai/pytorch-cifar100, bottlenecks": (
        "resnet50-200-regular.pth", "resnet50", {}, NUMBERED, "resnet50", lambda s: s,
    ),
    "chenyaofo/pytorch-cifar-models": (
        "cifar10_resnet20-4118986f.pt", "resnet20", {"shortcut": "B"}, (), "resnet20", lambda s: s,
    ),
    "huyvnphan/PyTorch_CIFAR10": ("resnet18.pt", "resnet18", {}, (), "resnet18", lambda s: s),
    "xternalz/WideResNet-pytorch": (
        "model_best.pth.tar", "wrn16_8", {}, (*WIDE, PARALLEL), "wrn16_8",
        lambda s: {"epoch": 200, "state_dict": s, "best_prec1": 95.0},
    ),
    "ResNet-18 before activation": (
        "pre.pth", "resnet18", {"pre_activation": True}, (), "resnet18", lambda s: s,
    ),
}  # fmt: skip


@pytest.mark.parametrize("source", SOURCES)
def test_files_of_public_repositories_convert_without_being_told_the_architecture(source, tmp_path):
    file, arch, options, changes, expected, around = SOURCES[source]
    state = state_dict(arch, **options)
    write(tmp_path / file, around(tensors(renamed(state, *changes))))
    run, _ = convert_weights.convert(tmp_path / file, None, tmp_path / "run", (NARROW,))
    model = run.config.model
    assert (model.arch, model.stem, model.padding) == (expected, "cifar", "symmetric")
    assert run.spec.shape == (32, 32, 3)
    fit = pretrained.fit(run.model(), run.spec.shape, state, TORCH)
    assert fit.problems() == ""
    for variable, array in fit.pairs:
        np.testing.assert_array_equal(variable, array)


TINY = {
    "conv1.weight": np.arange(54, dtype=np.float32).reshape(2, 3, 3, 3),
    "bn1.num_batches_tracked": np.array(7),
    "fc.weight": np.ones((10, 2), np.float32),
}
OPTIMIZER = {
    "state": {0: {"momentum_buffer": Tensor(np.zeros(3, np.float32))}},
    "param_groups": [{"lr": 0.1, "params": [0]}],
}
BESIDE = {
    "optimizer": OPTIMIZER,
    "args": Call("argparse", "Namespace"),
    "callbacks": {Call("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint"): {}},
    "hyper_parameters": Call("pytorch_lightning.utilities.parsing", "AttributeDict", {"a": 1}),
    "best": Call("numpy._core.multiarray", "scalar", Call("numpy", "dtype", "f8"), b"8"),
    "folder": Call("pathlib", "PosixPath", "/", "runs"),
    "epoch": 3,
}  # fmt: skip


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
@pytest.mark.parametrize("make", [Tensor, bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize(
    ("suffix", "entry", "prefix"),
    [
        (".pth", "", ""),
        (".pt", "model", "module."),
        (".bin", "net", "net."),
        (".th", "state_dict", "module.module."),
        (".pth.tar", "model_state", "backbone."),
        (".ckpt", "state_dict", "model.net."),
        (".pkl", "ema", "_orig_mod.module."),
        (".pth", "state_dict_ema", "encoder."),
    ],
)
def test_forms(suffix, entry, prefix, make, legacy, tmp_path):
    state = tensors({prefix + name: array for name, array in TINY.items()}, make)
    whole = {entry: state, **BESIDE} if entry else state
    read = pretrained.read(write(tmp_path / f"w{suffix}", whole, legacy))
    assert set(read) == set(TINY)
    for name, array in TINY.items():
        np.testing.assert_array_equal(read[name], array)


def test_half_and_double_precision_are_read(tmp_path):
    for kind in (np.float16, np.float64):
        state = tensors(TINY, lambda array, kind=kind: Tensor(array.astype(kind)))
        read = pretrained.read(write(tmp_path / "w.pth", state))
        assert read["conv1.weight"].dtype == kind
        np.testing.assert_array_equal(read["conv1.weight"], TINY["conv1.weight"])


def test_safetensors_of_bfloat16_are_read(tmp_path):
    """PyTorch writes them; NumPy has no such type, so the file is written here by hand."""
    values = np.array([1, -2.5, 1024], np.float32)
    header = b'{"model.fc.bias":{"dtype":"BF16","shape":[3],"data_offsets":[0,6]}}'
    bits = (values.view(np.uint32) >> 16).astype("<u2")
    whole = struct.pack("<Q", len(header)) + header + bits.tobytes()
    (tmp_path / "w.safetensors").write_bytes(whole)
    read = pretrained.read(tmp_path / "w.safetensors")
    assert read["fc.bias"].dtype == np.float32
    np.testing.assert_array_equal(read["fc.bias"], values)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_arrays_are_read(protocol, tmp_path):
    (tmp_path / "w.pkl").write_bytes(pickle.dumps({"model": TINY}, protocol=protocol))
    read = pretrained.read(tmp_path / "w.pkl")
    for name, array in TINY.items():
        np.testing.assert_array_equal(read[name], array)


def test_parts_of_storages_and_other_strides_are_read(tmp_path):
    """As channels_last networks and split weights have."""
    storage = Storage(np.arange(24, dtype=np.float32), "FloatStorage")
    state = {
        "turned": Tensor(0.0, storage=storage, shape=(3, 4), strides=(1, 3), offset=0),
        "part": Tensor(0.0, storage=storage, shape=(2, 3), strides=(3, 1), offset=12),
        "empty": Tensor(0.0, storage=storage, shape=(0, 3), strides=(3, 1), offset=0),
    }
    read = pretrained.read(write(tmp_path / "w.pth", state))
    np.testing.assert_array_equal(read["turned"], np.arange(12).reshape(4, 3).T)
    np.testing.assert_array_equal(read["part"], np.arange(12, 18).reshape(2, 3))
    assert read["empty"].shape == (0, 3)


def test_numbers_stay_in_the_file_until_they_are_used(tmp_path):
    """The optimizer's, which nobody needs, are never read: here they are not even there."""
    read = pretrained.read(write(tmp_path / "w.pth", tensors(TINY)))
    assert not read["conv1.weight"].flags.owndata
    assert not read["conv1.weight"].flags.writeable


def changed(name: str, value: object, arch: str = "resnet20") -> dict:
    state = tensors(state_dict(arch))
    state[name] = value
    return state


def without(*names: str) -> dict:
    state = state_dict()
    return tensors({name: state[name] for name in state if name not in names})


def one(**parts: object) -> bytes:
    """A file of one tensor that is not as its storage is."""
    return zip_file({"fc.weight": Tensor(np.ones((2, 3), np.float32), **parts)})


def counted(count: int) -> bytes:
    storage = Storage(np.ones(6, np.float32), "FloatStorage", count=count)
    return one(storage=storage, shape=(2, 3), strides=(3, 1), offset=0)


def cut(data: bytes, share: float = 0.5) -> bytes:
    return data[: int(len(data) * share)]


def compressed() -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w/data.pkl", b"0" * 10_000_000)
    return file.getvalue()


def flipped() -> bytes:
    """A file whose last weight has another bit."""
    data = bytearray(zip_file(tensors(TINY)))
    data[data.rindex(np.ones(20, np.float32).tobytes()) + 9] ^= 1
    return bytes(data)


def code(module: str, name: str, *arguments: object) -> bytes:
    return zip_file({"fc.weight": Call(module, name, *arguments)})


def call_that_builds() -> bytes:
    """A pickle that would change the defaults of what rebuilds tensors."""
    return b"\x80\x02ctorch._utils\n_rebuild_tensor_v2\nN}X\x0c\x00\x00\x00__defaults__)s\x86b."


class Changed(Tensor):
    """A tensor whose shape is changed after it was rebuilt."""

    def __reduce__(self) -> tuple:
        return (*super().__reduce__(), {"shape": (1 << 40,)})


SPARSE = ("torch._utils", "_rebuild_sparse_tensor", "layout", (1, 2, 3))
QUANTIZED = ("torch._utils", "_rebuild_qtensor", 1, 2, 3)
TOO_MANY = "in a storage of 6 numbers"
REFUSALS = {
    "a call of os.system": (code("posix", "system", "touch executed"), "a call of posix.system"),
    "a call of eval": (code("builtins", "eval", "1"), "a call of builtins.eval"),
    "a call in Python 2's words": (code("__builtin__", "getattr"), "a call of builtins.getattr"),
    "code in the old format": (
        torch_files.legacy_file([Call("subprocess", "Popen", "ls")]), "a call of subprocess.Popen",
    ),
    "code in a plain pickle": (pickle.dumps(print, protocol=4), "a call of builtins.print"),
    "code in a storage's own file": (
        torch_files.pickled(
            Call("torch.storage", "_load_from_bytes", pickle.dumps(print, protocol=2))
        )[0],
        "a call of builtins.print",
    ),
    "a pickle that changes functions": (call_that_builds(), "expected whole weights"),
    "a pickle that changes tensors": (
        zip_file({"a": Changed(np.ones(3, np.float32))}), "a pickle that changes tensors",
    ),
    "a pickle that wants room for two thousand million objects": (
        b"\x80\x02Nr\xff\xff\xff\x7f.", "got nothing",
    ),
    "a whole model": (code("models.resnet", "ResNet"), "save the state_dict() instead"),
    "a whole old model": (
        torch_files.legacy_file(Call("torch.nn.modules.container", "Sequential")),
        "save the state_dict() instead",
    ),
    "a TorchScript archive": (
        zip_file({}, more={"constants.pkl": b"", "code/net.py": b""}), "a TorchScript archive",
    ),
    "another zip archive": (torch_files.archive({"word/a.xml": b"<a/>"}), "did not write"),
    "a compressed archive": (compressed(), "a compressed"),
    "a cut archive": (cut(zip_file(tensors(TINY))), "not a zip file"),
    "a cut old file": (cut(torch_files.legacy_file(tensors(TINY)), 0.9), "cut short"),
    "an old file cut in its pickles": (cut(torch_files.legacy_file(tensors(TINY)), 0.1), "Error"),
    "a flipped bit": (flipped(), "the checksum of a tensor is another"),
    "a sparse tensor": (code(*SPARSE), "a sparse tensor"),
    "a quantized tensor": (code(*QUANTIZED), "a quantized tensor"),
    "a complex tensor": (zip_file({"a": Tensor(np.ones(3, np.complex64))}), "complex numbers"),
    "integers for weights": (
        zip_file(changed("fc.weight", Tensor(np.ones((10, 8), np.int8)))), "int8 in fc.weight",
    ),
    "a storage that is larger than its record": (counted(1 << 40), "a storage of 1099511627776"),
    "a storage that is not there": (
        zip_file({"a": Tensor(np.ones(3, np.float32))}, without=("data/0",)), "not in the file",
    ),
    "a tensor beyond its storage": (one(offset=1), TOO_MANY),
    "a tensor of repeated numbers": (one(shape=(1 << 40, 3), strides=(0, 1)), TOO_MANY),
    "negative sizes": (one(shape=(-2, 3)), "no numbers from 0 on"),
    "negative strides": (one(strides=(-3, 1)), "no numbers from 0 on"),
    "a negative offset": (one(offset=-1), "no numbers from 0 on"),
    "sizes that are text": (one(shape=("2", "3")), "no numbers from 0 on"),
    "more sizes than strides": (one(strides=(1,)), "2 sizes and 1 strides"),
    "two dicts of weights": (
        zip_file({"state_dict": tensors(TINY), "state_dict_ema": tensors(TINY)}),
        "several dicts of weights, state_dict, state_dict_ema (choose one",
    ),
    "two networks in one dict": (
        zip_file(tensors({"net.a": np.ones(3, "f4"), "model.a": np.ones(3, "f4")})),
        "two networks: net.a and model.a",
    ),
    "text in place of weights": (zip_file({"net": {"a": "b"}}), "a str in place of a tensor, a"),
    "text beside weights": (zip_file(changed("fc.bias", "zeros")), "a str in place of a tensor"),
    "an empty dict": (zip_file({}), "an empty dict"),
    "a list": (zip_file([Tensor(np.ones(3, np.float32))]), "got a list"),
    "a tensor alone": (zip_file(Tensor(np.ones(3, np.float32))), "got a tensor"),
    "settings alone": (zip_file({"lr": 0.1, "epoch": 3}), "a dict of lr, epoch"),
    "a text file": (b"import torch\n", "a file that torch.save did not write"),
    "a page that says no": (b"<html>404</html>", "a page of HTML"),
    "a pointer": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS"),
    "a file of Keras": (b"\x89HDF\r\n\x1a\n" + bytes(99), "an HDF5 file"),
    "a tar archive": (bytes(257) + b"ustar" + bytes(300), "a tar archive"),
    "an empty file": (b"", "an empty file"),
    "a network of another depth": (
        zip_file(tensors({**state_dict(), "layer1.3.conv1.weight": np.ones(3, "f4")})),
        "stages of 4, 3, 3 blocks",
    ),
    "a layer of another width": (
        zip_file(changed("layer2.1.conv1.weight", Tensor(np.ones((4, 5, 3, 3), "f4")))),
        "1 of another shape: layer2.1.conv1.weight (expected (3, 3, 8, 8), got (3, 3, 5, 4))",
    ),
    "a misspelt name": (
        zip_file(tensors(renamed(state_dict(), ("layer3.0.conv2", "layer3.0.conv_2")))),
        "1 missing: layer3.0.conv2.weight (there is layer3.0.conv_2.weight)",
    ),
    "no head": (zip_file(without("fc.weight", "fc.bias")), "a new one with --new-head"),
    "arrays of another kind": (
        zip_file(tensors({"encoder.layer.0.query.weight": np.ones((3, 3), "f4")})),
        "got 1 arrays (layer.0.query.weight, ...)",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSALS)
def test_refused_in_one_line(case, tmp_path, monkeypatch):
    data, expected = REFUSALS[case]
    monkeypatch.chdir(tmp_path)
    Path("w.pth").write_bytes(data)
    assert expected in refused("convert-weights", "w.pth", "--out", "run", "--set", NARROW)
    assert [path.name for path in tmp_path.iterdir()] == ["w.pth"]


def test_an_architecture_that_fits_twice_is_asked_for(tmp_path, monkeypatch):
    write(tmp_path / "w.pth", tensors(state_dict()))
    monkeypatch.setitem(zoo.ARCHITECTURES, "twin20", zoo.ARCHITECTURES["resnet20"])
    line = refused(
        "convert-weights", tmp_path / "w.pth", "--out", tmp_path / "run", "--set", NARROW
    )
    assert line.endswith("w.pth fits resnet20, twin20: choose one with --arch")


def test_networks_that_are_as_deep_are_told_apart_by_their_shapes(tmp_path):
    """ResNeXt-50 has as many blocks of as many layers as ResNet-50."""
    config = ModelConfig(arch="resnext50_32x4d", stem="imagenet", width=0.25)
    state = {}
    for layer in functional.functional(zoo.build(config, (32, 32, 3), 2), (32, 32, 3)).layers:
        for variable in layer.variables:
            shape = tuple(variable.shape)
            name = TORCH.candidates(layer.name, names.variable_kind(variable))[0]
            state[name] = np.zeros((*shape[:-3:-1], *shape[:-2]), np.float32)
    write(tmp_path / "w.pth", tensors(state))
    found = weights_file.read(tmp_path / "w.pth", None, ("model.width=0.25",))
    assert (found.arch, found.classes()) == ("resnext50_32x4d", 2)


def convert(tmp_path: Path, *more: object) -> list:
    file, out = tmp_path / "w.pth", tmp_path / "run"
    return ["convert-weights", file, "--out", out, "--set", NARROW, *more]


def test_one_of_several_dicts_is_chosen_by_name(tmp_path):
    other = {name: array + 1 for name, array in state_dict().items()}
    both = {"state_dict": tensors(state_dict()), "ema": {"model": tensors(other)}}
    write(tmp_path / "w.pth", both)
    assert "got no dict of weights called 'net' but state_dict, ema.model" in refused(
        *convert(tmp_path, "--entry", "net")
    )
    result = tfresnet(*convert(tmp_path, "--entry", "ema.model"))
    assert result.exit_code == 0, result.stderr
    model = open_run(tmp_path / "run").model()
    np.testing.assert_array_equal(model.get_layer("head").bias, other["fc.bias"])


@pytest.mark.parametrize(
    ("norm", "stem"), [(False, "cifar"), (True, "cifar_pool")], ids=["alone", "with a norm"]
)
def test_densenets_with_a_3x3_stem_pool_behind_it_if_they_have_a_norm(norm, stem):
    """As those of huyvnphan/PyTorch_CIFAR10 do."""
    arrays = {"features.conv0.weight": np.zeros((64, 3, 3, 3), np.float32)}
    arrays |= {"features.norm0.weight": np.zeros(64, np.float32)} if norm else {}
    row = zoo.architecture("densenet121")
    found = structure.settings(arrays, names.CONVENTIONS["torch", "densenet"], row)
    assert found == (f"model.stem={stem}", "model.padding=symmetric")


def test_a_pooled_stem_halves_the_maps_and_is_refused_where_there_is_none():
    model = zoo.build(ModelConfig(arch="resnet20", stem="cifar_pool"), (32, 32, 3), CLASSES)
    assert [part.stride for part in model.backbone.parts] == [1, 2, 4, 8]
    with pytest.raises(InputError, match="expected auto, cifar or imagenet for pyramidnet110_a48"):
        zoo.build(ModelConfig(arch="pyramidnet110_a48", stem="cifar_pool"), (32, 32, 3), CLASSES)


def test_another_data_set_has_its_own_test_split(tmp_path):
    write(tmp_path / "w.pth", tensors(state_dict()))
    cifar = (NARROW, "data.dataset=cifar10")
    run, _ = convert_weights.convert(tmp_path / "w.pth", None, tmp_path / "a", cifar)
    assert (run.config.data.dataset, run.config.data.eval_split) == ("cifar10", "test")
    run, _ = convert_weights.convert(tmp_path / "w.pth", None, tmp_path / "b", (NARROW,))
    assert (run.config.data.dataset, run.config.data.eval_split) == ("imagenet2012", "validation")


def test_weights_without_a_head_get_a_new_one(tmp_path):
    write(tmp_path / "w.pth", without("fc.weight", "fc.bias"))
    result = tfresnet(*convert(tmp_path, "--new-head", 7))
    assert "resnet20 with an untrained head" in result.stdout, result.stderr
    assert len(open_run(tmp_path / "run").output.labels) == 7


def test_nan_is_warned_of(tmp_path):
    state = state_dict()
    state["fc.bias"] = np.full(10, np.nan, np.float32)
    write(tmp_path / "w.pth", tensors(state, bfloat16))
    assert "Warning: NaN or infinity in fc.bias" in tfresnet(*convert(tmp_path)).stderr


@pytest.mark.parametrize(
    ("mean", "std", "expected"),
    [
        ((0.4, 0.2, 0), (0.2, 0.2, 0.4), ((102, 51, 0), (51, 51, 102))),
        ((0, 0, 0), (1, 1, 1), ((0, 0, 0), (255, 255, 255))),
        ((104, 117, 123), (1, 1, 1), ((104, 117, 123), (1, 1, 1))),
    ],
)
def test_pixels_may_be_on_either_scale(mean, std, expected, tmp_path):
    write(tmp_path / "w.pth", tensors(state_dict()))
    result = tfresnet(*convert(tmp_path, "--mean", *mean, "--std", *std))
    assert result.exit_code == 0, result.stderr
    spec = open_run(tmp_path / "run").spec
    np.testing.assert_allclose((spec.mean, spec.std), expected)


@pytest.mark.parametrize("head", [True, False], ids=["with a head", "without"])
def test_training_starts_from_a_file_without_being_told_its_architecture(head, tmp_path):
    write(tmp_path / "w.pth", tensors(state_dict()) if head else without("fc.weight", "fc.bias"))
    config = loading.from_overrides([f"train.init_from={tmp_path / 'w.pth'}", NARROW])
    weights = transfer.initial_weights(config)
    assert (weights.model.arch, weights.model.stem) == ("resnet20", "cifar")
    assert len(weights.labels) == (10 if head else 0)
    assert weights.image_size == 32
