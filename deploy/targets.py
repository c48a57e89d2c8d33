"""Which files an export makes, of the network as it is and of what fine-tuning makes of it."""

from dataclasses import replace

from tfresnet.config import formats
from tfresnet.config.export import ExportConfig
from tfresnet.deploy.formats.base import Target


def plain(options: ExportConfig) -> list[Target]:
    """Return the files to make of the network as it is.

    Each format has those of the quantizations that it knows, else its first.
    """
    return [
        Target(row, kind)
        for row in options.rows
        for kind in [q for q in row.quantizations if q.name in options.quantizations]
        or row.quantizations[:1]
    ]


def compressed(options: ExportConfig, suffix: str) -> list[Target]:
    """Return the files to make of the pruned or clustered network."""
    return [
        replace(target, suffix=suffix, clusters=options.cluster)
        for target in plain(options)
        if target.format.fine_tuned
    ]


def trained(options: ExportConfig, suffix: str) -> list[Target]:
    """Return the files to make of the network trained with fake quantization: all in int8.

    TFLite always, other formats if they are asked for in int8.
    """
    wanted = plain(options)
    return [
        replace(target, suffix=suffix, clusters=options.cluster)
        for target in (Target(row, formats.INT8) for row in formats.FORMATS.values() if row.trained)
        if target.format is formats.TFLITE or target in wanted
    ]


def count(options: ExportConfig) -> int:
    """Return how many files there will be, those of fine-tuned networks too."""
    total = len(plain(options))
    if options.prune or options.cluster:
        total += len(compressed(options, ""))
    return total + (len(trained(options, "")) if options.qat_epochs else 0)


def calibrates(options: ExportConfig) -> bool:
    """Tell whether any file has integer activations, whose ranges images must set."""
    integer = any(target.quantization.activations for target in plain(options))
    return integer or options.qat_epochs > 0
