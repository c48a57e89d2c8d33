"""The kernel of a whitened stem: the principal directions of small patches of the images."""

import numpy as np

from tfresnet.data import pipeline
from tfresnet.data.sources import Dataset
from tfresnet.keras2 import keras
from tfresnet.models.resnet9 import WHITENED, WHITENED_CHANNELS, WHITENED_KERNEL
from tfresnet.runtime.errors import InputError

IMAGES = 1_000  # with a million patches of 12 numbers, if they are of 32 pixels
BATCH = 50
SMALLEST = 5e-4  # of a direction's variance, as a share of the pixels' variance


def kernel(dataset: Dataset) -> np.ndarray:
    """Return the kernel that whitens the patches of a data set's training images.

    Each output is a patch's component along an eigenvector of the patches' covariance, divided by
    its standard deviation; then come the negatives, for the ReLU (Page 2019, *How to train your
    ResNet 8*; Jordan 2024, arXiv:2404.00498). The patches are of up to 1,000 images, evenly spread
    over the split, not augmented.

    Returns:
        float32 [2, 2, 3, 24].

    Raises:
        InputError: the images are gray.
    """
    spec = dataset.spec
    size, channels = WHITENED_KERNEL, spec.shape[2]
    width = size * size * channels
    if 2 * width != WHITENED_CHANNELS:
        raise InputError(
            f"model.stem: expected color images for whitened, got images of {channels} channel; "
            "set model.stem=cifar"
        )
    moment, mean, count = np.zeros((width, width)), np.zeros(width), 0
    for pixels, *_, weights in pipeline.raw_batches(dataset.train, BATCH, IMAGES):
        images = pipeline.normalize(pixels, spec).numpy()[weights.numpy() > 0].astype(np.float64)
        windows = np.lib.stride_tricks.sliding_window_view(images, (size, size), axis=(1, 2))
        # [batch, rows, columns, channels, y, x] -> [patches, y * x * channels]
        patches = windows.transpose(0, 1, 2, 4, 5, 3).reshape(-1, width)
        moment += patches.T @ patches
        mean += patches.sum(axis=0)
        count += len(patches)
    covariance = moment / count - np.outer(mean, mean) / count**2
    variances, directions = np.linalg.eigh(covariance)
    smallest = SMALLEST * np.trace(covariance) / width
    whitening = (directions / np.sqrt(variances + smallest))[:, ::-1]  # the largest first
    both = np.concatenate([whitening, -whitening], axis=1)
    return both.reshape(size, size, channels, WHITENED_CHANNELS).astype(np.float32)


def assign(model: keras.Model, values: np.ndarray) -> None:
    """Give a network with a whitened stem its kernel, of :func:`kernel`."""
    layer = next(layer for layer in model.backbone.layers if layer.name == WHITENED)
    layer.kernel.assign(values)
