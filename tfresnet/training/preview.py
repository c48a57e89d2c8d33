"""Draw augmented training images with their targets."""

import textwrap
from collections.abc import Iterable

import numpy as np

from tfresnet import tasks
from tfresnet.config.sections import RunConfig
from tfresnet.data import pipeline, sources
from tfresnet.runtime.spec import InputSpec
from tfresnet.system.files import png

ROWS, COLUMNS = 4, 8


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
    steps = pipeline.steps_per_epoch(dataset.train, config.train.batch_size)
    _, size = pipeline.segments(config.data, config.train.epochs, steps)[0]
    batches = pipeline.train_batches(
        dataset.train, dataset.spec, tasks.of(dataset.output).targets, config.data,
        config.train.batch_size, config.train.seed, 0, ROWS, size,
    )  # fmt: skip
    rows = [
        (pixels(images.numpy()[:COLUMNS], dataset.spec), targets.numpy()[:COLUMNS])
        for images, targets in batches
    ]
    return grid(rows, dataset.output.labels, f"{config.name}: {', '.join(augmentations(config))}")


def pixels(images: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Undo the normalization of float32 images [..., C]; return uint8."""
    values = images * np.array(spec.std, np.float32) + np.array(spec.mean, np.float32)
    return np.clip(np.round(values), 0, 255).astype(np.uint8)


def caption(target: np.ndarray, labels: tuple[str, ...], limit: int = 3) -> str:
    """Return the labels of a target [classes], the largest share first: ``cat 0.73``, one a line.

    Of a target that is one class there is only the label; shares below 0.005 are left out.
    """
    order = [i for i in np.argsort(-target, kind="stable")[:limit] if target[i] >= 0.005]
    short = [textwrap.shorten(labels[i].replace("_", " "), 18, placeholder="…") for i in order]
    if len(order) == 1 and target[order[0]] >= 0.995:
        return short[0]
    return "\n".join(f"{name} {target[i]:.2f}" for name, i in zip(short, order, strict=True))


def augmentations(config: RunConfig) -> list[str]:
    """Return the augmentations of a configuration in the order in which they are applied."""
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
    rows: Iterable[tuple[np.ndarray, np.ndarray]], labels: tuple[str, ...], title: str
) -> bytes:
    """Return a PNG of rows of uint8 images [n, H, W, C] with their targets [n, classes] below."""
    from matplotlib.figure import Figure

    rows = list(rows)
    figure = Figure(figsize=(1.6 * COLUMNS, 2.1 * len(rows) + 0.5), layout="constrained")
    axes = figure.subplots(len(rows), COLUMNS, squeeze=False)
    for ax in axes.flat:
        ax.axis("off")
    for row, (images, targets) in zip(axes, rows, strict=True):
        for ax, image, target in zip(row, images, targets, strict=False):
            gray = image.shape[-1] == 1
            ax.imshow(image[..., 0] if gray else image, cmap="gray", vmin=0, vmax=255,
                      interpolation="nearest")  # fmt: skip
            ax.text(0.5, -0.04, caption(target, labels), transform=ax.transAxes, ha="center",
                    va="top", fontsize=10, parse_math=False)  # fmt: skip
    figure.suptitle(f"{title}\neach row: one batch", parse_math=False, fontsize=12)
    return png(figure)
