"""Estimate the flash that TFLite Micro's code takes, beside the model.

The sizes are of TFLite Micro of 2026-08-20 (commit 90b983c) with its reference kernels, compiled
for a Cortex-M4 by clang (``zig c++ -Os -ffunction-sections -fdata-sections -fno-exceptions
-fno-rtti``, linked with ``--gc-sections``): code, constants and initial data of a program, less
those of an empty one. A kernel's is what it adds to a program with a convolution, so that what
kernels share is counted once. For the seven kinds of operations of a ResNet-8 the sum is 1.2 % more
than a program with all of them has. Other kernels, such as CMSIS-NN, and other compilers give other
sizes.
"""

from collections.abc import Iterable

SOURCE = (
    "the C array, and an estimate of TFLite Micro's code: its reference kernels for these "
    "operations, as clang -Os makes them for a Cortex-M4"
)
INTERPRETER = 32_430  # with the C library's printf, for its messages
KERNELS = {
    "ADD": 6_804, "AVERAGE_POOL_2D": 3_088, "CONCATENATION": 4_488, "CONV_2D": 12_144,
    "DEPTHWISE_CONV_2D": 4_628, "DEQUANTIZE": 1_360, "FULLY_CONNECTED": 4_824, "LOGISTIC": 4_998,
    "MAX_POOL_2D": 2_984, "MEAN": 5_088, "MUL": 6_128, "PAD": 4_496, "QUANTIZE": 2_684,
    "RESIZE_BILINEAR": 3_358, "SOFTMAX": 7_612,
}  # fmt: skip
# Of the others, the mean of what all of ``micro_operations`` but DECODE take beside these.
OTHER_KERNEL = 3_052
ETHOS_U = "ETHOS_U"  # the operation that Vela makes; its kernel and driver were not compiled


def code_bytes(operations: Iterable[str]) -> int:
    """Estimate the code that a model with these kinds of operations needs."""
    return INTERPRETER + sum(KERNELS.get(name, OTHER_KERNEL) for name in operations)
