"""Draw augmented training images with their labels, masks or boxes."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet import tasks
from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline, sources
from tfresnet.data.task_settings import NO_SCALE, has_places
from tfresnet.runtime import colors
from tfresnet.runtime.spec import CLASSIFICATION, SEGMENTATION, InputSpec, OutputSpec
from tfresnet.system.files import png
from tfresnet.training import truth_drawing

ROWS = 4
WIDTH = 12.8  # inches


def preview(config: RunConfig, default_size: int) -> bytes:
    """Return a PNG of the first images of the first training batches, a row for each batch.

    A run with this configuration and seed is trained on exactly these images.

    Args:
        config: of the run.
        default_size: the side of the images in pixels, if neither the configuration nor the data
            decide it.

    Raises:
        InputError: no such data, or settings that do not fit them.
    """
    dataset = sources.load(config.data, default_size)
    output = dataset.output
    steps = pipeline.steps_per_epoch(dataset.train, config.train.batch_size)
    _, size = pipeline.segments(config.data, config.train.epochs, steps)[0]
    # Labels are drawn as they are mixed; masks and boxes as they are, not as the loss needs them.
    targets = (lambda truth: truth) if has_places(output.task) else tasks.of(output).targets
    batches = pipeline.train_batches(
        dataset.train, dataset.spec, targets, config.data, config.train.batch_size,
        config.train.seed, 0, ROWS, size, output.task,
    )  # fmt: skip
    columns = truth_drawing.of(output).columns
    rows = [
        (pixels(images.numpy()[:columns], dataset.spec), _each(truth, columns))
        for images, truth in batches
    ]
    return grid(rows, output, f"{config.name}: {', '.join(augmentations(config, output.task))}")


def _each(truth: Any, count: int) -> list[Any]:
    """Return what is true of each of the first images of a batch, as NumPy arrays."""
    arrays = tf.nest.map_structure(lambda part: part.numpy()[:count], truth)
    count = len(tf.nest.flatten(arrays)[0])
    return [tf.nest.map_structure(lambda part, i=i: part[i], arrays) for i in range(count)]


def pixels(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Undo the normalization of float32 images [..., C]; return uint8."""
    values = images * np.array(spec.std, np.float32) + np.array(spec.mean, np.float32)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def augmentations(config: RunConfig, task: str = CLASSIFICATION) -> list[str]:
    """Return the augmentations of a configuration in the order in which they are applied."""
    data = config.data
    crop = f"crop {data.crop_padding} {data.crop_mode}" if data.crop_padding else ""
    if data.random_resized_crop:
        crop = f"resized crop {data.random_resized_crop:g}"
    flip = {False: "", True: "flip", "alternating": "alternating flip"}[data.flip]
    color = f"color {data.color:g}" if data.color else ""
    moves = [crop, flip, color]
    if has_places(task):  # their crop is part of the scale
        moves = [color, "" if data.scale == NO_SCALE else f"scale {data.scale}", flip]
    numbers = {
        "cutout": data.cutout,
        "erasing": data.erasing,
        "mixup": data.mixup_alpha,
        "cutmix": data.cutmix_alpha,
    }
    policy = "" if data.policy == "none" else str(data.policy)
    if data.randaugment:
        policy = f"RandAugment({data.randaugment}, {data.randaugment_magnitude:g})"
    repeats = f"repeats {data.repeats}" if data.repeats > 1 else ""
    sizes = ", ".join(f"{pixels} px to {share:.0%}" for share, pixels in data.progressive.items())
    found = [
        repeats,
        sizes,
        *moves,
        policy,
        *(f"{key} {value:g}" for key, value in numbers.items() if value),
    ]
    return [part for part in found if part] or ["no augmentation"]


def grid(rows: Iterable[tuple[np.ndarray, Sequence[Any]]], output: OutputSpec, title: str) -> bytes:
    """Return a PNG of rows of uint8 images [n, H, W, C] with what is true of each of them."""
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    rows = list(rows)
    drawing = truth_drawing.of(output)
    height, width = rows[0][0].shape[1:3]
    side = WIDTH / drawing.columns
    row_height = min(2, height / width) * side + 0.5
    figure = Figure(figsize=(WIDTH, row_height * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), drawing.columns, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for row, (images, truths) in zip(axes, rows, strict=True):
        for ax, image, truth in zip(row, images, truths, strict=False):
            drawn = drawing.drawn(image, truth, output)
            gray = drawn.shape[-1] == 1
            ax.imshow(drawn[..., 0] if gray else drawn, cmap="gray", vmin=0, vmax=255,
                      interpolation="nearest")  # fmt: skip
            ax.text(0.5, -0.04, drawing.caption(truth, output), transform=ax.transAxes, ha="center",
                    va="top", fontsize=10, parse_math=False)  # fmt: skip
    if output.task == SEGMENTATION:
        handles = [Patch(color=color / 255, label=label) for color, label in
                   zip(colors.palette(output), output.labels, strict=True)]  # fmt: skip
        figure.legend(handles=handles, loc="outside lower center", ncols=8)
    figure.suptitle(f"{title}\neach row: one batch", parse_math=False, fontsize=12)
    return png(figure)
