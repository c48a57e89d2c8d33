"""Write pictures with what was found in them."""

from __future__ import annotations

from collections.abc import Container
from pathlib import Path
from typing import Any

from .decode import (
    AnyPrediction,
    DetectionPrediction,
    PointsPrediction,
    SegmentationPrediction,
)
from .errors import InputError
from .preprocess import whole
from .spec import OutputSpec


class Drawings:
    """Writes pictures of predictions into a folder, each under a name of its own.

    Args:
        folder: made if it is missing.
        output: of the model.

    Raises:
        InputError: the folder can't be made.
    """

    def __init__(self, folder: Path, output: OutputSpec):
        self.folder, self.output = folder, output
        self._used: set[str] = set()
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise InputError(f"expected a folder to write to, {folder}: {error.strerror}") from None

    def write(self, prediction: AnyPrediction) -> dict[str, str]:
        """Write the pictures of a prediction as PNG; return their paths by what they show.

        They are called like the picture that was predicted, with what they show behind it:
        ``photo.png`` (``picture``), ``photo_mask.png`` (``mask``).
        """
        draws = (SegmentationPrediction, DetectionPrediction, PointsPrediction)
        assert isinstance(prediction, draws)
        images = prediction.drawn(whole(prediction.picture), self.output)
        stem = _free(Path(_name(prediction.picture)).stem, self._used)
        self._used.add(stem)
        found = {}
        for kind, image in images.items():
            path = self.folder / f"{stem}{'' if kind == 'picture' else f'_{kind}'}.png"
            image.save(path)
            found[kind] = str(path)
        return found


def _name(picture: Any) -> str:
    return str(picture) if isinstance(picture, (str, Path)) else "picture"


def _free(stem: str, used: Container[str]) -> str:
    """Return a name that is not used yet."""
    names = (stem, *(f"{stem}-{number}" for number in range(2, 10**6)))
    return next(name for name in names if name not in used)
