"""The same weights in PyTorch give the same answers; runs where torch is installed.

The modules below are the networks as torchvision defines them: its names, its paddings, its
order of layers (https://github.com/pytorch/vision, torchvision/models/resnet.py).
"""

import numpy as np
import pytest

from tests.test_pretrained import TOLERANCE, relative_error
from tfresnet import convert_weights

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
from torch import nn  # noqa: E402


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


def torch_net(arch: str, cifar: bool = False) -> nn.Module:
    """A net in which every weight and statistic is of its own."""
    torch.manual_seed(0)
    net = Net(**NETS[arch], classes=10, cifar=cifar)
    for name, tensor in [*net.named_parameters(), *net.named_buffers()]:
        if "bn" in name or "downsample.1" in name:
            if name.endswith(("running_var", "weight")):
                tensor.data.uniform_(0.7, 1.3)
            elif name.endswith(("running_mean", "bias")):
                tensor.data.normal_(0, 0.1)
    return net


@pytest.mark.parametrize("training", [False, True], ids=["inference", "training"])
@pytest.mark.parametrize(
    ("arch", "size", "cifar"),
    [
        ("resnet18", 64, False),
        ("resnet18", 97, False),  # odd: paddings that differ by a pixel show
        ("resnet18", 32, True),
        ("resnet34", 64, False),
        ("resnet50", 75, False),
        ("resnext50_32x4d", 64, False),
    ],
)
def test_parity(arch, size, cifar, training, tmp_path):
    net = torch_net(arch, cifar)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    sets = (f"data.image_size={size}", f"model.stem={'cifar' if cifar else 'imagenet'}")
    run, _ = convert_weights.convert(tmp_path / "net.pth", arch, tmp_path / "run", sets)
    images = np.random.default_rng(1).normal(size=(4, size, size, 3)).astype(np.float32)
    ours = run.model()(images, training=training).numpy()
    with torch.no_grad():
        theirs = net.train(training)(torch.from_numpy(images.transpose(0, 3, 1, 2))).numpy()
    assert relative_error(ours, theirs) < TOLERANCE


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
