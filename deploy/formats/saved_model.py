"""Keras model <-> SavedModel directory, for TensorFlow Serving."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.backend import keras
from tfresnet.deploy.device.runtime import METADATA_NAME
from tfresnet.deploy.formats import wrap
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import write_text
from tfresnet.system.native_stderr import captured


class SavedModel:
    """A model to be written as a SavedModel (see ``artifact.Artifact``).

    ``serving_default`` takes uint8 pixels [n, H, W, C] and gives probabilities [n, classes];
    ``encoded`` takes the bytes of n JPEG, PNG, GIF or BMP files, of any size.
    """

    def __init__(self, path: Path, model: keras.Model, spec: InputSpec, output: OutputSpec):
        self.path = path
        self.written: Path | None = None  # where it was put before
        self.module = wrap.variables_of(model)
        self.module.classify = wrap.from_pixels(model, spec, output, batch=None)
        self.module.classify_files = wrap.from_files(self.module.classify, spec)

    def write(self, metadata: dict[str, Any]) -> None:
        """Write the directory, or move it, and the metadata beside TensorFlow's own files."""
        if self.written != self.path:
            shutil.rmtree(self.path, ignore_errors=True)
        if self.written is None:
            with captured():
                signatures = {
                    "serving_default": self.module.classify,
                    "encoded": self.module.classify_files,
                }
                tf.saved_model.save(self.module, str(self.path), signatures)
        elif self.written != self.path:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.written.rename(self.path)
        self.written = self.path
        write_text(self.path / METADATA_NAME, json.dumps(metadata))

    def open(self, threads: int) -> "LoadedSavedModel":
        """Return the written model; TensorFlow chooses its own threads."""
        return LoadedSavedModel(self.path)

    def float_operations(self) -> list[str] | None:
        """See ``artifact.Artifact``."""
        return None

    def size(self) -> int:
        """Return the bytes of all files."""
        return sum(f.stat().st_size for f in self.path.rglob("*") if f.is_file())

    def gzip_size(self) -> int | None:
        """See ``artifact.Artifact``."""
        return None

    def sparsity(self) -> float | None:
        """See ``artifact.Artifact``."""
        return None

    def unique_weights(self) -> int | None:
        """See ``artifact.Artifact``."""
        return None

    def delegates(self) -> dict[str, str] | None:
        """See ``artifact.Artifact``."""
        return None


class LoadedSavedModel:
    """A SavedModel with the methods of the runtime's models."""

    input_dtype = np.dtype(np.uint8)

    def __init__(self, path: Path):
        try:
            with captured():
                self.module = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: expected a whole SavedModel: {reason}") from None
        signature = self.module.signatures["serving_default"].structured_input_signature[1]
        self.input_shape = (1, *signature["image"].shape[1:])

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return probabilities [n, classes] for uint8 images [n, H, W, 3]."""
        return self.module.classify(tf.constant(images)).numpy()

    def set_input(self, image: np.ndarray) -> None:
        """Keep one image, [1, H, W, 3], for :meth:`invoke`."""
        self.image = tf.constant(image)

    def invoke(self) -> None:
        """Run the model on what was set."""
        self.module.classify(self.image)
