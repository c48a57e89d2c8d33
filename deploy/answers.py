"""The words for what files give, by kind of output, in a README and a model card."""

from dataclasses import dataclass

from tfresnet.runtime.metadata import (
    BOXES,
    CLASS_MAP,
    CLASS_PROBABILITIES,
    DETECTIONS,
    EMBEDDING,
    POINTS_KIND,
    PROBABILITIES,
)
from tfresnet.runtime.spec import MULTI_LABEL, InputSpec, OutputSpec

LISTED = 10  # labels; of more, the first ones are named
FITS = {
    "crop": "cropped in its center and resized",
    "stretch": "resized as a whole, without keeping its aspect ratio,",
}


@dataclass(frozen=True)
class Answer:
    """The words for one kind of output.

    Attributes:
        predictor: the class of ``runtime.predictor`` that runs such files.
        method: of the predictor, from a picture to the answer.
        output: what is given; ``{labels}`` stands for the first labels.
        does: what a model does with pictures; ``{pictures}``, ``{count}`` and ``{kinds}`` stand for
            what the pictures, how many labels there are, and what these are called.
        options: of ``classify.py``, worth showing.
        note: what else a README says.
        measured: what was measured, other than the file by itself.
    """

    predictor: str
    method: str
    output: str
    does: str = "classifies {pictures} into {count} {kinds}"
    options: str = ""
    note: str = ""
    measured: str = ""


DRAWN = """
With `--out found` the folder `found` gets, for each picture, one with the colors of the classes
over it and one, `..._mask.png`, whose pixels are the classes.
"""
MEDIAPIPE = """
MediaPipe's ImageSegmenter misreads class maps: give it a `.tflite` that was exported with
`--output class_probabilities`.
"""
PIXELS = "gives each pixel of {pictures} one of {count} {kinds}"
FOUND = Answer(
    "Detector",
    "detect",
    "boxes, each with one of {labels}",
    "finds boxes of {count} {kinds} in {pictures}",
    " --out found",
    "\nWith `--out found` the folder `found` gets the pictures with the boxes in them.\n",
)
ANSWERS = {
    PROBABILITIES: Answer("Classifier", "classify", "the most probable of {labels}"),
    MULTI_LABEL: Answer("Classifier", "labels_of", "a probability each for {labels}"),
    EMBEDDING: Answer(
        "Embedder",
        "embed",
        "an embedding",
        measured=", with the head that it was made without",
    ),
    CLASS_MAP: Answer(
        "Segmenter",
        "segment",
        "the class of each pixel, one of {labels}",
        PIXELS,
        " --out found",
        DRAWN + MEDIAPIPE,
    ),
    CLASS_PROBABILITIES: Answer(
        "Segmenter",
        "segment",
        "for each pixel, the probability of {labels}",
        PIXELS,
        " --out found",
        DRAWN,
    ),
    BOXES: FOUND,
    DETECTIONS: FOUND,
    POINTS_KIND: Answer(
        "PointDetector",
        "detect",
        "the centers of objects, each with one of {labels}",
        "finds the centers of {count} {kinds} of objects in {pictures}",
        " --out found",
        "\nWith `--out found` the folder `found` gets the pictures with the centers in them.\n",
    ),
}


def answer_of(kind: str, output: OutputSpec) -> Answer:
    """Return the words for a kind of output of a model."""
    many = kind == PROBABILITIES and output.multi_label
    return ANSWERS[MULTI_LABEL if many else kind]


def first_labels(output: OutputSpec) -> str:
    """Return the first labels in one line."""
    return ", ".join(output.labels[:LISTED]) + (", ..." if len(output.labels) > LISTED else "")


def pictures(spec: InputSpec) -> str:
    """Return what a model's pictures are: ``32 x 32 color pictures``."""
    colors = "color" if spec.shape[2] == 3 else "gray"
    return f"{spec.height} x {spec.width} {colors} pictures"
