"""Gradients of convolutions' kernels in bfloat16 on a CPU: TensorFlow's own and ours, in turn.

    python benchmarks/kernel_gradients.py

Convolutions of ResNet-18 (CIFAR stem, batches of 128) and of ResNet-50 (batches of 32), medians of
alternating rounds. ``tfresnet.training.convolution`` uses products from 256 channels on.
"""

import os
import statistics
import time
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")

import click
import tensorflow as tf

from tfresnet.training.convolution import CHANNELS, kernel_gradient

CASES = [  # batch, pixels, channels in and out, kernel, stride
    (128, 32, 64, 64, 3, 1),
    (128, 16, 128, 128, 3, 1),
    (128, 16, 128, 256, 3, 2),
    (128, 8, 256, 256, 3, 1),
    (128, 8, 256, 512, 3, 2),
    (128, 4, 512, 512, 3, 1),
    (128, 2, 512, 512, 3, 1),
    (32, 14, 256, 256, 3, 1),
    (32, 14, 1024, 256, 1, 1),
    (32, 14, 512, 512, 3, 2),
    (32, 14, 1024, 2048, 1, 2),
    (32, 7, 512, 512, 3, 1),
    (32, 7, 2048, 512, 1, 1),
]


def functions(
    batch: int, pixels: int, channels: int, filters: int, kernel: int, stride: int
) -> list[Callable[[], tf.Tensor]]:
    """Return TensorFlow's gradient and ours, of the same random images and errors."""
    images = tf.cast(tf.random.normal([batch, pixels, pixels, channels]), tf.bfloat16)
    after = -(-pixels // stride)
    errors = tf.cast(tf.random.normal([batch, after, after, filters]), tf.bfloat16)
    size, strides = (kernel, kernel), (stride, stride)

    @tf.function
    def theirs() -> tf.Tensor:
        return tf.raw_ops.Conv2DBackpropFilter(
            input=images,
            filter_sizes=[*size, channels, filters],
            out_backprop=errors,
            strides=[1, *strides, 1],
            padding="SAME",
        )

    @tf.function
    def ours() -> tf.Tensor:
        return kernel_gradient(images, errors, size, strides, "SAME")

    return [theirs, ours]


@click.command()
@click.option("--rounds", default=9, show_default=True)
def main(rounds: int) -> None:
    """Print a line a convolution."""
    click.echo(f"{'convolution':<40}{'TensorFlow':>12}{'products':>12}{'ratio':>8}")
    for case in CASES:
        pair, seconds = functions(*case), ([], [])
        for function in pair:
            function()
        for _ in range(rounds):
            for function, times in zip(pair, seconds, strict=True):
                before = time.perf_counter()
                function()
                times.append(time.perf_counter() - before)
        theirs, ours = (1000 * statistics.median(times) for times in seconds)
        batch, pixels, channels, filters, kernel, stride = case
        name = f"{batch}x{pixels}x{pixels} {channels}->{filters} {kernel}x{kernel} /{stride}"
        used = "" if channels >= CHANNELS else "  (not used)"
        click.echo(f"{name:<40}{theirs:>9.2f} ms{ours:>9.2f} ms{theirs / ours:>7.2f}x{used}")


if __name__ == "__main__":
    main()
