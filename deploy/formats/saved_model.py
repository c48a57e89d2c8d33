"""Convert Keras models to SavedModels, for TensorFlow Serving, and run them."""

import json
import shutil
import tempfile
import uuid
from pathlib import Path

import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import fingerprint_pb2

from tfresnet.config.export import ExportConfig
from tfresnet.deploy.formats import wrap
from tfresnet.deploy.formats.base import Format, Source, Target
from tfresnet.keras2 import keras
from tfresnet.runtime.backends import Backend, Outputs
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.metadata import FILE_NAME, ModelMetadata
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.native_stderr import captured

FINGERPRINT = "fingerprint.pb"
Files = dict[str, bytes]  # contents by path in the folder


class SavedModelFormat(Format[Files]):
    """SavedModel: a folder with the graph, its weights, and the metadata in a file beside them.

    ``serving_default`` takes uint8 pixels [n, H, W, C] and gives probabilities [n, classes];
    ``encoded`` takes the bytes of n JPEG, PNG, GIF or BMP files, of any size.
    """

    def convert(self, source: Source, target: Target, config: ExportConfig) -> Files:
        """See :class:`.base.Format`."""
        module = served(*source.network, source.kind)
        signatures = {"serving_default": module.classify, "encoded": module.classify_files}
        with tempfile.TemporaryDirectory() as folder:
            with captured():
                tf.saved_model.save(module, folder, signatures)
            files = [path for path in sorted(Path(folder).rglob("*")) if path.is_file()]
            return {p.relative_to(folder).as_posix(): _repeatable(p) for p in files}

    def embed_metadata(self, content: Files, metadata: ModelMetadata) -> Files:
        """See :class:`.base.Format`."""
        return content | {FILE_NAME: json.dumps(metadata.to_dict()).encode()}

    def write(self, content: Files, path: Path) -> None:
        """See :class:`.base.Format`."""
        shutil.rmtree(path, ignore_errors=True)
        for name, file in content.items():
            (path / name).parent.mkdir(parents=True, exist_ok=True)
            (path / name).write_bytes(file)

    def size(self, path: Path) -> int:
        """Return the bytes of all files."""
        return sum(f.stat().st_size for f in path.rglob("*") if f.is_file())

    def open(self, path: Path, threads: int) -> "LoadedSavedModel":
        """See :class:`.base.Format`; TensorFlow chooses its own threads."""
        return LoadedSavedModel(path)

    def command(self, name: str) -> str:
        """See :class:`.base.Format`; TensorFlow Serving looks for folders named by numbers."""
        return (
            f"mkdir -p serve/model && cp -r {name} serve/model/1 && "
            'tensorflow_model_server --model_name=model --model_base_path="$PWD/serve/model"'
        )


def _repeatable(path: Path) -> bytes:
    """Return a file's content; the random identifier of a fingerprint is made of the rest of it."""
    content = path.read_bytes()
    if path.name != FINGERPRINT:
        return content
    found = fingerprint_pb2.FingerprintDef.FromString(content)
    found.ClearField("uuid")
    rest = found.SerializeToString(deterministic=True)
    found.uuid = str(uuid.uuid5(uuid.NAMESPACE_OID, rest.hex()))
    return found.SerializeToString(deterministic=True)


def served(model: keras.Model, spec: InputSpec, output: OutputSpec, kind: str = "") -> tf.Module:
    """Return a module with a model's variables and its functions ``classify, classify_files``."""
    module = wrap.variables_of(model)
    module.classify = wrap.from_pixels(model, spec, output, None, kind)
    module.classify_files = wrap.from_files(module.classify, spec)
    return module


class LoadedSavedModel(Backend):
    """A SavedModel in TensorFlow, which chooses its own threads."""

    input_dtype = np.dtype(np.uint8)
    any_batch = True
    classes = None

    def __init__(self, path: Path):
        try:
            with captured():
                self.module = tf.saved_model.load(str(path))
        except (OSError, ValueError, tf.errors.OpError) as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: expected a whole SavedModel: {reason}") from None
        signature = self.module.signatures["serving_default"].structured_input_signature[1]
        self.input_shape = (1, *signature["image"].shape[1:])

    def outputs(self, images: np.ndarray) -> Outputs:
        """See :class:`.Backend`."""
        found = self.module.classify(tf.constant(images))
        return {str(i): values.numpy() for i, values in enumerate(tf.nest.flatten(found))}

    def set_input(self, images: np.ndarray) -> None:
        """See :class:`.Backend`."""
        self._images = tf.constant(images)

    def invoke(self) -> None:
        """See :class:`.Backend`."""
        self.module.classify(self._images)
