"""The networks of public repositories for CIFAR, rewritten with the names that theirs have.

Structure and names are those of, each at github.com: akamaster/pytorch_resnet_cifar10 (resnet.py),
kuangliu/pytorch-cifar (models/resnet.py), weiaicunzai/pytorch-cifar100 (models/resnet.py),
chenyaofo/pytorch-cifar-models (pytorch_cifar_models/resnet.py), huyvnphan/PyTorch_CIFAR10
(cifar10_models/resnet.py) and xternalz/WideResNet-pytorch (wideresnet.py).
"""

import torch
from torch import nn
from torch.nn import functional


def conv(inputs: int, outputs: int, size: int = 3, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, size, stride, size // 2, bias=False)


def projection(inputs: int, outputs: int, stride: int) -> nn.Sequential:
    return nn.Sequential(conv(inputs, outputs, 1, stride), nn.BatchNorm2d(outputs))


class ZeroShortcut(nn.Module):
    """Option A: every other pixel, and a quarter of the new channels as zeros on each side."""

    def __init__(self, outputs):
        super().__init__()
        self.outputs = outputs

    def forward(self, x):
        more = self.outputs // 4
        return functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, more, more))


class Basic(nn.Module):
    """Two 3x3; ``name`` is what the shortcut is called."""

    def __init__(self, inputs, width, stride, name="shortcut", zeros=False):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, stride=stride), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width), nn.BatchNorm2d(width)
        self.name, shortcut = name, nn.Sequential()
        if stride != 1 or inputs != width:
            shortcut = ZeroShortcut(width) if zeros else projection(inputs, width, stride)
        setattr(self, name, shortcut)

    def forward(self, x):
        y = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x)))))
        return torch.relu(y + getattr(self, self.name)(x))


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 to four times the channels."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.conv1, self.bn1 = conv(inputs, width, 1), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = conv(width, width, stride=stride), nn.BatchNorm2d(width)
        self.conv3, self.bn3 = conv(width, 4 * width, 1), nn.BatchNorm2d(4 * width)
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != 4 * width:
            self.shortcut = projection(inputs, 4 * width, stride)

    def forward(self, x):
        y = torch.relu(self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))
        return torch.relu(self.bn3(self.conv3(y)) + self.shortcut(x))


class Numbered(nn.Module):
    """A block whose branch is a list: weiaicunzai's."""

    def __init__(self, inputs, width, stride, bottleneck=False):
        super().__init__()
        outputs = 4 * width if bottleneck else width
        shapes = (
            [(inputs, width, 1, 1), (width, width, 3, stride), (width, outputs, 1, 1)]
            if bottleneck
            else [(inputs, width, 3, stride), (width, width, 3, 1)]
        )
        steps = [s for shape in shapes for s in (conv(*shape), nn.BatchNorm2d(shape[1]), nn.ReLU())]
        self.residual_function = nn.Sequential(*steps[:-1])
        self.shortcut = nn.Sequential()
        if stride != 1 or inputs != outputs:
            self.shortcut = projection(inputs, outputs, stride)

    def forward(self, x):
        return torch.relu(self.residual_function(x) + self.shortcut(x))


class Wide(nn.Module):
    """A pre-activated block: xternalz's."""

    def __init__(self, inputs, width, stride):
        super().__init__()
        self.bn1, self.conv1 = nn.BatchNorm2d(inputs), conv(inputs, width, stride=stride)
        self.bn2, self.conv2 = nn.BatchNorm2d(width), conv(width, width)
        self.convShortcut = conv(inputs, width, 1, stride) if inputs != width else None

    def forward(self, x):
        activated = torch.relu(self.bn1(x))
        y = self.conv2(torch.relu(self.bn2(self.conv1(activated))))
        return y + (self.convShortcut(activated) if self.convShortcut else x)


class Stage(nn.Module):
    """A stage whose blocks are in ``layer``: xternalz's."""

    def __init__(self, blocks):
        super().__init__()
        self.layer = blocks

    def forward(self, x):
        return self.layer(x)


