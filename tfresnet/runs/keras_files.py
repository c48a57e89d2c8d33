"""Fetch keras.applications' weights from where Keras fetches them, into its own cache.

``KERAS_HOME`` is the folder of that cache, by default ``~/.keras``, as for Keras 3. What Keras has
downloaded is found there. Loads no TensorFlow unless something is downloaded.
"""

import os
from pathlib import Path

from tfresnet.models.weights_row import NamedWeights
from tfresnet.runtime.errors import InputError
from tfresnet.system.files import digest_of

SERVER = "https://storage.googleapis.com/tensorflow/keras-applications"


def folder() -> Path:
    """Return the folder that Keras keeps weights in."""
    return Path(os.environ.get("KERAS_HOME") or Path.home() / ".keras") / "models"


def cached(row: NamedWeights) -> Path | None:
    """Return the file of weights in Keras's cache; None if it has yet to be downloaded."""
    file = folder() / Path(row.file).name
    return file if file.is_file() else None


def download(row: NamedWeights) -> Path:
    """Download the file of weights with Keras's own function, which shows a progress bar.

    Raises:
        Exception: what the function raises where it fails; nothing is left then.
    """
    from tfresnet.keras2 import keras

    place = folder()
    place.mkdir(parents=True, exist_ok=True)
    name = Path(row.file).name
    return Path(
        keras.utils.get_file(
            name,
            f"{SERVER}/{row.file}",
            file_hash=row.md5,
            hash_algorithm="md5",
            cache_dir=str(place.parent),
            cache_subdir=place.name,
        )
    )


def verify(row: NamedWeights, file: Path) -> None:
    """Raise an ``InputError`` unless the file has the digest that Keras publishes."""
    if (got := digest_of(file, "md5")) != row.md5:
        raise InputError(
            f"{row.name}: expected weights with the MD5 {row.md5}, got {got}; they "
            f"are damaged or cut short: delete {file}"
        )
