"""Write the bundle, a folder to copy to the device: the model, the runtime, how to use them."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from tfresnet import runtime
from tfresnet.config import formats
from tfresnet.runtime.backends import open_model
from tfresnet.runtime.metadata import EMBEDDING, ModelMetadata
from tfresnet.system.files import write_text
from tfresnet.tasks.headings import judged_by

RUNTIME = "tfresnet_runtime"  # what tfresnet/runtime is called in a bundle
CLASSIFY = f'''\
"""Classify pictures with a model file that tfresnet exported.

This file and the folder {RUNTIME} are all that a device needs, beside numpy, Pillow and
ai-edge-litert (for .tflite), onnxruntime (for .onnx) or openvino (for .xml). They read labels and
preprocessing from the model file itself.

    from classify import Classifier
    classifier = Classifier("model_int8.tflite")
    for label, probability in classifier.classify("cat.jpg"):
        print(label, probability)

or, from a shell:  python classify.py model_int8.tflite cat.jpg folder --times
"""

import sys

from {RUNTIME}.command_line import main
from {RUNTIME}.errors import InputError
from {RUNTIME}.predictor import Classifier, Embedder, Prediction, open_file

__all__ = ["Classifier", "Embedder", "InputError", "Prediction", "open_file"]

if __name__ == "__main__":
    sys.exit(main())
'''

README = """\
# {arch}: {classes} classes

    pip install -r requirements.txt
    python classify.py {model} {sample}

Copy `classify.py` and the folder `{runtime}` beside your own program:

    from classify import {kind}
    print({kind}("{model}").{method}("{sample}"))

Input: any picture (HEIC after `pip install pillow-heif`); it is turned upright, cropped in its
center and resized to {height} x {width} {colors}. Output: {output}.
Measured on {n:,} held-out images{behind}:
{metric} {value:.2%} (the model it was made from: {reference:.2%}).
"""
NATIVE = """
`native/` is for programs without Python; each file says in its first lines how to build it. Neither
turns pictures upright.

- `classify.cc`, for LiteRT's C API, takes a picture of {height} x {width} pixels.
- `Classifier.kt`, for Android, takes any bitmap: `Classifier(context, "{model}", {height}, {width},
  {crop}f)`. Android resizes in its own way, so answers may differ a little.
- `labels.txt` has the classes, in the order of the probabilities.
"""


def write(directory: Path, model: Path, metadata: ModelMetadata, sample: Path | None) -> Path:
    """Write the bundle of an exported ``model`` into ``directory`` and return the directory."""
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
    embeds, many = metadata.output_kind == EMBEDDING, metadata.output.multi_label
    spec, labels, measured = metadata.spec, metadata.output.labels, metadata.measured
    metric, value = judged_by(measured)
    output = "a probability each for" if many else "the most probable of"
    method = "embed" if embeds else "labels_of" if many else "classify"
    shown = ", ".join(labels[:10]) + (", ..." if len(labels) > 10 else "")
    text = README.format(
        arch=metadata.arch, classes=len(labels), model=model.name, sample=sample_name,
        runtime=RUNTIME, height=spec.height, colors="RGB" if spec.shape[2] == 3 else "grey",
        width=spec.width, output="an embedding" if embeds else f"{output} {shown}",
        kind="Embedder" if embeds else "Classifier", method=method,
        behind=", with the head that it was made without" if embeds else "", n=measured["n"],
        metric=metric, value=value, reference=judged_by(measured, "checkpoint_")[1],
    )  # fmt: skip
    if _is_for_native(model, metadata):
        text += NATIVE.format(
            model=model.name, height=spec.height, width=spec.width, crop=spec.crop_fraction
        )
        _write_native(directory / "native", labels)
    write_text(directory / "README.md", text)
    return directory


def _write_runtime(directory: Path) -> None:
    """Copy the runtime and write the program that starts it."""
    folder = directory / RUNTIME
    folder.mkdir()
    for source in sorted(Path(runtime.__path__[0]).glob("*.py")):
        shutil.copy(source, folder / source.name)
    write_text(directory / "classify.py", CLASSIFY)


def _is_for_native(model: Path, metadata: ModelMetadata) -> bool:
    """Tell whether the native programs can run a file: RGB pixels to one label a picture."""
    return (
        formats.of_path(model) is formats.TFLITE
        and metadata.output_kind != EMBEDDING
        and metadata.spec.shape[2] == 3
        and not metadata.output.multi_label
        and metadata.input_type == "uint8"
        and open_model(model).input_shape[0] == 1
    )


def _write_native(folder: Path, labels: Sequence[str]) -> None:
    folder.mkdir()
    for source in sorted((Path(__file__).parent / "native").iterdir()):
        shutil.copy(source, folder / source.name)
    write_text(folder / "labels.txt", "\n".join(labels) + "\n")
