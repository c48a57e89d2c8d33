"""Our exported ResNet against MLPerf Tiny's trained model: latency on one thread, and size.

    python benchmarks/latency_vs_mlperf_tiny.py RUN/export ANCHORS/mlperf_tiny

The four files take turns, so that a noisy machine is noisy for all; ratios are of medians.
MLPerf Tiny's models (Apache-2.0) are ic01_resnet8_{float,int8}.tflite of the benchmark's
image classification task.
"""

import sys
from pathlib import Path

from tfresnet.deploy.device.benchmark import compare

ROUNDS = 25


def main(export: Path, anchors: Path) -> None:
    """Print the medians and the three ratios."""
    paths = {
        "our int8": export / "model_int8.tflite",
        "our float32": export / "model_float32.tflite",
        "MLPerf Tiny int8": anchors / "ic01_resnet8_int8.tflite",
        "MLPerf Tiny float32": anchors / "ic01_resnet8_float.tflite",
    }
    records = compare(list(paths.values()), [1], ROUNDS)
    milliseconds = {name: r["p50_ms"] for name, r in zip(paths, records, strict=True)}
    for (name, time), record in zip(milliseconds.items(), records, strict=True):
        print(f"{name:<20} {time:.4f} ms   {record['bytes']:>8,} bytes   {record['runs']:,} runs")
    int8, theirs = milliseconds["our int8"], milliseconds["MLPerf Tiny int8"]
    print(f"our int8 / MLPerf Tiny int8     {int8 / theirs:.3f}")
    print(f"our float32 / our int8          {milliseconds['our float32'] / int8:.2f}")
    print(
        "our float32 / MLPerf Tiny float "
        f"{milliseconds['our float32'] / milliseconds['MLPerf Tiny float32']:.3f}"
    )


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
