"""Why a network answers as it does: what it looks at, what it gets wrong, what it finds alike."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from tfresnet import evaluation, tasks
from tfresnet.backend import keras
from tfresnet.data import pipeline
from tfresnet.data.splits import Split, path_of
from tfresnet.runtime import preprocess
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import png, write_bytes

COLUMNS = 4  # at most; pairs of an image and what the network looks at
MAPPED = 1000  # images on the map
MOST_COLOURS = 20  # classes that can be told apart on it


@dataclass(frozen=True)
class Case:
    """An image, the class whose evidence is shown on it, and the lines of text above it."""

    image: np.ndarray  # uint8 [H, W, C]
    shown: int
    caption: Sequence[str]


@dataclass(frozen=True)
class Mistake:
    """A held-out image with a wrong answer.

    Attributes:
        index: its place among the held-out images.
        file: where it is; None if the dataset is not made of picture files.
        label: the class that it has.
        predicted: the class that the network gives.
        probability: of the class that it gives.
        probability_of_label: of the class that it has.
    """

    index: int
    file: str | None
    label: str
    predicted: str
    probability: float
    probability_of_label: float

    @property
    def name(self) -> str:
        """The file's name, or what else tells the image from others."""
        return Path(self.file).name if self.file else f"image {self.index}"


@dataclass(frozen=True)
class Mistakes:
    """The mistakes among ``n`` held-out images, the surest first, and the picture of some."""

    found: list[Mistake]
    n: int
    picture: Path | None


def pictures_given(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    paths: Sequence[Path],
    folder: Path,
) -> tuple[Path, list[dict[str, Any]]]:
    """Write ``looked-at.png``: each picture beside what speaks for the network's answer.

    Returns:
        The file, and of each picture its ``image`` (the path), ``label`` and ``probability``.
    """
    images = np.stack([preprocess.read(path, spec) for path in paths])
    answers = _probabilities(model, images, spec, output)
    best = answers.argmax(axis=1)
    given = [
        {"image": str(path), "label": output.labels[i], "probability": float(p[i])}
        for path, i, p in zip(paths, best, answers, strict=True)
    ]
    cases = [
        Case(image, int(i), (f"{one['label']} {one['probability']:.0%}", path.name))
        for image, i, one, path in zip(images, best, given, paths, strict=True)
    ]
    title = f"{model.name}: what speaks for its answer"
    return _draw(model, spec, cases, title, folder / "looked-at.png"), given


def mistakes(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    split: Split,
    count: int,
    folder: Path,
) -> Mistakes:
    """Find the held-out images that the network gets wrong.

    Writes ``mistakes.csv``, all of them, and ``mistakes.png``, the ``count`` that it is most sure
    of, if there is any.
    """
    predict = evaluation.network_predict(model, spec, tasks.of(output))
    answers, classes = evaluation.collect(predict, evaluation.batches_of(split))
    given = answers.argmax(axis=1)
    wrong = np.flatnonzero(given != classes)
    wrong = wrong[np.argsort(-answers[wrong].max(axis=1), kind="stable")]
    found = [
        Mistake(
            index=int(i),
            file=path_of(split, int(i)),
            label=output.labels[classes[i]],
            predicted=output.labels[given[i]],
            probability=float(answers[i, given[i]]),
            probability_of_label=float(answers[i, classes[i]]),
        )
        for i in wrong
    ]
    write_bytes(folder / "mistakes.csv", _csv(found))
    if not found:
        (folder / "mistakes.png").unlink(missing_ok=True)  # of earlier weights
        return Mistakes(found, len(classes), None)
    cases = [
        Case(
            image,
            int(given[one.index]),
            (f"{one.predicted} {one.probability:.0%}", f"is {one.label}", one.name),
        )
        for one, image in zip(found, _images(split, wrong[:count]), strict=False)
    ]
    title = f"The {len(cases)} surest of {len(wrong):,} mistakes in {len(classes):,} images"
    return Mistakes(found, len(classes), _draw(model, spec, cases, title, folder / "mistakes.png"))


