"""A folder to copy to the device: the model, the runtime, and how to use them."""

import shutil
from pathlib import Path
from typing import Any

from tfresnet.config import formats
from tfresnet.deploy.device import runtime
from tfresnet.system.files import write_text
from tfresnet.tasks.headings import judged_by

README = """\
# {arch}: {classes} classes

    pip install -r requirements.txt
    python classify.py {model} {sample}

`classify.py` is one file that you may copy into your own program:

    from classify import {kind}
    print({kind}("{model}").{method}("{sample}"))

Input: any picture (HEIC after `pip install pillow-heif`); it is turned upright, cropped in its
centre and resized to {height} x {width} {colours}. Output: {output}.
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


def write(directory: Path, model: Path, metadata: dict[str, Any], sample: Path | None) -> Path:
    """Write the bundle of an exported ``model`` into ``directory`` and return the directory."""
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    row = formats.of_path(model)
    assert row
    shutil.copy(model, directory / model.name)
    shutil.copy(runtime.__file__, directory / "classify.py")
    write_text(directory / "requirements.txt", row.requirements)
    sample_name = "photo.jpg"
    if sample:
        sample_name = f"sample{sample.suffix}"
        shutil.copy(sample, directory / sample_name)
    embeds = metadata.get("output") == runtime.Embedder.output
    spec, measured = metadata["spec"], metadata["measured"]
    metric, value = judged_by(measured)
    many = spec.get("multi_label")
    output = "a probability each for" if many else "the most probable of"
    method = "embed" if embeds else "labels_of" if many else "classify"
    shown = ", ".join(spec["labels"][:10]) + (", ..." if len(spec["labels"]) > 10 else "")
    text = README.format(
        arch=metadata["arch"], classes=len(spec["labels"]), model=model.name, sample=sample_name,
        height=spec["height"], colours="RGB" if len(spec["mean"]) == 3 else "grey",
        width=spec["width"], output="an embedding" if embeds else f"{output} {shown}",
        kind="Embedder" if embeds else "Classifier", method=method,
        behind=", with the head that it was made without" if embeds else "", n=measured["n"],
        metric=metric, value=value, reference=judged_by(measured, "checkpoint_")[1],
    )  # fmt: skip
    if _is_for_native(model, metadata):
        text += NATIVE.format(
            model=model.name, height=spec["height"], width=spec["width"], crop=spec["crop_fraction"]
        )
        _write_native(directory / "native", spec["labels"])
    write_text(directory / "README.md", text)
    return directory


def _is_for_native(model: Path, metadata: dict[str, Any]) -> bool:
    """Tell whether a file is one that the native programs can feed, and whose answer is one."""
    return (
        formats.of_path(model) is formats.TFLITE
        and metadata.get("output") != runtime.Embedder.output
        and len(metadata["spec"]["mean"]) == 3
        and not metadata["spec"].get("multi_label")
        and metadata.get("interface") == "uint8"
        and runtime.open_model(model).input_shape[0] == 1
    )


def _write_native(folder: Path, labels: list[str]) -> None:
    folder.mkdir()
    for source in sorted((Path(__file__).parent / "native").iterdir()):
        shutil.copy(source, folder / source.name)
    write_text(folder / "labels.txt", "\n".join(labels) + "\n")
