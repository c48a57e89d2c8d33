"""The table of weights that are fetched by name, each with the network and the input it is for.

Every fact is in timm's sources at commit aa4b5850 (2026-08-08): architecture, mean, standard
deviation, size, crop and license in ``timm/models/resnet.py`` and ``densenet.py``, the accuracy on
ImageNet's validation images in ``results/results-imagenet.csv``, at the same size and crop.
Torchvision's weights are there too, as ``tv_in1k`` and ``tv2_in1k``. Loads no TensorFlow.
"""

from dataclasses import dataclass

from tfresnet.config.loading import is_hub_name
from tfresnet.config.sections import ModelConfig
from tfresnet.models.names import CENTRED_PIXELS, TORCH_PIXELS, Pixels
from tfresnet.models.options import STRUCTURE, same_structure
from tfresnet.runtime.errors import InputError, unknown

Settings = tuple[tuple[str, str], ...]

APACHE, BSD = "apache-2.0", "bsd-3-clause"
DEEP: Settings = (("variant", "d"),)
SE: Settings = (("attention", "se"),)
TIERED: Settings = (("variant", "t"),)
TIERED_ECA: Settings = (("variant", "t"), ("attention", "eca"))
DEEP_ECA: Settings = (("variant", "d"), ("attention", "eca"))


@dataclass(frozen=True)
class HubWeights:
    """Weights on the Hugging Face hub, trained on ImageNet's 1,000 classes.

    Attributes:
        name: of the repository there: ``timm/resnet18.a1_in1k``.
        arch: our architecture.
        size: side of the images that it was trained for, in pixels.
        crop: share of the sides that its evaluation keeps, 0 to 1.
        top1: its published accuracy at that size and crop, in percent.
        settings: of the model section, where they are not those of all of these networks.
        pixels: mean and standard deviation that the network expects, 0 to 255.
        license: an SPDX identifier, in lower case.
        revision: a commit of the repository; None is the newest.
        sha256: of the file, in hexadecimal; None is that of the first download, see ``runs.hub``.
        file: its name in the repository.
    """

    name: str
    arch: str
    size: int
    crop: float
    top1: float
    settings: Settings = ()
    pixels: Pixels = TORCH_PIXELS
    license: str = APACHE
    revision: str | None = None
    sha256: str | None = None
    file: str = "model.safetensors"

    @property
    def model(self) -> ModelConfig:
        """The network's structure: PyTorch's paddings and, unless said otherwise, its stem."""
        return ModelConfig.model_validate(
            {"arch": self.arch, "stem": "imagenet", "padding": "symmetric", **dict(self.settings)}
        )

    @property
    def url(self) -> str:
        """The page of the repository, for a person."""
        return f"https://huggingface.co/{self.name}"

    def fits(self, config: ModelConfig) -> bool:
        """Return whether the network is the configured one in all that the configuration sets."""
        return same_structure(config, self.model)


