"""The same weights in PyTorch give the same answers; runs where torch is installed.

The modules below are the networks as torchvision defines them: its names, its paddings, its
order of layers (https://github.com/pytorch/vision, torchvision/models/resnet.py). Those of public
repositories for CIFAR are in ``torch_cifar``.
"""

import io
import pickle
import re
import zipfile
from collections import OrderedDict

import numpy as np
import pytest

from tests import torch_files
from tests.test_pretrained import TOLERANCE, relative_error
from tfresnet.config.sections import ModelConfig
from tfresnet.models import functional, pretrained, zoo
from tfresnet.runs import convert_weights
from tfresnet.runtime.errors import InputError

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402

from tests import torch_cifar  # noqa: E402


class Block(nn.Module):
    """A basic or bottleneck block."""

    def __init__(self, inputs, width, stride, bottleneck, groups=1, group_width=64):
        super().__init__()
        outputs = width * (4 if bottleneck else 1)
        inner = int(width * group_width / 64) * groups if bottleneck else width
        shapes = (
            [(inputs, inner, 1, 1, 1), (inner, inner, 3, stride, groups), (inner, outputs, 1, 1, 1)]
            if bottleneck
            else [(inputs, width, 3, stride, 1), (width, width, 3, 1, 1)]
        )
        self.count = len(shapes)
        for i, (a, b, kernel, s, g) in enumerate(shapes, start=1):
            conv = nn.Conv2d(a, b, kernel, s, kernel // 2, groups=g, bias=False)
            setattr(self, f"conv{i}", conv)
            setattr(self, f"bn{i}", nn.BatchNorm2d(b))
        self.downsample = None
        if stride != 1 or inputs != outputs:
            project = nn.Conv2d(inputs, outputs, 1, stride, bias=False)
            self.downsample = nn.Sequential(project, nn.BatchNorm2d(outputs))

    def forward(self, x):
        y = x
        for i in range(1, self.count + 1):
            y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
            y = torch.relu(y) if i < self.count else y
        if hasattr(self, "se"):
            y = y * self.se(y)
        return torch.relu(y + (self.downsample(x) if self.downsample else x))


class Net(nn.Module):
    """A ResNet or ResNeXt."""

    def __init__(self, depths, widths, bottleneck, classes, cifar, **groups):
        super().__init__()
        first = widths[0] if not bottleneck or not cifar else 64
        kernel, stride = (3, 1) if cifar else (7, 2)
        self.conv1 = nn.Conv2d(3, first, kernel, stride, kernel // 2, bias=False)
        self.bn1 = nn.BatchNorm2d(first)
        self.pool = nn.Identity() if cifar else nn.MaxPool2d(3, 2, 1)
        inputs = first
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks = []
            for i in range(depth):
                stride = 2 if i == 0 and stage > 1 else 1
                blocks.append(Block(inputs, width, stride, bottleneck, **groups))
                inputs = width * (4 if bottleneck else 1)
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        self.stages = len(depths)
        self.fc = nn.Linear(inputs, classes)

    def forward(self, x):
        x = self.pool(torch.relu(self.bn1(self.conv1(x))))
        for stage in range(1, self.stages + 1):
            x = getattr(self, f"layer{stage}")(x)
        return self.fc(x.mean((2, 3)))


IMAGENET = (64, 128, 256, 512)
NETS = {
    "resnet18": {"depths": (2, 2, 2, 2), "widths": IMAGENET, "bottleneck": False},
    "resnet34": {"depths": (3, 4, 6, 3), "widths": IMAGENET, "bottleneck": False},
    "resnet50": {"depths": (3, 4, 6, 3), "widths": IMAGENET, "bottleneck": True},
    "resnext50_32x4d": {
        "depths": (3, 4, 6, 3),
        "widths": IMAGENET,
        "bottleneck": True,
        "groups": 32,
        "group_width": 4,
    },
}


class DeepStem(nn.Sequential):
    """timm's: github.com/huggingface/pytorch-image-models, timm/models/resnet.py."""

    def __init__(self):
        super().__init__(
            nn.Conv2d(3, 32, 3, 2, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 32, 3, 1, 1, bias=False), nn.BatchNorm2d(32), nn.ReLU(),
            nn.Conv2d(32, 64, 3, 1, 1, bias=False),
        )  # fmt: skip


def resnet_d() -> nn.Module:
    """A ResNet-50-D with timm's names: a deep stem, an average pool before each projection."""
    net = Net(**NETS["resnet50"], classes=10, cifar=False)
    net.conv1 = DeepStem()
    for stage in range(1, 5):
        block = getattr(net, f"layer{stage}")[0]
        conv, norm = block.downsample
        pool = nn.AvgPool2d(2, conv.stride[0], ceil_mode=True, count_include_pad=False)
        conv.stride = (1, 1)
        block.downsample = nn.Sequential(nn.Identity() if stage == 1 else pool, conv, norm)
    return net


class Squeeze(nn.Module):
    """timm's SEModule (timm/layers/squeeze_excite.py)."""

    def __init__(self, channels):
        super().__init__()
        self.fc1 = nn.Conv2d(channels, max(8, channels // 16), 1)
        self.fc2 = nn.Conv2d(max(8, channels // 16), channels, 1)

    def forward(self, x):
        return torch.sigmoid(self.fc2(torch.relu(self.fc1(x.mean((2, 3), keepdim=True)))))


class Efficient(nn.Module):
    """timm's EcaModule (timm/layers/eca.py)."""

    def __init__(self, channels):
        super().__init__()
        width = int(abs(np.log2(channels) + 1) / 2) | 1
        self.conv = nn.Conv1d(1, 1, width, padding=width // 2, bias=False)

    def forward(self, x):
        return torch.sigmoid(self.conv(x.mean((2, 3))[:, None]))[:, 0, :, None, None]


def with_attention(module):
    def make() -> nn.Module:
        net = Net(**NETS["resnet18"], classes=10, cifar=False)
        for stage, width in enumerate(IMAGENET, start=1):
            for block in getattr(net, f"layer{stage}"):
                block.se = module(width)
        return net

    return make


class WideBlock(nn.Module):
    """Norm, ReLU, 3x3, twice (Zagoruyko and Komodakis 2016, figure 1)."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1, self.bn2 = nn.BatchNorm2d(inputs), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.downsample = None
        if stride != 1 or inputs != width:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, width, 1, stride, bias=False))

    def forward(self, x):
        a = torch.relu(self.bn1(x))
        y = self.conv2(torch.relu(self.bn2(self.conv1(a))))
        return y + (self.downsample(a) if self.downsample else x)


class PyramidBlock(nn.Module):
    """Norm, 3x3, norm, ReLU, 3x3, norm; zeros for the channels that the shortcut lacks."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1 = nn.BatchNorm2d(inputs)
        self.bn2, self.bn3 = nn.BatchNorm2d(width), nn.BatchNorm2d(width)
        self.conv1 = nn.Conv2d(inputs, width, 3, stride, 1, bias=False)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.pool = nn.AvgPool2d(2) if stride > 1 else nn.Identity()
        self.more = width - inputs

    def forward(self, x):
        y = self.bn3(self.conv2(torch.relu(self.bn2(self.conv1(self.bn1(x))))))
        return y + nn.functional.pad(self.pool(x), (0, 0, 0, 0, 0, self.more))


class Growing(nn.Module):
    """Three stages of such blocks behind a 3x3, for 10 classes; ``last`` names the last norm."""

    def __init__(self, block, widths, last):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
        inputs, self.last = 16, last
        if last != "bn1":
            self.bn1 = nn.BatchNorm2d(16)
        for stage, of_stage in enumerate(widths, start=1):
            blocks = []
            for i, width in enumerate(of_stage):
                blocks.append(block(inputs, width, 2 if i == 0 and stage > 1 else 1))
                inputs = width
            setattr(self, f"layer{stage}", nn.Sequential(*blocks))
        setattr(self, last, nn.BatchNorm2d(inputs))
        self.fc = nn.Linear(inputs, 10)

    def forward(self, x):
        x = self.conv1(x)
        x = x if self.last == "bn1" else self.bn1(x)
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.relu(getattr(self, self.last)(x)).mean((2, 3)))


def pyramidnet(alpha: int = 48) -> nn.Module:
    """PyramidNet-110 as its authors define it (github.com/dyhan0920/PyramidNet-PyTorch)."""
    widths, width = [], 16.0
    for _ in range(3):
        stage = [round(width + alpha / 54 * (i + 1)) for i in range(18)]
        width += alpha / 3
        widths.append(stage)
    return Growing(PyramidBlock, widths, "bn_final")


def wide_resnet() -> nn.Module:
    return Growing(WideBlock, [[128] * 2, [256] * 2, [512] * 2], "bn1")


class DenseLayer(nn.Sequential):
    """One layer of torchvision's DenseNet (torchvision/models/densenet.py)."""

    def __init__(self, inputs):
        super().__init__()
        self.norm1, self.conv1 = nn.BatchNorm2d(inputs), nn.Conv2d(inputs, 128, 1, bias=False)
        self.norm2, self.conv2 = nn.BatchNorm2d(128), nn.Conv2d(128, 32, 3, 1, 1, bias=False)

    def forward(self, x):
        y = self.conv1(torch.relu(self.norm1(x)))
        return torch.cat([x, self.conv2(torch.relu(self.norm2(y)))], 1)


def densenet() -> nn.Module:
    """torchvision's DenseNet-121."""
    steps = {
        "conv0": nn.Conv2d(3, 64, 7, 2, 3, bias=False), "norm0": nn.BatchNorm2d(64),
        "relu0": nn.ReLU(), "pool0": nn.MaxPool2d(3, 2, 1),
    }  # fmt: skip
    channels = 64
    for stage, depth in enumerate((6, 12, 24, 16), start=1):
        block = nn.Sequential()
        for i in range(depth):
            block.add_module(f"denselayer{i + 1}", DenseLayer(channels + 32 * i))
        channels += 32 * depth
        steps[f"denseblock{stage}"] = block
        if stage < 4:
            between = nn.Sequential()
            between.add_module("norm", nn.BatchNorm2d(channels))
            between.add_module("relu", nn.ReLU())
            between.add_module("conv", nn.Conv2d(channels, channels // 2, 1, bias=False))
            between.add_module("pool", nn.AvgPool2d(2))
            steps[f"transition{stage}"] = between
            channels //= 2
    steps["norm5"] = nn.BatchNorm2d(channels)
    net = nn.Sequential()
    net.add_module("features", nn.Sequential())
    for name, step in steps.items():
        net.features.add_module(name, step)
    net.features.add_module("relu", nn.ReLU())
    net.add_module("pool", nn.AdaptiveAvgPool2d(1))
    net.add_module("flat", nn.Flatten())
    net.add_module("classifier", nn.Linear(channels, 10))
    return net


def randomised(net: nn.Module) -> nn.Module:
    """Give every norm's weights and statistics values that show if one goes astray."""
    torch.manual_seed(0)
    for module in net.modules():
        if isinstance(module, nn.BatchNorm2d):
            for tensor in (module.weight.data, module.running_var):
                tensor.uniform_(0.7, 1.3)
            for tensor in (module.bias.data, module.running_mean):
                tensor.normal_(0, 0.1)
    return net


def resnet(arch: str, cifar: bool = False):
    return lambda: Net(**NETS[arch], classes=10, cifar=cifar)


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(
    ("arch", "size", "make"),
    [
        ("resnet18", 64, resnet("resnet18")),
        ("resnet18", 97, resnet("resnet18")),  # odd: paddings that differ by a pixel show
        ("resnet18", 32, resnet("resnet18", cifar=True)),
        ("resnet34", 64, resnet("resnet34")),
        ("resnet50", 75, resnet("resnet50")),
        ("resnext50_32x4d", 64, resnet("resnext50_32x4d")),
        ("resnet50", 97, resnet_d),
        ("resnet18", 64, with_attention(Squeeze)),
        ("resnet18", 64, with_attention(Efficient)),
        ("wrn16_8", 32, wide_resnet),
        ("pyramidnet110_a48", 32, pyramidnet),
        ("densenet121", 75, densenet),
    ],
)
def test_parity(arch, size, make, training, tmp_path):
    """The file alone tells stem, variant and paddings."""
    torch.manual_seed(0)
    net = randomised(make())
    torch.save(net.state_dict(), tmp_path / "net.pth")
    sets = (f"data.image_size={size}",)
    run, _ = convert_weights.convert(tmp_path / "net.pth", arch, tmp_path / "run", sets)
    ours = run.model()
    assert functional.parameters(ours) == sum(p.numel() for p in net.parameters())
    images = np.random.default_rng(1).normal(size=(4, size, size, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert relative_error(ours(images, training=training).numpy(), theirs) < TOLERANCE


@pytest.mark.parametrize("alpha", [84, 270])
def test_pyramidnets_have_their_authors_parameters(alpha):
    ours, _ = zoo.cost(ModelConfig(arch=f"pyramidnet110_a{alpha}"), (32, 32, 3))
    assert ours == sum(p.numel() for p in pyramidnet(alpha).parameters())


class Evil:
    """What a pickle would run when it is read."""

    def __reduce__(self):
        return (open, ("executed", "w"))


def test_code_in_a_pickle_is_not_run(tmp_path, monkeypatch):
    from tests.test_cli import refused

    monkeypatch.chdir(tmp_path)
    torch.save({"fc.weight": Evil()}, "evil.pth")
    arguments = ["convert-weights", "evil.pth", "--arch", "resnet18", "--out", "run"]
    assert "expected whole weights without code" in refused(*arguments)
    assert not (tmp_path / "executed").exists()


@pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
def test_the_files_of_the_other_tests_are_pytorchs_to_the_byte(legacy, tmp_path):
    """What ``torch_files`` writes without PyTorch, ``torch.save`` writes too, and the reverse."""
    state = OrderedDict(
        weight=torch.arange(6.0).reshape(2, 3), half=torch.arange(600).half(),
        brain=torch.arange(9.0).bfloat16(), num_batches_tracked=torch.tensor(3),
    )  # fmt: skip
    file = io.BytesIO()
    whole = {"net": state, "acc": 93.2, "epoch": 7}
    torch.save(whole, file, _use_new_zipfile_serialization=not legacy)
    ours = OrderedDict(
        (name, torch_files.bfloat16(t.float().numpy()) if name == "brain"
         else torch_files.Tensor(t.numpy()))
        for name, t in state.items()
    )  # fmt: skip
    if legacy:  # which calls storages by their addresses
        keys = dict.fromkeys(re.findall(rb"X.\0\0\0(\d{10,})", file.getvalue()))
        for tensor, key in zip(ours.values(), keys, strict=True):
            tensor.storage.key = key.decode()
        written = torch_files.legacy_file(whole | {"net": ours})
    else:
        identity = zipfile.ZipFile(file).read("archive/.data/serialization_id").decode()
        written = torch_files.zip_file(whole | {"net": ours}, "archive", identity)
    assert written == file.getvalue()
    (tmp_path / "w.pth").write_bytes(written)
    read = pretrained.read(tmp_path / "w.pth")
    for name, tensor in torch.load(tmp_path / "w.pth", weights_only=True)["net"].items():
        np.testing.assert_array_equal(read[name], tensor.double().numpy())


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_plain_pickles_of_tensors_are_read(protocol, tmp_path):
    state = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)).state_dict()
    (tmp_path / "w.pkl").write_bytes(pickle.dumps(state, protocol=protocol))
    read = pretrained.read(tmp_path / "w.pkl")
    for name, tensor in state.items():
        np.testing.assert_array_equal(read[name], tensor.numpy())


def test_what_pytorch_has_for_other_tensors_is_refused(tmp_path):
    sparse = torch.eye(3).to_sparse()
    compressed = torch.eye(3).to_sparse_csr()
    quantized = torch.quantize_per_tensor(torch.eye(3), 0.1, 0, torch.qint8)
    for tensor, expected in [
        (sparse, "a sparse tensor"), (compressed, "a sparse tensor"),
        (quantized, "a quantized tensor"), (torch.eye(3).cfloat(), "complex numbers"),
        (torch.eye(3).to(torch.float8_e4m3fn), "float8"), (torch.eye(3, device="meta"), "meta"),
        (torch.eye(3).char(), "int8"), (nn.Linear(2, 2), "save the state_dict() instead"),
    ]:  # fmt: skip
        torch.save({"fc.weight": tensor}, tmp_path / "w.pth")
        with pytest.raises(InputError, match=re.escape(expected)):
            pretrained.read(tmp_path / "w.pth")
    torch.jit.script(nn.Linear(2, 2)).save(tmp_path / "w.pt")
    with pytest.raises(InputError, match="a TorchScript archive"):
        pretrained.read(tmp_path / "w.pt")


@pytest.mark.parametrize("name", torch_cifar.NETS)
def test_parity_with_public_repositories_for_cifar(name, tmp_path):
    """The architecture, its stem and its shortcuts are found; the logits are theirs."""
    make, file, around, arch, sets = torch_cifar.NETS[name]
    torch.manual_seed(0)
    net = randomised(make())
    torch.save(around(net.state_dict()), tmp_path / file)
    run, _ = convert_weights.convert(tmp_path / file, None, tmp_path / "run", sets)
    assert (run.config.model.arch, run.spec.shape) == (arch, (32, 32, 3))
    ours = run.model()
    assert functional.parameters(ours) == sum(p.numel() for p in net.parameters())
    images = np.random.default_rng(1).normal(size=(4, 32, 32, 3)).astype(np.float32)
    with torch.no_grad():
        theirs = net.eval()(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert relative_error(ours(images, training=False).numpy(), theirs) < TOLERANCE