def _csv(found: Sequence[Mistake]) -> bytes:
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Mistake)])
    writer.writeheader()
    writer.writerows(asdict(one) for one in found)
    # Names of files keep their bytes, be they text or not.
    return buffer.getvalue().encode(errors="surrogateescape")


def feature_map(
    model: keras.Model, spec: InputSpec, output: OutputSpec, split: Split, folder: Path
) -> Path:
    """Write ``map.png``: held-out images in the plane, near to each other where features are.

    t-SNE (van der Maaten and Hinton 2008) of the embeddings of up to 1,000 images.

    Raises:
        InputError: fewer than 10 images.
    """
    from sklearn.manifold import TSNE

    if len(split) < 10:
        raise InputError(f"expected at least 10 held-out images for a map, got {len(split)}")
    batches = evaluation.batches_of(split, MAPPED)
    embed = tf.function(lambda x: model.features(pipeline.normalize(x, spec)).embedding)
    embeddings, classes = evaluation.collect(embed, batches)
    perplexity = min(30.0, (len(classes) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(embeddings)
    figure = Figure(figsize=(9, 7), layout="constrained")
    axis = figure.subplots()
    coloured = len(output.labels) <= MOST_COLOURS
    palette = matplotlib.colormaps["tab10" if len(output.labels) <= 10 else "tab20"]
    for number, label in enumerate(output.labels):
        points = plane[classes == number]
        colour = palette(number) if coloured else None
        x, y = points.T
        axis.scatter(x, y, 12, color=colour, label=_short(label), alpha=0.8)
    if coloured:
        figure.legend(loc="outside right upper", fontsize=8)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{len(classes):,} held-out images, by their features (t-SNE)")
    return write_bytes(folder / "map.png", png(figure))


def _draw(
    model: keras.Model, spec: InputSpec, cases: Sequence[Case], title: str, path: Path
) -> Path:
    """Write the cases in pairs: the image, and the evidence for the class on it."""
    images = np.stack([case.image for case in cases])
    maps, _ = model.class_activation_maps(pipeline.normalize(tf.constant(images), spec))
    columns = max(2, min(COLUMNS, len(cases)))
    rows = -(-len(cases) // columns)
    height = 1.65 + 0.17 * max(len(case.caption) for case in cases)
    figure = Figure(figsize=(3.4 * columns, height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for case, evidence, pair in zip(cases, maps.numpy(), axes.reshape(-1, 2), strict=False):
        for axis in pair:
            grey = case.image.shape[-1] == 1
            axis.imshow(case.image[..., 0] if grey else case.image, "gray", vmin=0, vmax=255)
        pair[1].imshow(heat(evidence[..., case.shown], spec), "inferno", alpha=0.6, vmin=0, vmax=1)
        lines = "\n".join(map(_short, case.caption))
        pair[0].set_title(lines, fontsize=9, loc="left", parse_math=False)
    figure.suptitle(title, parse_math=False)
    return write_bytes(path, png(figure))


def heat(evidence: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Return what speaks for a class, enlarged to the image: float [H, W], 0 to 1.

    Args:
        evidence: float [h, w], of one class; what speaks against it, below 0, is left out.
    """
    positive = Image.fromarray(np.maximum(evidence, 0).astype(np.float32))
    enlarged = positive.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    values = np.asarray(enlarged)
    return values / max(float(values.max()), 1e-12)


def _probabilities(
    model: keras.Model, images: np.ndarray, spec: InputSpec, output: OutputSpec
) -> np.ndarray:
    predict = evaluation.network_predict(model, spec, tasks.of(output))
    return predict(tf.constant(images)).numpy()


def _images(split: Split, indices: np.ndarray) -> np.ndarray:
    images, _ = next(iter(split.batches(tf.data.Dataset.from_tensors(indices))))
    return images.numpy()


def _short(text: str, most: int = 22) -> str:
    """Return a line of at most ``most`` characters; of a longer one, its beginning and its end."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
