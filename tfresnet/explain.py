"""Explain a classifier: class activation maps, its mistakes, and a map of its features."""

import csv
import io
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import matplotlib
import numpy as np
import tensorflow as tf
from matplotlib.figure import Figure
from PIL import Image

from tfresnet import evaluation, tasks
from tfresnet.data import pipeline
from tfresnet.data.splits import Split, path_of
from tfresnet.keras2 import keras
from tfresnet.runtime import preprocess
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec
from tfresnet.system.files import png, write_bytes

COLUMNS = 4  # at most, of an image beside its class activation map
MAPPED = 1000  # held-out images on the map of features, at most
MOST_COLORS = 20  # classes whose colors can be told apart on it


@dataclass(frozen=True)
class Panel:
    """What is drawn of one image.

    Attributes:
        image: uint8 [H, W, C].
        shown: the class whose activation map is drawn.
        caption: lines of text above the image.
    """

    image: np.ndarray
    shown: int
    caption: Sequence[str]


@dataclass(frozen=True)
class PicturePrediction:
    """The predicted class of a picture.

    Attributes:
        image: the picture's path.
        label: name of the predicted class.
        probability: of that class, 0 to 1.
    """

    image: str
    label: str
    probability: float


@dataclass(frozen=True)
class Mistake:
    """A held-out image with a wrong prediction.

    Attributes:
        index: of the image among the held-out images.
        file: its path; None if the dataset is not made of picture files.
        label: name of its true class.
        predicted: name of the predicted class.
        probability: of the predicted class, 0 to 1.
        probability_of_label: of the true class, 0 to 1.
    """

    index: int
    file: str | None
    label: str
    predicted: str
    probability: float
    probability_of_label: float

    @property
    def name(self) -> str:
        """The file's name; without a file, ``image`` and the index."""
        return Path(self.file).name if self.file else f"image {self.index}"


@dataclass(frozen=True)
class Mistakes:
    """The mistakes of a network.

    Attributes:
        found: the mistakes, the highest probability first.
        n: number of held-out images.
        picture: file with the first ones; None if there are no mistakes.
    """

    found: list[Mistake]
    n: int
    picture: Path | None


def predicted_pictures(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    paths: Sequence[Path],
    folder: Path,
) -> tuple[Path, list[PicturePrediction]]:
    """Write ``looked-at.png``: each picture beside the activation map of its predicted class.

    Args:
        model: a classifier.
        spec: of its input.
        output: of its output.
        paths: of the pictures.
        folder: for the file.

    Returns:
        The file, and the prediction for each picture.
    """
    images = np.stack([preprocess.read(path, spec) for path in paths])
    probabilities = _probabilities(model, images, spec, output)
    classes = probabilities.argmax(axis=1)
    predictions = [
        PicturePrediction(str(path), output.labels[i], float(p[i]))
        for path, i, p in zip(paths, classes, probabilities, strict=True)
    ]
    panels = [
        Panel(image, int(i), (f"{one.label} {one.probability:.0%}", path.name))
        for image, i, one, path in zip(images, classes, predictions, paths, strict=True)
    ]
    title = f"{model.name}: where it sees the predicted class"
    return _draw(model, spec, panels, title, folder / "looked-at.png"), predictions


def mistakes(
    model: keras.Model,
    spec: InputSpec,
    output: OutputSpec,
    split: Split,
    count: int,
    folder: Path,
) -> Mistakes:
    """Find the held-out images with wrong predictions.

    Writes ``mistakes.csv`` with all of them, and, if there are any, ``mistakes.png`` with those of
    the highest probability.

    Args:
        model: a classifier.
        spec: of its input.
        output: of its output.
        split: the held-out images.
        count: most images in ``mistakes.png``.
        folder: for the files.
    """
    predict = evaluation.network_predict(model, spec, tasks.of(output))
    probabilities, classes = evaluation.collect(predict, evaluation.batches_of(split))
    predicted = probabilities.argmax(axis=1)
    wrong = np.flatnonzero(predicted != classes)
    wrong = wrong[np.argsort(-probabilities[wrong].max(axis=1), kind="stable")]
    found = [
        Mistake(
            index=int(i),
            file=path_of(split, int(i)),
            label=output.labels[classes[i]],
            predicted=output.labels[predicted[i]],
            probability=float(probabilities[i, predicted[i]]),
            probability_of_label=float(probabilities[i, classes[i]]),
        )
        for i in wrong
    ]
    write_bytes(folder / "mistakes.csv", _csv(found))
    if not found:
        (folder / "mistakes.png").unlink(missing_ok=True)  # of earlier weights
        return Mistakes(found, len(classes), None)
    panels = [
        Panel(
            image,
            int(predicted[one.index]),
            (f"{one.predicted} {one.probability:.0%}", f"is {one.label}", one.name),
        )
        for one, image in zip(found, _images(split, wrong[:count]), strict=False)
    ]
    title = f"The {len(panels)} surest of {len(wrong):,} mistakes in {len(classes):,} images"
    return Mistakes(found, len(classes), _draw(model, spec, panels, title, folder / "mistakes.png"))


