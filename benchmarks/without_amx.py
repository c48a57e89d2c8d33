"""Run another benchmark as on a processor without AMX.

    pip install pyseccomp
    python benchmarks/without_amx.py benchmarks/latency_vs_mlperf_tiny.py RUN/export ANCHORS

On processors with AMX, LiteRT's XNNPACK takes AMX kernels for int8, which are slower than its
AVX-512 VNNI ones where layers have few channels. Linux gives a process AMX only on request; here
the request (arch_prctl with ARCH_REQ_XCOMP_PERM) is refused, and XNNPACK falls back.
"""

import errno
import runpy
import sys

import pyseccomp

ARCH_REQ_XCOMP_PERM = 0x1023


def main(script: str, *arguments: str) -> None:
    """Refuse AMX to this process and run ``script`` in it."""
    rules = pyseccomp.SyscallFilter(pyseccomp.ALLOW)
    request = pyseccomp.Arg(0, pyseccomp.EQ, ARCH_REQ_XCOMP_PERM)
    rules.add_rule(pyseccomp.ERRNO(errno.EPERM), "arch_prctl", request)
    rules.load()
    sys.argv = [script, *arguments]
    runpy.run_path(script, run_name="__main__")


if __name__ == "__main__":
    main(*sys.argv[1:])
