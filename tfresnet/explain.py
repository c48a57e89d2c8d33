"""Why a network answers as it does: what it looks at, what it gets wrong, what it finds alike."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
import tensorflow as tf
import tf_keras as keras
from matplotlib.figure import Figure
from PIL import Image

from tfresnet import metrics
from tfresnet.data import images as pictures
from tfresnet.data import pipeline
from tfresnet.data.splits import Split
from tfresnet.errors import UserError
from tfresnet.files import png, write_bytes
from tfresnet.spec import InputSpec

COLUMNS = 4  # pairs of an image and what the network looks at
MAPPED = 1000  # images on the map
MOST_COLOURS = 20  # classes that can be told apart on it


@dataclass(frozen=True)
class Case:
    """An image, and the class whose evidence is shown on it."""

    image: np.ndarray  # uint8 [H, W, C]
    shown: int
    caption: str


def pictures_given(
    model: keras.Model, spec: InputSpec, paths: Sequence[Path], folder: Path
) -> Path:
    """Write ``looked-at.png``: each picture beside what speaks for the network's answer."""
    images = np.stack([pictures.read(str(path), spec) for path in paths])
    answers = _probabilities(model, images, spec)
    cases = [
        Case(image, int(p.argmax()), f"{spec.labels[p.argmax()]} {p.max():.0%}\n{path.name}")
        for image, p, path in zip(images, answers, paths, strict=True)
    ]
    title = f"{model.name}: what speaks for its answer"
    return _draw(model, spec, cases, title, folder / "looked-at.png")


def mistakes(
    model: keras.Model, spec: InputSpec, split: Split, count: int, folder: Path
) -> Path | None:
    """Write ``mistakes.png``: the held-out images that it is most sure of, and wrong about.

    Returns:
        The file, or None if there is no mistake.
    """
    batches = pipeline.eval_batches(split, spec, metrics.EVAL_BATCH)
    answers, classes = metrics.collect(metrics.probability_function(model, spec), batches)
    given = answers.argmax(axis=1)
    wrong = np.flatnonzero(given != classes)
    chosen = wrong[np.argsort(-answers[wrong].max(axis=1), kind="stable")][:count]
    if not len(chosen):
        return None
    images = _images(split, chosen)
    cases = [
        Case(
            image,
            int(given[i]),
            f"{spec.labels[given[i]]} {answers[i].max():.0%}\nis {spec.labels[classes[i]]}",
        )
        for i, image in zip(chosen, images, strict=True)
    ]
    title = f"The {len(cases)} surest of {len(wrong):,} mistakes in {len(classes):,} images"
    return _draw(model, spec, cases, title, folder / "mistakes.png")


def feature_map(model: keras.Model, spec: InputSpec, split: Split, folder: Path) -> Path:
    """Write ``map.png``: held-out images in the plane, near to each other where features are.

    t-SNE (van der Maaten and Hinton 2008) of the embeddings of up to 1,000 images.

    Raises:
        UserError: fewer than 10 images.
    """
    from sklearn.manifold import TSNE

    if len(split) < 10:
        raise UserError(f"expected at least 10 held-out images for a map, got {len(split)}")
    batches = pipeline.raw_batches(split, metrics.EVAL_BATCH, MAPPED)
    embed = tf.function(lambda x: model.features(pipeline.normalise(x, spec)).embedding)
    embeddings, classes = metrics.collect(embed, batches)
    perplexity = min(30.0, (len(classes) - 1) / 3)
    plane = TSNE(init="pca", perplexity=perplexity, random_state=0).fit_transform(embeddings)
    figure = Figure(figsize=(9, 7), layout="constrained")
    axis = figure.subplots()
    coloured = len(spec.labels) <= MOST_COLOURS
    palette = matplotlib.colormaps["tab10" if len(spec.labels) <= 10 else "tab20"]
    for number, label in enumerate(spec.labels):
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
    maps, _ = model.evidence(pipeline.normalise(tf.constant(images), spec))
    rows = -(-len(cases) // COLUMNS)
    figure = Figure(figsize=(3.4 * COLUMNS, 2.2 * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 2 * COLUMNS, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for case, evidence, pair in zip(cases, maps.numpy(), axes.reshape(-1, 2), strict=False):
        for axis in pair:
            grey = case.image.shape[-1] == 1
            axis.imshow(case.image[..., 0] if grey else case.image, "gray", vmin=0, vmax=255)
        pair[1].imshow(heat(evidence[..., case.shown], spec), "inferno", alpha=0.6, vmin=0, vmax=1)
        pair[0].set_title(
            "\n".join(map(_short, case.caption.split("\n"))), fontsize=9, loc="left",
            parse_math=False,
        )  # fmt: skip
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


def _probabilities(model: keras.Model, images: np.ndarray, spec: InputSpec) -> np.ndarray:
    infer = metrics.probability_function(model, spec)
    return infer(pipeline.normalise(tf.constant(images), spec)).numpy()


def _images(split: Split, indices: np.ndarray) -> np.ndarray:
    images, _ = next(iter(split.batches(tf.data.Dataset.from_tensors(indices))))
    return images.numpy()


def _short(text: str) -> str:
    return textwrap.shorten(text, 22, placeholder="…") or text[:22]
