"""How long the command line takes from a cold process: median of alternating rounds.

python benchmarks/cold_start.py MODEL.tflite IMAGE
"""

import statistics
import subprocess
import sys
import time

ROUNDS = 15


def main(model: str, image: str) -> None:
    """Print the medians of --help and predict, beside those of an empty Python process."""
    commands = {
        "python -c pass": [sys.executable, "-c", "pass"],
        "tfresnet --help": ["tfresnet", "--help"],
        "tfresnet predict": ["tfresnet", "predict", model, image],
        "tfresnet info": ["tfresnet", "info", model],
    }
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(ROUNDS):
        for name, command in commands.items():
            started = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            seconds[name].append(time.perf_counter() - started)
    for name, times in seconds.items():
        print(f"{name:<18} {statistics.median(times):.3f} s  (slowest {max(times):.3f} s)")


if __name__ == "__main__":
    main(*sys.argv[1:3])
