"""Tell which processors run a TFLite file, from its operations and their data types.

A delegate hands the operations that it has to another processor; the others stay on the CPU, and
what is split between two processors is often slower than on the CPU alone. Read from the file, by
what the delegates' documentation says: only the device can tell how fast it is, and vendors'
drivers may refuse more.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from tfresnet.deploy.formats import graph

INDICES = frozenset({"INT32", "INT64", "BOOL"})  # axes, shapes and biases, beside any numbers
FLOAT, INT8, UINT8, INT16, FLOAT16 = "FLOAT32", "INT8", "UINT8", "INT16", "FLOAT16"
BYTES = frozenset({INT8, UINT8})
CLASSES = frozenset({"INT32", UINT8})  # the numbers of a class map, and its bytes

# Of the operations that our networks become.
COMMON = frozenset({
    "ADD", "AVERAGE_POOL_2D", "CONCATENATION", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED",
    "LOGISTIC", "MAX_POOL_2D", "MUL", "RELU", "RELU6", "RESHAPE", "RESIZE_BILINEAR", "SOFTMAX",
})  # fmt: skip
MORE = frozenset({"MEAN", "PAD", "STRIDED_SLICE", "SUB"})
Numbers = tuple[frozenset[str], ...]


@dataclass(frozen=True)
class Delegate:
    """What a delegate supports.

    Attributes:
        name: as in JSON.
        processor: what people call it.
        operations: those that it has, but for conversions; None for all.
        numbers: the types of the tensors of an operation that it computes, by alternatives.
        conversions: the same of CAST, QUANTIZE and DEQUANTIZE.
        export: options of ``tfresnet export`` that suit it.
        note: what else to know.
        source: documentation that says so.
        refusal: what happens to a file that it takes nothing much of.
    """

    name: str
    processor: str
    operations: frozenset[str] | None
    numbers: Numbers
    conversions: Numbers
    export: str
    note: str
    source: str
    refusal: str = "no"

    def takes(self, operation: graph.Operation) -> bool:
        """Tell whether the delegate runs an operation of a file."""
        if operation.name in graph.CONVERSIONS:
            return any(operation.types <= known for known in self.conversions)
        types = operation.types - INDICES
        known_operation = self.operations is None or operation.name in self.operations
        return known_operation and any(types <= known for known in self.numbers)


FLOATS: Numbers = (frozenset({FLOAT, FLOAT16}),)
INT8S: Numbers = (frozenset({INT8}),)
INTEGER = "--quantize int8 --interface integer"
FLOAT16S = "--quantize float16 --interface float"
DELEGATES = (
    Delegate(
        "xnnpack", "CPU (XNNPACK)",
        COMMON | MORE | {"HARD_SWISH"},
        # Kernels in int8 with float activations are the dynamic ones.
        (frozenset({FLOAT, INT8}), frozenset({FLOAT, FLOAT16})),
        (frozenset({FLOAT, INT8, UINT8, FLOAT16}),),
        "--quantize int8",
        "on by default; what it has not runs on slower kernels of the same processor",
        "https://github.com/tensorflow/tensorflow/blob/master/tensorflow/lite/delegates/xnnpack/README.md",
        "by slower kernels",
    ),
    Delegate(
        "gpu", "GPU",
        COMMON | MORE | {"HARD_SWISH"},
        FLOATS + INT8S,
        (frozenset({FLOAT, FLOAT16}), frozenset({FLOAT, INT8}), BYTES),
        FLOAT16S,
        "computes in float16 or float32, int8 files too; has no CAST from uint8",
        "https://ai.google.dev/edge/litert/performance/gpu",
    ),
    Delegate(
        "coreml", "Core ML (Apple)",
        COMMON | {"HARD_SWISH"},
        FLOATS, (),
        FLOAT16S,
        "A12 and later; has no MEAN, which is what global pooling becomes",
        "https://ai.google.dev/edge/litert/ios/coreml",
    ),
    Delegate(
        "qnn", "QNN (Qualcomm)",
        None, FLOATS + INT8S,
        (frozenset({FLOAT, INT8}), BYTES, CLASSES),
        INTEGER,
        "replaces the older Hexagon delegate; which operations it has depends on the chip",
        "https://docs.qualcomm.com/bundle/publicresource/80-80022-15B/topics/run-litert-model-on-npu.md",
    ),
    Delegate(
        "nnapi", "NNAPI (Android)",
        None, FLOATS + INT8S,
        (frozenset({FLOAT, INT8}), BYTES, CLASSES),
        INTEGER,
        "deprecated since Android 15; which operations it has depends on the driver",
        "https://developer.android.com/ndk/guides/neuralnetworks/migration-guide",
    ),
    Delegate(
        "edgetpu", "Edge TPU (Coral)",
        COMMON | MORE,
        (BYTES,), (BYTES,),
        INTEGER,
        "needs edgetpu_compiler; what follows the first operation that it has not is on the CPU",
        "https://coral.ai/docs/edgetpu/models-intro/",
    ),
    Delegate(
        "ethos-u", "Ethos-U (Arm)",
        COMMON | MORE | {"ARG_MAX", "HARD_SWISH"},
        (BYTES, frozenset({INT8, INT16})), (BYTES, frozenset({INT8, INT16})),
        INTEGER,
        "needs Arm's compiler Vela; 16-bit activations too",
        "https://gitlab.arm.com/artificial-intelligence/ethos-u/ethos-u-vela/-/blob/5.2.0/SUPPORTED_OPS.md",
    ),
)  # fmt: skip


def advice(content: bytes) -> list[dict]:
    """Return what each of ``DELEGATES`` does with a TFLite file.

    Returns:
        Dictionaries with ``delegate processor runs left export note source``. ``runs`` is ``all``,
        ``part``, or ``none`` if it takes less than half of the convolutions and dense layers;
        ``left`` are the operations that stay on the CPU, with their number; ``export`` has the
        options that would change that, null if none do.
    """
    operations = [o for o in graph.operations(content) if not o.constant]
    return [_verdict(delegate, operations) for delegate in DELEGATES]


def _verdict(delegate: Delegate, operations: list[graph.Operation]) -> dict:
    left = [o for o in operations if not delegate.takes(o)]
    kernels = sum(o.name in graph.WITH_KERNELS for o in operations)
    kept = sum(o.name in graph.WITH_KERNELS for o in left)
    # Only numbers can be chosen; what it has in no numbers stays. An integer file's ending is too
    # small to choose others for, and has no place where all must be integer.
    known, integer = delegate.operations, delegate.export == INTEGER
    helps = any(
        (integer or not o.ending) and (known is None or o.name in known | set(graph.CONVERSIONS))
        for o in left
        if not o.types <= CLASSES
    )
    return {
        "delegate": delegate.name,
        "processor": delegate.processor,
        "runs": "all" if not left else "none" if 2 * kept > kernels else "part",
        "left": dict(Counter(o.name for o in left)),
        "export": delegate.export if helps else None,
        "note": delegate.note,
        "source": delegate.source,
    }


def lines(verdicts: list[dict]) -> Iterator[str]:
    """Yield lines of text for :func:`advice`, and the options that would let more of it run."""
    for verdict in verdicts:
        left = "all but " + ", ".join(verdict["left"])
        refusal = next(d.refusal for d in DELEGATES if d.name == verdict["delegate"])
        runs = {"all": "all", "part": left, "none": refusal}[verdict["runs"]]
        yield f"{verdict['processor']:<18}{runs}"
    suited: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict["export"]:
            suited.setdefault(verdict["export"], []).append(verdict["processor"].split(" (")[0])
    for options, processors in suited.items():
        yield f"Better for {', '.join(processors)}: {options}"
