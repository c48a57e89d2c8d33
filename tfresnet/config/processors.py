"""The processors that a bundle may be for: which files each of them runs fastest, and who says so.

On this machine's own kind latencies are measured; of the others a rule decides.
"""

import platform
from dataclasses import dataclass

from tfresnet.config.formats import (
    DYNAMIC,
    FLOAT16,
    FLOAT32,
    INT8,
    TFLITE,
    TFLM,
    FormatRow,
    Quantization,
)
from tfresnet.system import environment

VNNI = frozenset({"avx_vnni", "avx512_vnni", "amx_int8"})
FLOATS_FIRST = (FLOAT32, FLOAT16, DYNAMIC, INT8)
INT8_FIRST = (INT8, DYNAMIC, FLOAT16, FLOAT32)


@dataclass(frozen=True)
class Processor:
    """A kind of processor that files are chosen for.

    Attributes:
        name: on the command line: ``--target NAME``.
        title: what people call it.
        order: quantizations, the fastest first; those that are not among them come last.
        reason: why in this order, or why no others.
        source: who says so, or where it was measured.
        flags: this machine is of this kind if it has one of them; None if it can't be.
        without: and none of these.
        formats: those that it runs, and that are made if none are asked for; empty for any.
        delegates: a file must run on one of them as a whole, see ``delegates.DELEGATES``.
        interface: that is made if none is asked for.
    """

    name: str
    title: str
    order: tuple[Quantization, ...]
    reason: str
    source: str
    flags: frozenset[str] | None = None
    without: frozenset[str] = frozenset()
    formats: tuple[FormatRow, ...] = ()
    delegates: tuple[str, ...] = ()
    interface: str = "uint8"

    @property
    def is_firmware(self) -> bool:
        """Whether its files are compiled into a firmware."""
        return self.formats == (TFLM,)

    @property
    def is_here(self) -> bool:
        """Whether this machine is of this kind, so that what is measured here decides."""
        if self.flags is None:
            return False
        here = environment.processor_flags() | {platform.machine().lower()}
        return bool(self.flags & here) and not self.without & here


MEASURED = "docs/reference/measured.md"
ANY = Processor(
    "any", "any device", (INT8,), "int8 is the smallest, and what most devices run fastest",
    "https://ai.google.dev/edge/litert/models/post_training_quantization",
)  # fmt: skip
HERE = Processor(
    "here", "this machine", INT8_FIRST, "measured", MEASURED,
    flags=frozenset({platform.machine().lower()}),
)  # fmt: skip
PROCESSORS = {row.name: row for row in (
    ANY,
    HERE,
    Processor(
        "cpu-avx2", "x86 with AVX2, without VNNI", FLOATS_FIRST,
        "without dot products of bytes int8 is no faster than float32, often slower",
        MEASURED, flags=frozenset({"avx2"}), without=VNNI,
    ),
    Processor(
        "cpu-vnni", "x86 with VNNI", INT8_FIRST,
        "with dot products of bytes int8 is 3 to 4 times as fast as float32",
        MEASURED, flags=VNNI,
    ),
    Processor(
        "arm64", "64-bit Arm: phones, Raspberry Pi", INT8_FIRST,
        "int8 is up to 5 times as fast as float32 with dot products of bytes (Cortex-A55, A76), "
        "and still faster without (A72, A73)",
        "https://github.com/google/XNNPACK/issues/6653", flags=frozenset({"aarch64", "arm64"}),
    ),
    Processor(
        "mcu", "microcontrollers", (INT8,),
        "TFLite Micro has fast kernels for integers only",
        "https://discuss.ai.google.dev/t/dynamic-quantization/89391", formats=(TFLM,),
    ),
    Processor(
        "npu", "NPUs: Edge TPU, Ethos-U", (INT8,),
        "it computes with integers only, and what it does not take is left to a slow processor",
        "https://coral.ai/docs/edgetpu/models-intro/", formats=(TFLITE,),
        delegates=("edgetpu", "ethos-u"), interface="integer",
    ),
)}  # fmt: skip
