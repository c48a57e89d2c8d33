"""The table of keras.applications' weights.

Files and their MD5 digests are those of tf_keras 2.21 (``applications/resnet.py``, ``resnet_v2.py``
and ``densenet.py``), the accuracies those of https://keras.io/api/applications/, the licenses those
of the documentation of Keras 2.3: ResNet's weights are Kaiming He's, those of ResNetV2 Facebook's,
DenseNet's its authors'. Its EfficientNets are converted from a file. Loads no TensorFlow.
"""

from typing import Any

from tfresnet.models.names import CAFFE_PIXELS, CENTRED_PIXELS
from tfresnet.models.weights_row import BSD, MIT, NamedWeights

CROP = 0.875  # the usual one at 224 pixels


def _row(arch: str, top1: float, md5: str, license: str, **more: Any) -> NamedWeights:
    family = "densenet" if arch.startswith("densenet") else "resnet"
    file = f"{family}/{arch}_weights_tf_dim_ordering_tf_kernels.h5"
    return NamedWeights(
        f"keras/{arch}", arch, 224, CROP, top1, license=license, md5=md5, file=file, **more
    )


V1: dict[str, Any] = {"settings": (("variant", "v1"),), "pixels": CAFFE_PIXELS}
V2: dict[str, Any] = {"pixels": CENTRED_PIXELS}
ROWS = (
    _row("resnet50", 74.9, "2cb95161c43110f7111970584f804107", MIT, **V1),
    _row("resnet101", 76.4, "f1aeb4b969a6efcfb50fad2f0c20cfc5", MIT, **V1),
    _row("resnet152", 76.6, "100835be76be38e30d865e96f2aaae62", MIT, **V1),
    _row("resnet50v2", 76.0, "3ef43a0b657b3be2300d5770ece849e0", BSD, **V2),
    _row("resnet101v2", 77.2, "6343647c601c52e1368623803854d971", BSD, **V2),
    _row("resnet152v2", 78.0, "a49b44d1979771252814e80f8ec446f9", BSD, **V2),
    _row("densenet121", 75.0, "9d60b8095a5708f2dcce2bca79d332c7", BSD),
    _row("densenet169", 76.2, "d699b8f76981ab1b30698df4c175e90b", BSD),
)
