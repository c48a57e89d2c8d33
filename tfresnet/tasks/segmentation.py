"""Segmentation: each pixel has one of the labels."""

from typing import Any

import numpy as np
import tensorflow as tf

from tfresnet.config.sections import ModelConfig, TrainConfig
from tfresnet.data.splits import Split
from tfresnet.models import heads
from tfresnet.models.network import Head
from tfresnet.runtime.metadata import CLASS_MAP, CLASS_PROBABILITIES
from tfresnet.runtime.spec import SEGMENTATION, VOID, InputSpec, OutputSpec
from tfresnet.tasks import intervals, pixel_losses
from tfresnet.tasks.base import Agreement, Loss, Task
from tfresnet.tasks.headings import HEADINGS

RESAMPLES = 200
THINNED_FROM = 4  # pixels for a logit


class Segmentation(Task):
    """What is true of a batch is the class of each pixel, uint8 [batch, H, W], 255 for void.

    The network gives logits, float32 [batch, h, w, classes], at a size of its own; they are resized
    to that of the image (bilinear) before anything else is made of them.
    """

    headings = HEADINGS[SEGMENTATION]
    output_kinds = (CLASS_MAP, CLASS_PROBABILITIES)
    least_agreement = 0.95
    averages_flips = False  # a class map is no number

    def head(self, config: ModelConfig, num_classes: int) -> Head:
        """Build the head that ``model.head`` names."""
        return heads.segmentation(config, num_classes)

    def targets(self, truth: tf.Tensor) -> tf.Tensor:
        """Return the truth as it is."""
        return truth

    def loss(self, config: TrainConfig, train: Split) -> Loss:
        """Return a function of masks, uint8 [batch, H, W], and logits."""
        weights = None
        if config.class_weights == "median_frequency":
            weights = pixel_losses.median_frequency(train, len(self.output.labels))

        def per_image(targets: Any, outputs: Any, teacher: Any = None) -> tf.Tensor:
            masks = thinned(targets, outputs.shape[1:3])
            logits = resized(outputs, masks.shape[1:3])
            return pixel_losses.per_image(config, masks, logits, weights)

        return per_image

    def correct(self, targets: tf.Tensor, outputs: tf.Tensor) -> tf.Tensor:
        """Return the share of the pixels that are predicted right, void ones left out.

        To be fast it looks at as many pixels as there are logits.
        """
        targets = tf.image.resize(targets[..., None], outputs.shape[1:3], "nearest")[..., 0]
        found = tf.argmax(outputs, -1, tf.int32)
        right = tf.cast(tf.equal(found, tf.cast(targets, tf.int32)), tf.float32)
        known = tf.cast(tf.not_equal(targets, VOID), tf.float32)
        return tf.math.divide_no_nan(
            tf.reduce_sum(right * known, [1, 2]), tf.reduce_sum(known, [1, 2])
        )

    def in_graph(self, outputs: tf.Tensor, spec: InputSpec, kind: str = "") -> dict[str, tf.Tensor]:
        """Return the class of each pixel, uint8 [batch, H, W], or the probability of each class."""
        logits = resized(outputs, spec.shape[:2])
        if kind == CLASS_PROBABILITIES:
            return {CLASS_PROBABILITIES: tf.nn.softmax(logits, name=CLASS_PROBABILITIES)}
        best = tf.argmax(logits, -1, tf.int32)  # TFLite Micro knows no int64 here
        return {CLASS_MAP: tf.cast(best, tf.uint8, name=CLASS_MAP)}

    def metrics(self) -> "SegmentationMetrics":
        """Return metrics of no images yet."""
        return SegmentationMetrics(self.output)

    def decisions(self, predictions: np.ndarray) -> np.ndarray:
        """Return the class of each pixel, uint8 [n, H, W]."""
        return predictions

    def name_of(self, decision: np.ndarray) -> str:
        """Return the labels of a class map, that with most pixels first."""
        counts = np.bincount(decision[decision != VOID].ravel(), minlength=1)
        order = np.argsort(-counts, kind="stable")
        return ", ".join(self.output.labels[i] for i in order if counts[i]) or "nothing"

    def agreement(self, predictions: np.ndarray, reference: np.ndarray) -> Agreement:
        """Compare class maps: the share of equal pixels; the error is that of the worst image."""
        equal = (predictions == reference).mean(axis=(1, 2))
        return Agreement(float(equal.mean()), float(1 - equal.min()))


