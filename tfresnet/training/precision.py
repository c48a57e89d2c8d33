"""Choose the precision that is fast on this machine."""

import tensorflow as tf

from tfresnet.system import environment

# Instructions without which a processor takes 10 times as long for bfloat16 as for float32.
BFLOAT16_INSTRUCTIONS = {"avx512_bf16", "amx_bf16"}


def resolve(precision: str) -> str:
    """Return ``precision``; for ``auto``, the one that this machine's first device is fast at.

    GPUs: mixed_bfloat16 from compute capability 8 (Ampere) on, mixed_float16 from 7 on; CPUs:
    mixed_bfloat16 where they have instructions for it; else float32.
    """
    if precision != "auto":
        return precision
    gpus = tf.config.list_physical_devices("GPU")
    if not gpus:
        return "mixed_bfloat16" if _has_bfloat16() else "float32"
    capability = tf.config.experimental.get_device_details(gpus[0]).get("compute_capability")
    major = capability[0] if capability else 0
    return "mixed_bfloat16" if major >= 8 else "mixed_float16" if major == 7 else "float32"


def advice(precision: str) -> str | None:
    """Return a warning if a precision is slow on this machine, else None."""
    if precision == "float32" or tf.config.list_physical_devices("GPU"):
        return None
    known = environment.processor_flags()  # nothing outside of Linux on x86
    if not known or (precision == "mixed_bfloat16" and _has_bfloat16()):
        return None
    return (
        f"this processor has no fast instructions for train.precision={precision}; float32 is many "
        "times faster here"
    )


def _has_bfloat16() -> bool:
    return bool(BFLOAT16_INSTRUCTIONS & environment.processor_flags())