class Net(nn.Module):
    """A stem, stages and a head, as each repository calls them."""

    def __init__(self, block, depths, widths, stem, stage="layer{}", head="linear", pool=False,
                 classes=10, expansion=1, numbered=False, wide=False):  # fmt: skip
        super().__init__()
        self.conv1 = conv(3, stem)
        if numbered:
            self.conv1 = nn.Sequential(self.conv1, nn.BatchNorm2d(stem), nn.ReLU())
        elif not wide:
            self.bn1 = nn.BatchNorm2d(stem)
        self.pool = nn.MaxPool2d(3, 2, 1) if pool else nn.Identity()
        inputs, self.stages = stem, []
        for number, (depth, width) in enumerate(zip(depths, widths, strict=True), start=1):
            blocks = []
            for i in range(depth):
                blocks.append(block(inputs, width, 2 if number > 1 and i == 0 else 1))
                inputs = width * expansion
            self.stages.append(stage.format(number + numbered))
            made = nn.Sequential(*blocks)
            setattr(self, self.stages[-1], Stage(made) if wide else made)
        if wide:
            self.bn1 = nn.BatchNorm2d(inputs)
        self.numbered, self.wide, self.head = numbered, wide, head
        setattr(self, head, nn.Linear(inputs, classes))

    def forward(self, x):
        x = self.conv1(x)
        x = x if self.numbered or self.wide else torch.relu(self.bn1(x))
        x = self.pool(x)
        for stage in self.stages:
            x = getattr(self, stage)(x)
        x = torch.relu(self.bn1(x)) if self.wide else x
        return getattr(self, self.head)(x.mean((2, 3)))


def zeros(*arguments):
    return Basic(*arguments, zeros=True)


def downsample(*arguments):
    return Basic(*arguments, name="downsample")


def numbered_bottleneck(*arguments):
    return Numbered(*arguments, bottleneck=True)


SMALL, LARGE = (16, 32, 64), (64, 128, 256, 512)
NUMBERED = {"stage": "conv{}_x", "head": "fc", "classes": 100, "numbered": True}
WIDE = {"stage": "block{}", "head": "fc", "wide": True}


def parallel(state):
    return {f"module.{name}": tensor for name, tensor in state.items()}


def bare(state):
    return state


# Each: the network, its file's name, what is around the weights, our architecture, settings that
# neither names nor shapes tell.
NETS = {
    "akamaster resnet20": (
        lambda: Net(zeros, (3,) * 3, SMALL, 16), "resnet20-12fca82f.th",
        lambda s: {"state_dict": parallel(s), "best_prec1": 91.7}, "resnet20", (),
    ),
    "akamaster resnet56": (
        lambda: Net(zeros, (9,) * 3, SMALL, 16), "resnet56-4bfd9763.th",
        lambda s: {"state_dict": parallel(s), "best_prec1": 93.4}, "resnet56", (),
    ),
    "kuangliu ResNet18": (
        lambda: Net(Basic, (2,) * 4, LARGE, 64), "ckpt.pth",
        lambda s: {"net": parallel(s), "acc": 95.4, "epoch": 199}, "resnet18", (),
    ),
    "kuangliu ResNet50": (
        lambda: Net(Bottleneck, (3, 4, 6, 3), LARGE, 64, expansion=4), "ckpt.pth",
        lambda s: {"net": parallel(s), "acc": 95.4, "epoch": 199}, "resnet50", (),
    ),
    "weiaicunzai resnet18": (
        lambda: Net(Numbered, (2,) * 4, LARGE, 64, **NUMBERED), "resnet18-200-regular.pth", bare,
        "resnet18", (),
    ),
    "weiaicunzai resnet50": (
        lambda: Net(numbered_bottleneck, (3, 4, 6, 3), LARGE, 64, expansion=4, **NUMBERED),
        "resnet50-200-regular.pth", bare, "resnet50", (),
    ),
    "chenyaofo cifar10_resnet20": (
        lambda: Net(downsample, (3,) * 3, SMALL, 16, head="fc"), "cifar10_resnet20-4118986f.pt",
        bare, "resnet20", (),
    ),
    "huyvnphan resnet18": (
        lambda: Net(downsample, (2,) * 4, LARGE, 64, head="fc", pool=True), "resnet18.pt", bare,
        "resnet18", ("model.stem=cifar_pool",),
    ),
    "xternalz WideResNet-16-8": (
        lambda: Net(Wide, (2,) * 3, (128, 256, 512), 16, **WIDE), "model_best.pth.tar",
        lambda s: {"epoch": 200, "state_dict": s, "best_prec1": 95.0}, "wrn16_8", (),
    ),
}  # fmt: skip