def thinned(masks: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Return every second pixel of masks [batch, H, W] in both directions, for the loss.

    Logits that a resize makes 4 times as large have no detail of single pixels, and the loss costs
    a quarter. Of images in turn the pixels are the upper left or the lower right of 2 x 2, so that
    on average they are where resized logits are: at the middle of the four.

    Args:
        masks: integers; unchanged if one of their sides is odd.
        size: height and width of the logits; if more than a quarter of theirs, unchanged.
    """
    sides = masks.shape[1:3]
    if any(side % 2 or side < THINNED_FROM * few for side, few in zip(sides, size, strict=True)):
        return masks
    even = tf.range(tf.shape(masks)[0])[:, None, None] % 2 == 0
    return tf.where(even, masks[:, ::2, ::2], masks[:, 1::2, 1::2])


def resized(logits: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Return logits [batch, h, w, classes] as [batch, *size, classes], bilinearly."""
    same = tuple(logits.shape[1:3]) == tuple(size)
    return logits if same else tf.image.resize(logits, size)


class SegmentationMetrics:
    """Intersection over union of each class, and the share of pixels that are right.

    Of the images only counts are kept. ``confusion`` has the pixels of each true class (row) that
    are predicted as each class (column), int64 [classes, classes].
    """

    def __init__(self, output: OutputSpec):
        self.output = output
        count = len(output.labels)
        self.confusion = np.zeros((count, count), np.int64)
        self._images: list[np.ndarray] = []  # of each: hits, true and predicted pixels, [3, c]

    def update(self, predictions: np.ndarray, truth: np.ndarray) -> None:
        """Add class maps and masks, both uint8 [n, H, W]; void pixels of the masks do not count."""
        for found, true in zip(predictions, truth, strict=True):
            matrix = confusion(true, found, len(self.output.labels))
            self.confusion += matrix
            self._images.append(np.stack([matrix.diagonal(), matrix.sum(1), matrix.sum(0)]))

    def scores(self) -> dict[str, Any]:
        """Return ``miou`` and ``pixel_accuracy``, fractions of 1.

        The mean intersection over union (Everingham et al. 2010, doi:10.1007/s11263-009-0275-4) is
        over the classes that a held-out pixel has, counted over all images together.
        """
        counts = np.sum(self._images, axis=0)
        hits, true, _ = counts
        return {
            "miou": float(_mean_iou(counts)),
            "pixel_accuracy": float(hits.sum() / max(1, true.sum())),
        }

    def result(self) -> dict[str, Any]:
        """Return the scores and ``miou_interval n per_class``.

        The interval holds the mean intersection over union with 95 % confidence; it is 1.96
        standard errors to both sides, from a bootstrap over the images. ``per_class`` has that of
        each class, None of one that no pixel has.
        """
        images = np.stack(self._images)
        scores, iou = self.scores(), _iou(images.sum(axis=0))
        rng = np.random.default_rng(0)
        even = np.full(len(images), 1 / len(images))
        draws = rng.multinomial(len(images), even, RESAMPLES)
        means = [_mean_iou(np.tensordot(draw, images, 1)) for draw in draws]
        reach = intervals.Z * float(np.std(means))
        return scores | {
            "miou_interval": [max(0.0, scores["miou"] - reach), min(1.0, scores["miou"] + reach)],
            "n": len(images),
            "per_class": {
                label: None if np.isnan(value) else float(value)
                for label, value in zip(self.output.labels, iou, strict=True)
            },
        }


def confusion(true: np.ndarray, found: np.ndarray, classes: int) -> np.ndarray:
    """Count the pixels of each true and predicted class, int64 [classes, classes].

    As scikit-learn's ``confusion_matrix``, which takes a hundred times as long for a mask.

    Args:
        true: integers of any shape; ``VOID`` does not count.
        found: the same, without void.
        classes: how many there are.
    """
    known = true != VOID
    pairs = classes * true[known].astype(np.int64) + found[known]
    return np.bincount(pairs, minlength=classes**2).reshape(classes, classes)


def _iou(counts: np.ndarray) -> np.ndarray:
    """Return the intersection over union of each class, NaN of one that no pixel has.

    Args:
        counts: pixels that are right, true and predicted, [3, classes].
    """
    hits, true, found = counts
    union = true + found - hits
    return np.divide(hits, union, out=np.full(len(hits), np.nan), where=true > 0)


def _mean_iou(counts: np.ndarray) -> float:
    each = _iou(counts)
    return float(np.nanmean(each)) if not np.isnan(each).all() else 0.0
