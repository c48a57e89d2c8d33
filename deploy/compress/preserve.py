"""Fake quantization that preserves zeros and shared weights, the results of pruning and clustering.

In tfmot's own scheme for clusters each output channel has a scale of its own, so that one weight
becomes as many integers as there are channels. Here a kernel with shared weights has one scale, and
so at most as many different integers as weights.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from unittest import mock

import tensorflow as tf
from tensorflow_model_optimization.python.core.clustering.keras.cluster_config import (
    GradientAggregation,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.cluster_preserve import (  # noqa: E501
    cluster_preserve_quantize_registry as registry,
)
from tensorflow_model_optimization.python.core.quantization.keras.collab_opts.prune_preserve import (  # noqa: E501
    default_8bit_prune_preserve_quantize_scheme as keeps_zeros,
)
from tensorflow_model_optimization.python.core.quantization.keras.default_8bit import (
    default_8bit_quantize_registry,
    default_8bit_quantize_scheme,
)
from tensorflow_model_optimization.quantization import keras as quantization


class SharedWeightsQuantizer(registry.ClusterPreserveDefaultWeightsQuantizer):
    """Quantizes a kernel to 8 bits with one scale; its few different weights are trained.

    Args:
        sparse: whether zeros stay zeros.
    """

    def __init__(self, sparse: bool):
        super().__init__(
            8, per_axis=False, symmetric=True, narrow_range=True, preserve_sparsity=sparse
        )

    def build(self, tensor_shape: tf.TensorShape, name: str, layer: object) -> dict:
        """Return the variables of a layer.

        Gradients of centroids are means, as in ``cluster``, not sums.
        """
        variables = super().build(tensor_shape, name, layer)
        if registry.CLUSTERING_IMPL in variables:
            algorithm = variables[registry.CLUSTERING_IMPL]
            algorithm.cluster_gradient_aggregation = GradientAggregation.AVG
        return variables


class SharedWeights(default_8bit_quantize_registry.Default8BitConvQuantizeConfig):
    """Configures the quantization of a convolution whose few different weights are trained.

    Args:
        sparse: whether zeros stay zeros.
    """

    def __init__(self, sparse: bool):
        super().__init__(["kernel"], ["activation"], quantize_output=False)
        self.sparse = sparse
        self.weight_quantizer = SharedWeightsQuantizer(sparse)

    def get_config(self) -> dict:
        """Return the arguments of the constructor."""
        return {"sparse": self.sparse}


def scheme(sparse: bool) -> object:
    """Return tfmot's scheme for the layers whose weights are not shared."""
    if sparse:
        return keeps_zeros.Default8BitPrunePreserveQuantizeScheme()
    return default_8bit_quantize_scheme.Default8BitQuantizeScheme()


@contextmanager
def scope() -> Iterator[None]:
    """Register :class:`SharedWeights`, and let tfmot look for shared weights in whole kernels.

    Otherwise it treats each channel by itself if all have about as many different weights.
    """

    def of_the_kernel(layer: object, kernel: tf.Tensor, data_format: str) -> tuple:
        values, indices = registry.get_unique(kernel)
        return values, tf.size(values), indices, False

    with (
        quantization.quantize_scope({"SharedWeights": SharedWeights}),
        mock.patch.object(registry, "get_centroids", of_the_kernel),
    ):
        yield
