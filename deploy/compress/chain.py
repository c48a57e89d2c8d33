"""The compressors that there are, in the order in which they are applied.

Replace one here by another implementation of :class:`.base.Compressor`, and nothing else changes.
"""

from tfresnet.config.export import ExportConfig
from tfresnet.deploy.compress.base import Compressor
from tfresnet.deploy.compress.cluster import Clustering
from tfresnet.deploy.compress.prune import Pruning
from tfresnet.deploy.compress.qat import QuantizationAwareTraining
from tfresnet.deploy.compress.slim import Slimming
from tfresnet.deploy.formats import kernels
from tfresnet.deploy.formats.base import Target


def weight_compressors(config: ExportConfig) -> list[Compressor]:
    """Return the compressors of channels and weights that an export asks for."""
    found: list[Compressor] = []
    if config.slims:
        found.append(Slimming.of(config))
    if config.prune:
        found.append(Pruning(config.prune, config.sparsity, config.compress_epochs))
    if config.cluster:
        sparse = bool(config.prune)
        found.append(Clustering(config.cluster, config.compress_epochs, sparse))
    return found


def quantizers(config: ExportConfig) -> list[Compressor]:
    """Return the compressors that train a network for int8, after those of the weights."""
    if not config.qat_epochs:
        return []
    return [QuantizationAwareTraining(config.qat_epochs, bool(config.prune), bool(config.cluster))]


def quantizer_for(target: Target, epochs: int) -> Compressor:
    """Return the compressor that trains a network for the bits of a file."""
    if target.four_bits:
        layers = frozenset(kernels.layer_name(tensor) for tensor in target.four_bits)
        return QuantizationAwareTraining(epochs, four_bits=layers)
    kind = target.quantization
    return QuantizationAwareTraining(
        epochs, bits=kind.weights, edge_bits=kind.edges or kind.weights
    )
