"""The formats and quantizations of exported files: one row each, which loads no library.

A format's converter is in ``tfresnet.deploy.formats``, in the class that its row names (see
``formats.base`` there). A row's name is what files, JSON and the command line
call it; code compares rows, not names.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tfresnet.runtime import paths
from tfresnet.runtime.errors import unknown

INTERFACES = ("uint8", "integer", "float")


@dataclass(frozen=True)
class Quantization:
    """A way to store the weights of a network and to compute with them.

    Attributes:
        name: as in file names, in JSON and on the command line.
        weights: bits of the weights.
        activations: bits of integer activations, whose ranges calibration images set; None for
            float activations.
        dynamic: whether float activations are quantized, and their results dequantized, at run
            time.
        edges: bits of the weights of the first convolution and of the classifier, where they differ
            from ``weights``.
        selective: whether some layers stay in float.
        tolerance: largest difference of a probability from the checkpoint's; None where rounding
            may change more.
        preferred: whether a device gets this one first.
    """

    name: str
    weights: int
    activations: int | None = None
    dynamic: bool = False
    edges: int | None = None
    selective: bool = False
    tolerance: float | None = None
    preferred: bool = False

    @property
    def integer(self) -> bool:
        """Whether all operations compute with integers, activations too."""
        return self.activations is not None and not self.selective

    @property
    def integer_arithmetic(self) -> bool:
        """Whether convolutions multiply integers, on whose speed the processor has a say."""
        return self.integer or self.dynamic


FLOAT32 = Quantization("float32", weights=32, tolerance=1e-4)
# Weights have 11 bits: of 100,000 probabilities of a ResNet-20 with 92.6 % on CIFAR-10 the worst is
# off by 0.012, with no answer changed; one that is off by 0.05 is a fault of the conversion.
FLOAT16 = Quantization("float16", weights=16, tolerance=5e-2)
DYNAMIC = Quantization("dynamic", weights=8, dynamic=True)
INT8 = Quantization("int8", weights=8, activations=8, preferred=True)
INT16X8 = Quantization("int16x8", weights=8, activations=16)
INT4 = Quantization("int4", weights=4, activations=8)
INT4_MIXED = Quantization("int4_mixed", weights=4, activations=8, edges=8)
INT8_WEIGHTS = Quantization("int8_weights", weights=8)
INT4_WEIGHTS = Quantization("int4_weights", weights=4)
# Of the automatic choice alone, which says which layers stay in float.
INT8_SELECTIVE = Quantization("int8_selective", weights=8, activations=8, selective=True)
# The same, which says which layers have 4-bit weights; the others have 8.
INT4_SELECTIVE = Quantization("int4_selective", weights=4, activations=8)


@dataclass(frozen=True)
class FormatRow:
    """What is known about a format without its converter.

    Attributes:
        name: as in JSON; on the command line ``--name``.
        implementation: module and class in ``tfresnet.deploy.formats`` that convert to it.
        title: what people call it.
        help: what its flag on the command line says.
        suffix: of its files; empty for a folder.
        beside: suffixes of the files that belong to each of them.
        file_name: pattern of the path of a file in ``export/``, with ``{quantization}`` and
            ``{suffix}``, which says what was done to the network: ``_pruned``, ``_qat``.
        quantizations: those that it can have, in the order in which they are made.
        batch: images at a time if none are asked for; None for any number.
        fixed_batch: whether it can have no other batch.
        interfaces: of ``INTERFACES``, those that it can have.
        takes_compressed: whether files are made of pruned and clustered networks too.
        takes_quantization_aware: whether int8 files are made of networks trained with fake
            quantization too.
        in_browser: whether browsers can run it, by ``tfresnet demo``.
        portable: whether it runs without TensorFlow, so that the bundle may hold it.
        preferred: whether a device gets this one first.
        usual: whether it is made if no format is asked for.
        requirements: what ``pip`` installs to run it in the bundle, one a line.
        suppresses: whether a detector's files can choose among their boxes by themselves.
        marker: of its files in a figure, as matplotlib names it, and the same sign as text.
    """

    name: str
    implementation: str
    title: str
    help: str
    suffix: str
    file_name: str
    quantizations: tuple[Quantization, ...]
    batch: int | None = None
    fixed_batch: bool = False
    interfaces: tuple[str, ...] = INTERFACES
    takes_compressed: bool = False
    takes_quantization_aware: bool = False
    in_browser: bool = False
    portable: bool = True
    preferred: bool = False
    usual: bool = False
    requirements: str = ""
    beside: tuple[str, ...] = ()
    suppresses: bool = False
    marker: tuple[str, str] = ("o", "●")

    def files(self, path: Path) -> list[Path]:
        """Return a file and those that belong to it."""
        return [path, *(path.with_suffix(suffix) for suffix in self.beside)]

    @property
    def pattern(self) -> str:
        """The pattern of all its files in ``export/``, as ``Path.glob`` takes it."""
        return self.file_name.format(quantization="*", suffix="*").replace("**", "*")


# tflite-runtime's last version is older than NumPy 2, and does not run with it.
LITERT = """\
ai-edge-litert; platform_machine != "armv7l"
numpy; platform_machine != "armv7l"
tflite-runtime; platform_machine == "armv7l"
numpy<2; platform_machine == "armv7l"
Pillow
"""
TFLITE = FormatRow(
    name="tflite",
    implementation="tflite.TfliteFormat",
    title="TFLite",
    help="TFLite files.",
    suffix=paths.TFLITE,
    file_name="model_{quantization}{suffix}.tflite",
    quantizations=(
        FLOAT32, FLOAT16, DYNAMIC, INT8, INT16X8, INT4, INT4_MIXED, INT8_WEIGHTS, INT4_WEIGHTS,
    ),
    batch=1,
    takes_compressed=True,
    takes_quantization_aware=True,
    in_browser=True,
    preferred=True,
    usual=True,
    requirements=LITERT,
    suppresses=True,
)  # fmt: skip
ONNX = FormatRow(
    name="onnx",
    implementation="onnx_format.OnnxFormat",
    title="ONNX",
    help="ONNX files.",
    suffix=paths.ONNX,
    file_name="model_{quantization}{suffix}.onnx",
    quantizations=(FLOAT32, FLOAT16, INT8),
    interfaces=("uint8", "float"),
    takes_quantization_aware=True,
    in_browser=True,
    usual=True,
    requirements="onnxruntime\nnumpy\nPillow\n",
    suppresses=True,
    marker=("s", "■"),
)
SAVED_MODEL = FormatRow(
    name="saved_model",
    implementation="saved_model.SavedModelFormat",
    title="SavedModel",
    help="SavedModel, float32, for TF Serving.",
    suffix="",
    file_name="saved_model{suffix}",
    quantizations=(FLOAT32,),
    interfaces=("uint8",),
    portable=False,
    marker=("^", "▲"),
)
PACKED = "packed"  # folder beside a file of TFLite Micro: the same model with packed weights
TFLM = FormatRow(
    name="tflm",
    implementation="microcontroller.MicrocontrollerFormat",
    title="TFLite Micro",
    help="int8 as a C array, for TFLite Micro.",
    suffix=paths.TFLITE,
    file_name="tflm{suffix}/model_{quantization}{suffix}.tflite",
    quantizations=(INT8,),
    batch=1,
    fixed_batch=True,
    takes_compressed=True,
    takes_quantization_aware=True,
    requirements=LITERT,
    marker=("D", "◆"),
)
OPENVINO = FormatRow(
    name="openvino",
    implementation="openvino_format.OpenVinoFormat",
    title="OpenVINO",
    help="OpenVINO IR files.",
    suffix=paths.OPENVINO,
    file_name="model_{quantization}{suffix}.xml",
    beside=(".bin",),
    quantizations=(FLOAT32, FLOAT16, INT8),
    interfaces=("uint8", "float"),
    takes_quantization_aware=True,
    requirements="openvino\nnumpy\nPillow\n",
    marker=("v", "▼"),
)
FORMATS = {row.name: row for row in (TFLITE, ONNX, SAVED_MODEL, TFLM, OPENVINO)}
# Those that can be asked for, and all.
OFFERED = {q.name: q for row in FORMATS.values() for q in row.quantizations}
QUANTIZATIONS = {**OFFERED, **{q.name: q for q in (INT8_SELECTIVE, INT4_SELECTIVE)}}
USUAL = (FLOAT32, FLOAT16, DYNAMIC, INT8)
USUAL_FORMATS = tuple(row for row in FORMATS.values() if row.usual)

Row = TypeVar("Row", Quantization, FormatRow)


def format_named(name: str) -> FormatRow:
    """Return a format's row, or raise an ``InputError`` that lists what there is."""
    if name not in FORMATS:
        raise unknown("format", name, FORMATS)
    return FORMATS[name]


def quantization_named(name: str) -> Quantization:
    """Return a quantization's row, or raise an ``InputError`` that lists what there is."""
    if name not in QUANTIZATIONS:
        raise unknown("quantization", name, OFFERED)
    return QUANTIZATIONS[name]


def of_path(path: Path) -> FormatRow | None:
    """Return the format of a model file or SavedModel, by its name; None for anything else."""
    if (path / "saved_model.pb").is_file():
        return SAVED_MODEL
    suffix = path.suffix.lower()
    return next((row for row in FORMATS.values() if row.suffix == suffix != ""), None)


def names(rows: Iterable[Row]) -> str:
    """Return the names of rows in one line, for a message."""
    return ", ".join(row.name for row in rows)
