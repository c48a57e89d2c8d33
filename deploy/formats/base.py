"""What every format does: convert a network, describe, audit, write and open a file.

A new format is a module beside this one with a class that derives from :class:`Format`, a row in
``tfresnet.config.formats`` that names them, and, so that a device can run its files, a backend in
``tfresnet.runtime.backends`` and a reader in ``tfresnet.runtime.metadata``.
"""

from abc import ABC, abstractmethod
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from tfresnet.config.export import ExportConfig
from tfresnet.config.formats import FormatRow, Quantization
from tfresnet.deploy.formats.kernels import layer_name
from tfresnet.runtime.backends import Backend, open_model
from tfresnet.runtime.metadata import ModelMetadata
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import write_bytes

if TYPE_CHECKING:
    from tfresnet.keras2 import keras

Content = TypeVar("Content")  # a converted model in memory: bytes, or whatever a format needs


@dataclass(frozen=True)
class Source:
    """A network to be converted.

    Attributes:
        model: the network, an embedding without its head (``wrap.Embedding``), or a network with
            fake quantization.
        spec: what it expects of a picture.
        output: what its outputs mean.
        calibration: training images, uint8 [n, H, W, C], that set the ranges of activations.
        kind: what the file gives, see ``runtime.metadata``; by default the task's first kind.
        ranges: how the calibration images set the ranges, a key of
            ``activation_ranges.METHODS``. Fake quantization has ranges of its own.
    """

    model: "keras.Model"
    spec: InputSpec
    output: OutputSpec
    calibration: np.ndarray
    kind: str = ""
    ranges: str = "min-max"

    @property
    def network(self) -> "tuple[keras.Model, InputSpec, OutputSpec]":
        """The first arguments of most converters."""
        return self.model, self.spec, self.output


@dataclass(frozen=True)
class SlimShape:
    """What a network is like after channels were removed.

    Attributes:
        inner_widths: as ``model.inner_widths``.
        parameters: trainable ones.
        macs: multiply-adds of one image.
    """

    inner_widths: tuple[int, ...]
    parameters: int
    macs: int


@dataclass(frozen=True)
class Compression:
    """What fine-tuning made of a network before it is converted.

    Attributes:
        slim: what is left of a network whose channels were removed; None if none were, or if it is
            not known yet.
        slims: the part of a file's name that says that channels were removed; empty if none were.
        prune: share of the weights that were set to 0, from 0 to 1; 0 if it was not pruned.
        pattern: of the zeros, a value of ``ExportConfig.sparsity``.
        clusters: different weights that each clustered kernel may have in the file; 0 for any.
        epochs: of fine-tuning with pruning or clusters.
        qat_epochs: of quantization-aware training; 0 if there was none.
    """

    prune: float = 0.0
    pattern: str = "unstructured"
    clusters: int = 0
    epochs: int = 0
    qat_epochs: int = 0
    slims: str = ""
    slim: SlimShape | None = None

    @property
    def suffix(self) -> str:
        """The part of a file's name that says so, such as ``_pruned_qat``; else empty."""
        done = {self.slims: self.slims, "pruned": self.prune, "clustered": self.clusters,
                "qat": self.qat_epochs}  # fmt: skip
        return "".join(f"_{name}" for name, value in done.items() if value)

    def to_dict(self) -> dict[str, Any]:
        """Return what was done, for the metadata; empty if nothing was."""
        used = asdict(self) if self.suffix else {}
        used.pop("slims", None)
        return {
            key: value for key, value in used.items() if value and (key != "pattern" or self.prune)
        }


@dataclass(frozen=True)
class Target:
    """One file to be made.

    Attributes:
        format: its row.
        quantization: its row, one of the format's.
        compression: what was done to the network.
        keep_float: layers that stay in float, by the names of their output tensors.
        four_bits: layers with 4-bit weights where most have 8, named in the same way.
    """

    format: FormatRow
    quantization: Quantization
    compression: Compression = Compression()
    keep_float: tuple[str, ...] = ()
    four_bits: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The file's path in the folder of the export."""
        layers = len(self.keep_float or self.four_bits)
        suffix = self.compression.suffix + (f"_{layers}" if layers else "")
        return self.format.file_name.format(quantization=self.quantization.name, suffix=suffix)

    @property
    def recipe(self) -> dict[str, Any]:
        """How the network is quantized, for the metadata: bits, and the layers with others."""
        kind = self.quantization
        values = {
            "weights": 8 if self.four_bits else kind.weights,
            "activations": kind.activations,
            "dynamic": kind.dynamic,
            "edges": kind.edges,
            "keep_float": list(self.keep_float),
            "four_bits": [layer_name(tensor) for tensor in self.four_bits],
        }
        return {key: value for key, value in values.items() if value}


@dataclass(frozen=True)
class PackedModel:
    """What packing the weights of a model changes, see ``weight_tables``.

    Attributes:
        bytes: of the array with packed weights, in flash.
        unpacked_bytes: of the array without.
        arena_bytes: of RAM with packed weights, an estimate.
        unpacked_arena_bytes: of RAM without.
        same_weights: whether unpacking gives the same weights, bit for bit.
        same_answers: whether TFLite Micro gives the same answers; None where it is not installed.
    """

    bytes: int
    unpacked_bytes: int
    arena_bytes: int
    unpacked_arena_bytes: int
    same_weights: bool
    same_answers: bool | None


@dataclass(frozen=True)
class Audit:
    """What is read from a converted model without running it; None for what is not known of it.

    Attributes:
        float_operations: operations that compute with float numbers, as ``NAME at output``.
        sparsity: share of zeros among the weights, 0 to 1.
        unique_weights: the most different weights of a kernel, see ``graph.unique_weights``.
        delegates: how much of it each delegate runs, see ``delegates.advice``.
        gzip_bytes: its size after gzip.
        packed: of a model that is written with packed weights too.
    """

    float_operations: tuple[str, ...] | None = None
    sparsity: float | None = None
    unique_weights: int | None = None
    delegates: dict[str, str] | None = None
    gzip_bytes: int | None = None
    packed: PackedModel | None = None


class Format(ABC, Generic[Content]):
    """What a format does; it has no state but its row."""

    def __init__(self, row: FormatRow):
        self.row = row

    def check_installed(self) -> None:
        """Raise an ``InputError`` if a library is missing that tfresnet does not install itself."""

    @abstractmethod
    def convert(self, source: Source, target: Target, config: ExportConfig) -> Content:
        """Convert a network; nothing is written.

        Raises:
            InputError: this network can't be had in this way.
        """

    @abstractmethod
    def embed_metadata(self, content: Content, metadata: ModelMetadata) -> Content:
        """Put what a file says about itself into a converted model."""

    def audit(self, content: Content) -> Audit:
        """Read what a converted model, without metadata, is made of."""
        return Audit()

    def write(self, content: Content, path: Path) -> None:
        """Write a converted model over what is at ``path``."""
        assert isinstance(content, bytes)
        write_bytes(path, content)

    def size(self, path: Path) -> int:
        """Return the bytes on disk."""
        return sum(file.stat().st_size for file in self.row.files(path))

    def open(self, path: Path, threads: int) -> Backend:
        """Open a written model."""
        return open_model(path, threads)

    def command(self, name: str) -> str:
        """Return what runs a file called ``name`` beside the bundle, from a shell."""
        return f"python bundle/classify.py {name} photo.jpg"