# The first row that fits a configuration is its default.
TABLE: dict[str, HubWeights] = {
    row.name: row
    for row in (
        HubWeights("timm/resnet10t.c3_in1k", "resnet10", 176, 0.875, 66.724, TIERED),
        HubWeights("timm/resnet14t.c3_in1k", "resnet14", 176, 0.875, 71.318, TIERED),
        HubWeights("timm/resnet18.a1_in1k", "resnet18", 224, 0.95, 71.504),
        HubWeights("timm/resnet18.tv_in1k", "resnet18", 224, 0.875, 69.752, license=BSD),
        HubWeights("timm/resnet18d.ra2_in1k", "resnet18", 224, 0.875, 72.296, DEEP),
        HubWeights(
            "timm/resnet18d.ra4_e3600_r224_in1k", "resnet18", 224, 0.9, 74.356, DEEP,
            CENTRED_PIXELS,
        ),
        HubWeights("timm/resnet26.bt_in1k", "resnet26", 224, 0.875, 75.298),
        HubWeights("timm/resnet26d.bt_in1k", "resnet26", 224, 0.875, 76.698, DEEP),
        HubWeights("timm/resnet26t.ra2_in1k", "resnet26", 256, 0.94, 77.878, TIERED),
        HubWeights("timm/ecaresnet26t.ra2_in1k", "resnet26", 256, 0.875, 78.894, TIERED_ECA),
        HubWeights("timm/resnet34.a1_in1k", "resnet34", 224, 0.95, 76.42),
        HubWeights("timm/resnet34.bt_in1k", "resnet34", 224, 0.875, 75.176),
        HubWeights("timm/resnet34.tv_in1k", "resnet34", 224, 0.875, 73.298, license=BSD),
        HubWeights(
            "timm/resnet34.ra4_e3600_r224_in1k", "resnet34", 224, 0.9, 77.492, (), CENTRED_PIXELS
        ),
        HubWeights("timm/resnet34d.ra2_in1k", "resnet34", 224, 0.875, 77.108, DEEP),
        HubWeights("timm/resnet50.a1_in1k", "resnet50", 224, 0.95, 80.382),
        HubWeights("timm/resnet50.ra_in1k", "resnet50", 224, 0.875, 78.82),
        HubWeights("timm/resnet50.tv_in1k", "resnet50", 224, 0.875, 76.156, license=BSD),
        HubWeights("timm/resnet50.tv2_in1k", "resnet50", 176, 0.875, 79.434, license=BSD),
        HubWeights("timm/resnet50d.ra2_in1k", "resnet50", 224, 0.875, 80.546, DEEP),
        HubWeights("timm/resnet50d.a1_in1k", "resnet50", 224, 0.95, 80.73, DEEP),
        HubWeights(
            "timm/resnet50d.ra4_e3600_r224_in1k", "resnet50", 224, 0.95, 80.956, DEEP,
            CENTRED_PIXELS,
        ),
        HubWeights("timm/seresnet50.a1_in1k", "resnet50", 224, 0.95, 80.012, SE),
        HubWeights("timm/seresnet50.ra2_in1k", "resnet50", 224, 0.875, 80.26, SE),
        HubWeights("timm/ecaresnet50d.miil_in1k", "resnet50", 224, 0.875, 80.634, DEEP_ECA),
        HubWeights("timm/ecaresnet50t.a1_in1k", "resnet50", 224, 0.95, 81.282, TIERED_ECA),
        HubWeights("timm/resnet101.a1_in1k", "resnet101", 224, 0.95, 81.494),
        HubWeights("timm/resnet101.tv_in1k", "resnet101", 224, 0.875, 77.404, license=BSD),
        HubWeights("timm/resnet101.tv2_in1k", "resnet101", 176, 0.875, 79.908, license=BSD),
        HubWeights("timm/resnet101d.ra2_in1k", "resnet101", 256, 0.95, 82.254, DEEP),
        HubWeights("timm/ecaresnet101d.miil_in1k", "resnet101", 224, 0.875, 82.18, DEEP_ECA),
        HubWeights("timm/resnet152.a1_in1k", "resnet152", 224, 0.95, 81.998),
        HubWeights("timm/resnet152.tv_in1k", "resnet152", 224, 0.875, 78.33, license=BSD),
        HubWeights("timm/resnet152.tv2_in1k", "resnet152", 176, 0.875, 80.222, license=BSD),
        HubWeights("timm/resnet152d.ra2_in1k", "resnet152", 256, 0.95, 83.16, DEEP),
        HubWeights("timm/resnext50_32x4d.a1_in1k", "resnext50_32x4d", 224, 0.95, 80.526),
        HubWeights(
            "timm/resnext50_32x4d.tv_in1k", "resnext50_32x4d", 224, 0.875, 77.632, license=BSD
        ),
        HubWeights("timm/seresnext50_32x4d.racm_in1k", "resnext50_32x4d", 224, 0.875, 81.268, SE),
        HubWeights(
            "timm/resnext101_32x8d.tv_in1k", "resnext101_32x8d", 224, 0.875, 79.308, license=BSD
        ),
        HubWeights(
            "timm/resnext101_32x8d.tv2_in1k", "resnext101_32x8d", 176, 0.875, 81.99, license=BSD
        ),
        HubWeights("timm/densenet121.ra_in1k", "densenet121", 224, 0.875, 75.574),
        HubWeights("timm/densenet121.tv_in1k", "densenet121", 224, 0.875, 74.75),
        HubWeights("timm/densenet169.tv_in1k", "densenet169", 224, 0.875, 75.922),
    )
}  # fmt: skip


def named(start: str | None) -> HubWeights | None:
    """Return the row of ``train.init_from``; None if it is a path that exists, or empty.

    Raises:
        InputError: a name of weights on the hub that is not in the table; with the closest one.
    """
    if not start or not is_hub_name(start):
        return None
    if start not in TABLE:
        raise unknown("weights", start, TABLE, "a name that tfresnet models lists, a run or a file")
    return TABLE[start]


def of_architecture(arch: str) -> list[HubWeights]:
    """Return all rows of an architecture, the preferred one first."""
    return [row for row in TABLE.values() if row.arch == arch]


def default_for(config: ModelConfig) -> HubWeights | None:
    """Return the preferred weights for a network; None if there are none.

    Keys that the configuration leaves at their defaults, and those that do not change what weights
    mean, such as dropout, do not matter.
    """
    return next((row for row in of_architecture(config.arch) if row.fits(config)), None)


def required_for(config: ModelConfig) -> HubWeights:
    """Return the preferred weights for a network.

    Raises:
        InputError: there are none; names the architectures that have some, or what is in the way.
    """
    if found := default_for(config):
        return found
    rows = of_architecture(config.arch)
    if not rows:
        known = ", ".join(dict.fromkeys(row.arch for row in TABLE.values()))
        raise InputError(
            f"train.pretrained: expected an architecture that has weights on the hub ({known}), "
            f"got {config.arch}"
        )
    keys = sorted(config.model_fields_set & set(STRUCTURE[1:]))
    got = ", ".join(f"model.{key}={getattr(config, key)}" for key in keys)
    raise InputError(
        f"train.pretrained: expected the structure of {rows[0].name} or another that "
        f"tfresnet models lists for {config.arch}, got {got}; leave those out"
    )
