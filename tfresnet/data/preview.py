"""A picture of what the network sees in training: augmented images and their mixed labels."""

import textwrap
from collections.abc import Iterable

import numpy as np

from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline, sources
from tfresnet.runtime.spec import InputSpec
from tfresnet.system.files import png

ROWS, COLUMNS = 4, 8


def preview(config: RunConfig, default_size: int) -> bytes:
    """Return a PNG: the first images of the first batches of training, a row for each batch.

    These are the very images that a run with this configuration and seed begins with.

    Raises:
        InputError: what the data and their settings object to.
    """
    dataset = sources.load(config.data, default_size)
    steps = pipeline.steps_per_epoch(dataset.train, config.train.batch_size)
    _, size = pipeline.segments(config.data, config.train.epochs, steps)[0]
    batches = pipeline.train_batches(
        dataset.train, dataset.spec, dataset.output, config.data, config.train.batch_size,
        config.train.seed, 0, ROWS, size,
    )  # fmt: skip
    rows = [
        (pixels(images.numpy()[:COLUMNS], dataset.spec), labels.numpy()[:COLUMNS])
        for images, labels in batches
    ]
    return grid(rows, dataset.output.labels, f"{config.name}: {', '.join(active(config))}")


def pixels(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return normalised images as uint8 again."""
    values = images * np.array(spec.std, np.float32) + np.array(spec.mean, np.float32)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def caption(label: np.ndarray, names: tuple[str, ...], limit: int = 3) -> str:
    """Return the classes of a soft label, the largest first: ``cat 0.73``, one a line.

    A label that is all one class is only its name; what a share of 0.005 rounds to is left out.
    """
    order = [i for i in np.argsort(-label, kind="stable")[:limit] if label[i] >= 0.005]
    short = [textwrap.shorten(names[i].replace("_", " "), 18, placeholder="…") for i in order]
    if len(order) == 1 and label[order[0]] >= 0.995:
        return short[0]
    return "\n".join(f"{name} {label[i]:.2f}" for name, i in zip(short, order, strict=True))


def active(config: RunConfig) -> list[str]:
    """Return what varies the images, in the order in which it happens."""
    data = config.data
    crop = f"crop {data.crop_padding} {data.crop_mode}" if data.crop_padding else ""
    if data.random_resized_crop:
        crop = f"resized crop {data.random_resized_crop:g}"
    flip = {False: "", True: "flip", "alternating": "alternating flip"}[data.flip]
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
        crop,
        flip,
        policy,
        *(f"{key} {value:g}" for key, value in numbers.items() if value),
    ]
    return [part for part in found if part] or ["no augmentation"]


def grid(
    rows: Iterable[tuple[np.ndarray, np.ndarray]], names: tuple[str, ...], title: str
) -> bytes:
    """Return a PNG of rows of uint8 images [n, H, W, C] with their labels [n, classes] below."""
    from matplotlib.figure import Figure

    rows = list(rows)
    figure = Figure(figsize=(1.6 * COLUMNS, 2.1 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for row, (images, labels) in zip(axes, rows, strict=True):
        for ax, image, label in zip(row, images, labels, strict=False):
            grey = image.shape[-1] == 1
            ax.imshow(image[..., 0] if grey else image, cmap="gray", vmin=0, vmax=255,
                      interpolation="nearest")  # fmt: skip
            ax.text(0.5, -0.04, caption(label, names), transform=ax.transAxes, ha="center",
                    va="top", fontsize=10, parse_math=False)  # fmt: skip
    figure.suptitle(f"{title}\neach row: one batch", parse_math=False, fontsize=12)
    return png(figure)
