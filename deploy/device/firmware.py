"""Write the bundle for a microcontroller: what a firmware is compiled with."""

import shutil
from pathlib import Path

from tfresnet.config.formats import PACKED
from tfresnet.runtime.metadata import ModelMetadata
from tfresnet.system.files import write_text
from tfresnet.tasks.headings import judged_by

README = """\
# {arch}: {classes} classes, for TFLite Micro

Compile `model.cc` into the firmware, and include `model.h`: it has the labels, the operations to
register and the size of the tensor arena.
{packed}
Input: {height} x {width} x {channels} bytes, as {input_type}.
Measured on {n:,} held-out images, with LiteRT: {metric} {value:.2%} (the model it was made from:
{reference:.2%}).

{note}
"""
PACKED_TEXT = f"""
`{PACKED}/` has the same model with packed weights: less flash, more RAM and time. It needs a TFLite
Micro with the operation DECODE, of October 2025 or later.
"""


def write(directory: Path, model: Path, metadata: ModelMetadata, note: str) -> Path:
    """Write the bundle of a model for TFLite Micro into ``directory`` and return the directory.

    Args:
        directory: is emptied first.
        model: the file; all that is beside it is copied.
        metadata: what is inside it.
        note: for README.md: why it is this file.
    """
    shutil.rmtree(directory, ignore_errors=True)
    shutil.copytree(model.parent, directory)
    measured, spec = metadata.measured, metadata.spec
    metric, value = judged_by(measured)
    text = README.format(
        arch=metadata.arch, classes=len(metadata.output.labels), height=spec.height,
        width=spec.width, channels=spec.shape[2], input_type=metadata.input_type,
        n=measured["n"], metric=metric, value=value,
        reference=judged_by(measured, "checkpoint_")[1], note=note,
        packed=PACKED_TEXT if (directory / PACKED).is_dir() else "",
    )  # fmt: skip
    write_text(directory / "README.md", text)
    return directory
