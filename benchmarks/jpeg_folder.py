"""How fast a folder of JPEGs is read, against ``tf.io.decode_jpeg`` alone, in turn.

    python benchmarks/jpeg_folder.py

Ours decodes, turns upright, crops and resizes to 224 x 224 (or --size); the peer only reads and
decodes, at full size. Both are tf.data pipelines on all cores. The pictures are smooth noise of
quality 90: 500 x 375 as in ImageNet, and 2000 x 1500, nearer to what a phone takes. Then come the
milliseconds of processor time that each step of ours takes for one picture, on one thread.
"""

import io
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "1")  # as tfresnet does, which is imported too late

import click
import numpy as np
import tensorflow as tf
from PIL import Image, ImageFilter

from tfresnet import tasks
from tfresnet.config.sections import DataConfig
from tfresnet.data import pipeline
from tfresnet.data.splits import FileSplit
from tfresnet.runtime import preprocess
from tfresnet.runtime.spec import InputSpec, OutputSpec

BATCH = 32
CALLS = 20  # of a step, for each time that is taken
TIMES = 7  # of which the median counts


def write_pictures(folder: Path, count: int, width: int = 500) -> list[str]:
    """Write JPEGs of quality 90 and return their paths."""
    rng, paths = np.random.default_rng(0), []
    for number in range(count):
        coarse = Image.fromarray(rng.integers(0, 256, (94, 125, 3), np.uint8))
        picture = coarse.resize((width, width * 3 // 4), Image.Resampling.BICUBIC)
        picture = picture.filter(ImageFilter.GaussianBlur(1))
        paths.append(str(folder / f"{number}.jpg"))
        picture.save(paths[-1], quality=90)
    return paths


def ours(paths: list[str], spec: InputSpec) -> tf.data.Dataset:
    """What training reads, without augmentation."""
    targets = tasks.of(OutputSpec("classification", ("a", "b"))).targets
    split = FileSplit(paths, np.zeros(len(paths), np.int64), spec)
    plain = DataConfig(crop_padding=0, flip=False)
    return pipeline.train_batches(split, spec, targets, plain, BATCH, 0, 0, len(paths) // BATCH)


def decoding(paths: list[str]) -> tf.data.Dataset:
    """TensorFlow's decoder alone."""
    dataset = tf.data.Dataset.from_tensor_slices(paths)
    decoded = dataset.map(lambda p: tf.io.decode_jpeg(tf.io.read_file(p), 3), tf.data.AUTOTUNE)
    return decoded.batch(BATCH, drop_remainder=True).prefetch(tf.data.AUTOTUNE)


def rate(dataset: tf.data.Dataset) -> float:
    """Return images a second over the whole dataset."""
    started = time.perf_counter()
    batches = sum(1 for _ in dataset)
    return batches * BATCH / (time.perf_counter() - started)


def compare(width: int, images: int, size: int, rounds: int) -> None:
    """Print images/s of both and the ratio, for pictures of a width."""
    spec = InputSpec(size, size, crop_fraction=0.875)
    with tempfile.TemporaryDirectory() as folder:
        paths = write_pictures(Path(folder), images, width)
        kilobytes = sum(Path(p).stat().st_size for p in paths) / images / 1000
        parties = {"ours": ours(paths, spec), "decode_jpeg": decoding(paths)}
        rates: dict[str, list[float]] = {name: [] for name in parties}
        for turn in range(rounds + 1):  # the first warms up
            for name in sorted(parties, reverse=bool(turn % 2)):
                rates[name].append(rate(parties[name]))
    median = {name: statistics.median(found[1:]) for name, found in rates.items()}
    click.echo(
        f"{width} x {width * 3 // 4}, {kilobytes:.0f} kB: ours, resized to {size}, "
        f"{median['ours']:,.0f} img/s; tf.io.decode_jpeg alone {median['decode_jpeg']:,.0f} img/s: "
        f"{median['ours'] / median['decode_jpeg']:.2f} x"
    )


def show_steps(width: int, size: int) -> None:
    """Print the processor time of the steps that one picture goes through."""
    spec = InputSpec(size, size, crop_fraction=0.875)
    with tempfile.TemporaryDirectory() as folder:
        (path,) = write_pictures(Path(folder), 1, width)
        content = Path(path).read_bytes()
        encoded = tf.constant(content)

        def decoded() -> Image.Image:
            image = Image.open(io.BytesIO(content))
            image.draft("RGB", (spec.decoded_side, spec.decoded_side))
            image.load()
            return image

        image = decoded()
        steps: dict[str, Callable[[], object]] = {
            "tf.io.decode_jpeg": lambda: tf.io.decode_jpeg(encoded, 3),
            "Pillow decodes": decoded,
            "turned upright, RGB": lambda: preprocess.upright(image).convert("RGB"),
            "cropped, resized": lambda: preprocess.fit(image, spec),
            "ours together": lambda: preprocess.read(path, spec),
        }
        click.echo(f"{width} x {width * 3 // 4}, decoded to {image.width} x {image.height}:")
        for name, step in steps.items():
            click.echo(f"  {name:20} {milliseconds(step):6.2f} ms")


def milliseconds(step: Callable[[], object]) -> float:
    """Return the processor time of a call."""
    found = []
    for _ in range(TIMES + 1):  # the first warms up
        started = time.process_time()
        for _ in range(CALLS):
            step()
        found.append((time.process_time() - started) / CALLS * 1000)
    return statistics.median(found[1:])


@click.command()
@click.option("--images", default=1024, show_default=True)
@click.option("--size", default=224, show_default=True)
@click.option("--rounds", default=5, show_default=True)
def main(images: int, size: int, rounds: int) -> None:
    """Compare for small and for large pictures; of the latter, a quarter as many."""
    compare(500, images, size, rounds)
    compare(2000, images // 4, size, rounds)
    for width in (500, 2000):
        show_steps(width, size)


if __name__ == "__main__":
    main()
