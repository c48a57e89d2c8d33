"""What oneDNN, which tfresnet switches on, gains in training: each way in a process of its own.

    python benchmarks/onednn.py --arch resnet20

TensorFlow switches it on by itself on processors with AVX-512 VNNI, AVX512_BF16 or AMX; there
the ratio is 1.
"""

import json
import os
import statistics
import subprocess

import click


def rate(arch: str, onednn: str) -> float:
    """Return images/s of the computation, on digits at 32 x 32, as a dry run measures it."""
    command = ["tfresnet", "train", "--arch", arch, "--dry-run", "--json", "--batch-size", "128"]
    output = subprocess.run(
        [*command, "--set", "data.image_size=32"],
        env=os.environ | {"TF_ENABLE_ONEDNN_OPTS": onednn},
        check=True,
        capture_output=True,
        text=True,
    )
    return json.loads(output.stdout)["compute_images_per_second"]


@click.command()
@click.option("--arch", default="resnet20", show_default=True)
@click.option("--rounds", default=3, show_default=True)
def main(arch: str, rounds: int) -> None:
    """Print the medians of alternating rounds."""
    rates: dict[str, list[float]] = {"0": [], "1": []}
    for turn in range(rounds):
        for switch in sorted(rates, reverse=bool(turn % 2)):
            rates[switch].append(rate(arch, switch))
    without, with_ = (statistics.median(rates[switch]) for switch in "01")
    click.echo(f"{arch}: {without:,.0f} img/s without oneDNN, {with_:,.0f} with: "
               f"{with_ / without:.2f} x")  # fmt: skip


if __name__ == "__main__":
    main()
