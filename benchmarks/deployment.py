"""What the exported files of trained runs cost and lost, beside the anchors of MLPerf Tiny.

    python benchmarks/deployment.py RUN... [--anchors ../shared/anchors/mlperf_tiny]

Each RUN was exported with `tfresnet export RUN --tflite --onnx --qat-epochs N`. Accuracy and sizes
come from the reports, measured on all held-out images. Latencies are measured here: one thread,
the files in alternating rounds, medians. The overhead is that of `Classifier.probabilities` over
`set_tensor`, `invoke` and `get_tensor`, for an image in memory.
"""

import argparse
import json
import statistics
import time
from pathlib import Path

import numpy as np

from tfresnet.deploy.device.benchmark import compare
from tfresnet.runtime.predictor import Classifier

ROUNDS = 15


def main() -> None:
    """Print one table a run, and the ratios to the anchors."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("runs", nargs="+", type=Path)
    parser.add_argument("--anchors", type=Path)
    arguments = parser.parse_args()
    anchors = sorted(arguments.anchors.glob("*_int8.tflite")) if arguments.anchors else []
    for run in arguments.runs:
        _table(run, anchors)


def _table(run: Path, anchors: list[Path]) -> None:
    report = json.loads((run / "export" / "report.json").read_text())
    print(f"{run.name}: checkpoint {report['checkpoint_top1']:.2%}, n = {report['n']:,}")
    records = {Path(a["path"]).name: a for a in report["artifacts"]}
    files = [run / "export" / n for n in records if n.endswith((".tflite", ".onnx"))]
    times = {Path(r["path"]).name: r["p50_ms"] for r in compare([*files, *anchors], [1], ROUNDS)}
    base = "model_float32.tflite"
    for name, a in records.items():
        if name in times:
            size, share = a["bytes"] / 1000, a["bytes"] / records[base]["bytes"]
            print(
                f"  {name:<30} {a['top1']:.2%}  drop {a['drop']:+.2f}  {size:9,.1f} kB "
                f"({share:.3f} x)  {times[name]:8.3f} ms  "
                f"{times[base] / times[name]:5.2f} x as fast as float32"
            )
    for anchor in anchors:
        ratio = times["model_int8.tflite"] / times[anchor.name]
        print(f"  our int8 / {anchor.name}: {ratio:.3f} of its time")
    print(f"  overhead of the runtime: {_overhead(run / 'export' / 'model_int8.tflite'):+.1%}")


def _overhead(path: Path) -> float:
    """Return by how much the runtime is slower than the bare interpreter, in alternating rounds."""
    classifier = Classifier(path)
    bare = classifier.model.interpreter
    image = np.random.default_rng(0).integers(0, 256, classifier.model.input_shape, np.uint8)
    entry, answer = bare.get_input_details()[0]["index"], bare.get_output_details()[0]["index"]

    def plain() -> None:
        bare.set_tensor(entry, image)
        bare.invoke()
        bare.get_tensor(answer)

    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(40):
        for call, found in zip(
            (plain, lambda: classifier.probabilities(image)), times, strict=True
        ):
            started = time.perf_counter()
            for _ in range(50):
                call()
            found.append(time.perf_counter() - started)
    return statistics.median(times[1]) / statistics.median(times[0]) - 1


if __name__ == "__main__":
    main()
