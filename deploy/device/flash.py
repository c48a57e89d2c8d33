"""Estimate the flash that TFLite Micro's code takes, beside the model."""

from collections.abc import Iterable

SOURCE = "the C array, and an estimate of TFLite Micro's code"
# Bytes of machine code: of the interpreter, and of the kernel of each operation.
INTERPRETER = 32_768
KERNELS = {"CONV_2D": 8_192, "FULLY_CONNECTED": 6_144}
OTHER_KERNEL = 3_072
ETHOS_U = "ETHOS_U"  # the operation that Vela makes


def code_bytes(operations: Iterable[str]) -> int:
    """Estimate the code that a model with these kinds of operations needs."""
    return INTERPRETER + sum(KERNELS.get(name, OTHER_KERNEL) for name in operations)
