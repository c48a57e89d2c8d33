"""The table of weights on the Hugging Face hub.

Every fact is in timm's sources at commit aa4b5850 (2026-08-08): architecture, mean, standard
deviation, size, crop and license in ``timm/models/resnet.py`` and ``densenet.py``, the accuracy on
ImageNet's validation images in ``results/results-imagenet.csv``, at the same size and crop.
Torchvision's weights are there too, as ``tv_in1k`` and ``tv2_in1k``. Loads no TensorFlow.
"""

from tfresnet.models.names import CENTRED_PIXELS
from tfresnet.models.weights_row import BSD, NamedWeights, Settings

DEEP: Settings = (("variant", "d"),)
SE: Settings = (("attention", "se"),)
TIERED: Settings = (("variant", "t"),)
TIERED_ECA: Settings = (("variant", "t"), ("attention", "eca"))
DEEP_ECA: Settings = (("variant", "d"), ("attention", "eca"))

ROWS = (
    NamedWeights("timm/resnet10t.c3_in1k", "resnet10", 176, 0.875, 66.724, TIERED),
    NamedWeights("timm/resnet14t.c3_in1k", "resnet14", 176, 0.875, 71.318, TIERED),
    NamedWeights("timm/resnet18.a1_in1k", "resnet18", 224, 0.95, 71.504),
    NamedWeights("timm/resnet18.tv_in1k", "resnet18", 224, 0.875, 69.752, license=BSD),
    NamedWeights("timm/resnet18d.ra2_in1k", "resnet18", 224, 0.875, 72.296, DEEP),
    NamedWeights(
        "timm/resnet18d.ra4_e3600_r224_in1k", "resnet18", 224, 0.9, 74.356, DEEP,
        CENTRED_PIXELS,
    ),
    NamedWeights("timm/resnet26.bt_in1k", "resnet26", 224, 0.875, 75.298),
    NamedWeights("timm/resnet26d.bt_in1k", "resnet26", 224, 0.875, 76.698, DEEP),
    NamedWeights("timm/resnet26t.ra2_in1k", "resnet26", 256, 0.94, 77.878, TIERED),
    NamedWeights("timm/ecaresnet26t.ra2_in1k", "resnet26", 256, 0.875, 78.894, TIERED_ECA),
    NamedWeights("timm/resnet34.a1_in1k", "resnet34", 224, 0.95, 76.42),
    NamedWeights("timm/resnet34.bt_in1k", "resnet34", 224, 0.875, 75.176),
    NamedWeights("timm/resnet34.tv_in1k", "resnet34", 224, 0.875, 73.298, license=BSD),
    NamedWeights(
        "timm/resnet34.ra4_e3600_r224_in1k", "resnet34", 224, 0.9, 77.492, (), CENTRED_PIXELS
    ),
    NamedWeights("timm/resnet34d.ra2_in1k", "resnet34", 224, 0.875, 77.108, DEEP),
    NamedWeights("timm/resnet50.a1_in1k", "resnet50", 224, 0.95, 80.382),
    NamedWeights("timm/resnet50.ra_in1k", "resnet50", 224, 0.875, 78.82),
    NamedWeights("timm/resnet50.tv_in1k", "resnet50", 224, 0.875, 76.156, license=BSD),
    NamedWeights("timm/resnet50.tv2_in1k", "resnet50", 176, 0.875, 79.434, license=BSD),
    NamedWeights("timm/resnet50d.ra2_in1k", "resnet50", 224, 0.875, 80.546, DEEP),
    NamedWeights("timm/resnet50d.a1_in1k", "resnet50", 224, 0.95, 80.73, DEEP),
    NamedWeights(
        "timm/resnet50d.ra4_e3600_r224_in1k", "resnet50", 224, 0.95, 80.956, DEEP,
        CENTRED_PIXELS,
    ),
    NamedWeights("timm/seresnet50.a1_in1k", "resnet50", 224, 0.95, 80.012, SE),
    NamedWeights("timm/seresnet50.ra2_in1k", "resnet50", 224, 0.875, 80.26, SE),
    NamedWeights("timm/ecaresnet50d.miil_in1k", "resnet50", 224, 0.875, 80.634, DEEP_ECA),
    NamedWeights("timm/ecaresnet50t.a1_in1k", "resnet50", 224, 0.95, 81.282, TIERED_ECA),
    NamedWeights("timm/resnet101.a1_in1k", "resnet101", 224, 0.95, 81.494),
    NamedWeights("timm/resnet101.tv_in1k", "resnet101", 224, 0.875, 77.404, license=BSD),
    NamedWeights("timm/resnet101.tv2_in1k", "resnet101", 176, 0.875, 79.908, license=BSD),
    NamedWeights("timm/resnet101d.ra2_in1k", "resnet101", 256, 0.95, 82.254, DEEP),
    NamedWeights("timm/ecaresnet101d.miil_in1k", "resnet101", 224, 0.875, 82.18, DEEP_ECA),
    NamedWeights("timm/resnet152.a1_in1k", "resnet152", 224, 0.95, 81.998),
    NamedWeights("timm/resnet152.tv_in1k", "resnet152", 224, 0.875, 78.33, license=BSD),
    NamedWeights("timm/resnet152.tv2_in1k", "resnet152", 176, 0.875, 80.222, license=BSD),
    NamedWeights("timm/resnet152d.ra2_in1k", "resnet152", 256, 0.95, 83.16, DEEP),
    NamedWeights("timm/resnext50_32x4d.a1_in1k", "resnext50_32x4d", 224, 0.95, 80.526),
    NamedWeights(
        "timm/resnext50_32x4d.tv_in1k", "resnext50_32x4d", 224, 0.875, 77.632, license=BSD
    ),
    NamedWeights("timm/seresnext50_32x4d.racm_in1k", "resnext50_32x4d", 224, 0.875, 81.268, SE),
    NamedWeights(
        "timm/resnext101_32x8d.tv_in1k", "resnext101_32x8d", 224, 0.875, 79.308, license=BSD
    ),
    NamedWeights(
        "timm/resnext101_32x8d.tv2_in1k", "resnext101_32x8d", 176, 0.875, 81.99, license=BSD
    ),
    NamedWeights("timm/densenet121.ra_in1k", "densenet121", 224, 0.875, 75.574),
    NamedWeights("timm/densenet121.tv_in1k", "densenet121", 224, 0.875, 74.75),
    NamedWeights("timm/densenet169.tv_in1k", "densenet169", 224, 0.875, 75.922),
)  # fmt: skip
