"""Decide which files an export makes, also of what fine-tuning makes of the network."""

from dataclasses import replace

from tfresnet.config import formats
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.formats.base import Compression, Target


def plain(config: ExportConfig) -> list[Target]:
    """Return the files to make of the network as it is.

    Each format has those of the quantizations that it knows, else its first.
    """
    return [
        Target(row, kind)
        for row in config.rows
        for kind in [q for q in row.quantizations if q in config.kinds] or row.quantizations[:1]
    ]


def compressed(config: ExportConfig) -> list[Target]:
    """Return the files to make of the slim, pruned or clustered network; none if there is no such.

    A network that is only slim can be had in every format.
    """
    done = compression(config)
    anywhere = not (config.prune or config.cluster)
    return [
        replace(target, compression=done)
        for target in plain(config)
        if done.suffix and (anywhere or target.format.takes_compressed)
    ]


def trained(config: ExportConfig) -> list[Target]:
    """Return the files to make after quantization-aware training, all in int8.

    TFLite always, other formats if they are asked for in int8.
    """
    done, wanted = replace(compression(config), qat_epochs=config.qat_epochs), plain(config)
    every = [
        Target(row, formats.INT8)
        for row in formats.FORMATS.values()
        if row.takes_quantization_aware
    ]
    return [
        replace(target, compression=done)
        for target in every
        if config.qat_epochs and (target.format is formats.TFLITE or target in wanted)
    ]


def compression(config: ExportConfig) -> Compression:
    """Return what slimming, pruning and clustering do, before quantization-aware training."""
    if not (config.slims or config.prune or config.cluster):
        return Compression()
    return Compression(
        config.prune,
        config.sparsity,
        config.cluster,
        config.compress_epochs,
        slims="slim" if config.slims else "",
    )


def count(config: ExportConfig) -> int:
    """Return how many files there will be."""
    return len(plain(config)) + len(compressed(config)) + len(trained(config))


def calibrates(config: ExportConfig) -> bool:
    """Tell whether any file has integer activations, whose ranges images must set."""
    integer = any(target.quantization.activations for target in plain(config))
    return integer or config.qat_epochs > 0