def _csv(found: Sequence[Mistake]) -> bytes:
    """Return a table with a row for each mistake."""
    buffer = io.StringIO()
    writer = csv.DictWriter(buffer, [field.name for field in fields(Mistake)])
    writer.writeheader()
    writer.writerows(asdict(one) for one in found)
    # A file's name keeps its bytes, also if they are not valid UTF-8.
    return buffer.getvalue().encode(errors="surrogateescape")


def feature_map(
    model: keras.Model, spec: InputSpec, output: OutputSpec, split: Split, folder: Path
) -> Path:
    """Write ``map.png``: points for held-out images, near each other if their features are similar.

    The points are the t-SNE (van der Maaten and Hinton 2008) of the embeddings of up to 1,000
    images.

    Args:
        model: a classifier.
        spec: of its input.
        output: of its output.
        split: the held-out images.
        folder: for the file.

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
    colored = len(output.labels) <= MOST_COLORS
    palette = matplotlib.colormaps["tab10" if len(output.labels) <= 10 else "tab20"]
    for number, label in enumerate(output.labels):
        points = plane[classes == number]
        color = palette(number) if colored else None
        x, y = points.T
        axis.scatter(x, y, 12, color=color, label=_short(label), alpha=0.8)
    if colored:
        figure.legend(loc="outside right upper", fontsize=8)
    axis.set(xticks=[], yticks=[])
    axis.set_title(f"{len(classes):,} held-out images, by their features (t-SNE)")
    return write_bytes(folder / "map.png", png(figure))


def _draw(
    model: keras.Model, spec: InputSpec, panels: Sequence[Panel], title: str, path: Path
) -> Path:
    """Write a figure with each image beside the same image under a class activation map."""
    images = np.stack([panel.image for panel in panels])
    maps, _ = model.class_activation_maps(pipeline.normalize(tf.constant(images), spec))
    columns = max(2, min(COLUMNS, len(panels)))
    rows = -(-len(panels) // columns)
    height = 1.65 + 0.17 * max(len(panel.caption) for panel in panels)
    figure = Figure(figsize=(3.4 * columns, height * rows + 0.6), layout="constrained")
    axes = figure.subplots(rows, 2 * columns, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for panel, activation, pair in zip(panels, maps.numpy(), axes.reshape(-1, 2), strict=False):
        for axis in pair:
            gray = panel.image.shape[-1] == 1
            axis.imshow(panel.image[..., 0] if gray else panel.image, "gray", vmin=0, vmax=255)
        shown = heat(activation[..., panel.shown], spec)
        pair[1].imshow(shown, "inferno", alpha=0.6, vmin=0, vmax=1)
        lines = "\n".join(map(_short, panel.caption))
        pair[0].set_title(lines, fontsize=9, loc="left", parse_math=False)
    figure.suptitle(title, parse_math=False)
    return write_bytes(path, png(figure))


def heat(activation: np.ndarray, spec: InputSpec) -> np.ndarray:
    """Scale a class activation map to the size of the image and to 0 to 1: float [H, W].

    Args:
        activation: of one class, float [h, w]; values below 0 speak against the class and count
            as 0.
        spec: of the model's input, with the size of the image.
    """
    positive = Image.fromarray(np.maximum(activation, 0).astype(np.float32))
    enlarged = positive.resize((spec.width, spec.height), Image.Resampling.BILINEAR)
    values = np.asarray(enlarged)
    return values / max(float(values.max()), 1e-12)


def _probabilities(
    model: keras.Model, images: np.ndarray, spec: InputSpec, output: OutputSpec
) -> np.ndarray:
    """Return the probabilities of uint8 images [n, H, W, C], float32 [n, classes]."""
    predict = evaluation.network_predict(model, spec, tasks.of(output))
    return predict(tf.constant(images))


def _images(split: Split, indices: np.ndarray) -> np.ndarray:
    """Return some images of a split, uint8 [n, H, W, C]."""
    images, _ = next(iter(split.batches(tf.data.Dataset.from_tensors(indices))))
    return images.numpy()


def _short(text: str, most: int = 22) -> str:
    """Shorten a text to at most ``most`` characters, by leaving out its middle."""
    return text if len(text) <= most else f"{text[: most // 2]}…{text[-(most // 2 - 1) :]}"
