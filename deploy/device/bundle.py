"""Write the bundle, a folder to copy to the device: the model, the runtime, how to use them."""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tfresnet import runtime
from tfresnet.config import formats
from tfresnet.deploy import answers
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.metadata import BOXES, PROBABILITIES, ModelMetadata
from tfresnet.runtime.predictor import PREDICTORS
from tfresnet.system.files import write_text
from tfresnet.tasks.headings import judged_by

RUNTIME = "tfresnet_runtime"  # what tfresnet/runtime is called in a bundle
CLASSIFY = '''\
"""Predict with a model file that tfresnet exported.

This file and the folder {runtime} are all that a device needs, beside numpy, Pillow and
ai-edge-litert (for .tflite), onnxruntime (for .onnx) or openvino (for .xml). They read labels and
preprocessing from the model file itself.

    from classify import {predictor}
    model = {predictor}("{model}")
    print(model.{method}("{sample}"))

or, from a shell:  python classify.py {model} {sample} folder --times
"""

import os
import sys

if any(word.startswith("--k") for word in sys.argv[1:]):  # --key: no bytecode that lies here
    sys.dont_write_bytecode, sys.pycache_prefix = True, os.devnull

from {runtime}.command_line import main
from {runtime}.errors import InputError
from {runtime}.predictor import {predictors}, Prediction, open_file

__all__ = [{quoted}, "InputError", "Prediction", "open_file"]

if __name__ == "__main__":
    sys.exit(main())
'''

README = """\
# {arch}: {classes} classes

    pip install -r requirements.txt
    python classify.py {model} {sample}{options}

Copy `classify.py` and the folder `{runtime}` beside your own program:

    from classify import {predictor}
    print({predictor}("{model}").{method}("{sample}"))

Input: any picture (HEIC after `pip install pillow-heif`); it is turned upright, {fit}
to {height} x {width} {colors}. Output: {output}.
Measured on {n:,} held-out images{behind}:
{metric} {value:.2%} (the model it was made from: {reference:.2%}).
"""
SIGNED = """
If it was signed, `pip install cryptography` and `--key PUB` let `classify.py` refuse a model, or a
folder, that was changed since.
"""
NATIVE = """
`native/` is for programs without Python; each file says in its first lines how to build it. Neither
turns pictures upright.

- `classify.cc`, with `picture_model.h`, for LiteRT's C API, takes a picture of {height} x {width}
  pixels.
- `Classifier.kt`, for Android, takes any bitmap: `Classifier(context, "{model}", {height}, {width},
  {crop}f)`. Android resizes in its own way, so answers may differ a little.
- `labels.txt` has the classes, in the order of the probabilities.
"""
NATIVE_BOXES = """
`native/` is for programs without Python; each file says in its first lines how to use it. None
turns pictures upright.

- `detect.cc`, with `picture_model.h`, for LiteRT's C API, takes a picture of {height} x {width}
  pixels, and prints a line for each object: label, score, left, top, right, bottom.
- `boxes.h`, plain C, also for a microcontroller, chooses among the boxes that the model gives.
- `labels.txt` has the classes, in the order of the scores.
"""


@dataclass(frozen=True)
class Native:
    """The native programs for files of one kind.

    Attributes:
        text: about them, in README.md.
        files: in the folder ``native``.
    """

    text: str
    files: tuple[str, ...]


NATIVES = {
    PROBABILITIES: Native(NATIVE, ("classify.cc", "picture_model.h", "Classifier.kt")),
    BOXES: Native(NATIVE_BOXES, ("detect.cc", "picture_model.h", "boxes.h")),
}


def write(
    directory: Path, model: Path, metadata: ModelMetadata, sample: Path | None, note: str = ""
) -> Path:
    """Write the bundle of an exported ``model`` into ``directory`` and return the directory.

    Args:
        directory: is emptied first.
        model: the file.
        metadata: what is inside it.
        sample: a picture to try it with.
        note: for README.md: why it is this file.
    """
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    row = formats.of_path(model)
    assert row
    for file in row.files(model):
        shutil.copy(file, directory / file.name)
    _write_runtime(directory)
    write_text(directory / "requirements.txt", row.requirements)
    sample_name = "photo.jpg"
    if sample:
        sample_name = f"sample{sample.suffix}"
        shutil.copy(sample, directory / sample_name)
    answer = answers.answer_of(metadata.output_kind, metadata.output)
    names = {
        "runtime": RUNTIME, "model": model.name, "sample": sample_name,
        "predictor": answer.predictor, "method": answer.method,
    }  # fmt: skip
    write_text(directory / "classify.py", _program(names))
    text = _readme(metadata, answer, names)
    spec = metadata.spec
    if _is_for_native(model, metadata):
        native = NATIVES[metadata.output_kind]
        text += native.text.format(
            model=model.name, height=spec.height, width=spec.width, crop=spec.crop_fraction
        )
        _write_native(directory / "native", native.files, metadata.output.labels)
    write_text(directory / "README.md", text + (f"\n{note}\n" if note else ""))
    return directory


def _program(names: dict[str, str]) -> str:
    """Return the text of classify.py."""
    predictors = [predictor.__name__ for predictor in PREDICTORS]
    quoted = ", ".join(f'"{name}"' for name in predictors)
    return CLASSIFY.format(predictors=", ".join(predictors), quoted=quoted, **names)


def _readme(metadata: ModelMetadata, answer: answers.Answer, names: dict[str, str]) -> str:
    """Return the text of README.md, without that of the native programs."""
    spec, measured = metadata.spec, metadata.measured
    metric, value = judged_by(measured)
    text = README.format(
        arch=metadata.arch, classes=len(metadata.output.labels), options=answer.options,
        fit=answers.FITS[spec.fit], height=spec.height, width=spec.width,
        colors="RGB" if spec.shape[2] == 3 else "grey",
        output=answer.output.format(labels=answers.first_labels(metadata.output)),
        behind=answer.measured, n=measured["n"],
        metric=metric, value=value, reference=judged_by(measured, "checkpoint_")[1], **names,
    )  # fmt: skip
    return text + answer.note + SIGNED


def _write_runtime(directory: Path) -> None:
    """Copy the runtime."""
    folder = directory / RUNTIME
    folder.mkdir()
    for source in sorted(Path(runtime.__path__[0]).glob("*.py")):
        shutil.copy(source, folder / source.name)


def _is_for_native(model: Path, metadata: ModelMetadata) -> bool:
    """Tell whether native programs can run a file: RGB pixels to one label a picture, or boxes."""
    return (
        formats.of_path(model) is formats.TFLITE
        and metadata.output_kind in NATIVES
        and metadata.spec.shape[2] == 3
        and not metadata.output.multi_label
        and metadata.input_type == "uint8"
        and open_model(model).input_shape[0] == 1
    )


def _write_native(folder: Path, files: Sequence[str], labels: Sequence[str]) -> None:
    folder.mkdir()
    for name in files:
        shutil.copy(Path(__file__).parent / "native" / name, folder / name)
    write_text(folder / "labels.txt", "\n".join(labels) + "\n")
