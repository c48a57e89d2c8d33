"""Load the handwritten digits that ship with scikit-learn: 1,797 real 8x8 scans, no download.

Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine
Learning Repository, 1998; scikit-learn bundles its test part.
"""

import numpy as np
from PIL import Image

from tfresnet.runtime.preprocess import fit
from tfresnet.runtime.spec import InputSpec

LABELS = tuple("0123456789")
IMAGE_SIZE = 8


def load() -> tuple[np.ndarray, np.ndarray]:
    """Return images, uint8 [1797, 8, 8, 3] (white on black), and their classes, int64 [1797]."""
    from sklearn.datasets import load_digits

    digits = load_digits()
    grey = np.rint(digits.images * (255 / 16)).astype(np.uint8)  # scikit-learn's are 0 to 16
    return np.repeat(grey[..., None], 3, axis=-1), digits.target.astype(np.int64)


def fitted(spec: InputSpec) -> tuple[np.ndarray, np.ndarray]:
    """Return the images as a model takes them, uint8 [1797, H, W, C], and the classes, int64."""
    images, classes = load()
    return np.stack([fit(Image.fromarray(image), spec) for image in images]), classes
