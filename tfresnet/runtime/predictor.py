"""Predict with a model file that tfresnet exported.

from tfresnet.deploy import Classifier
classifier = Classifier("model_int8.tflite")
for label, probability in classifier.classify("cat.jpg"):
    print(label, probability)
"""

from __future__ import annotations

import collections
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np

from . import boxes, points, preprocess, probe
from .backends import open_model
from .decode import (
    DECODERS,
    THRESHOLD,
    AnyPrediction,
    Box,
    DetectionPrediction,
    EmbeddingPrediction,
    Point,
    PointsPrediction,
    Prediction,
    Scored,
    SegmentationPrediction,
    above,
    in_pixels,
    named,
    points_in_pixels,
    predictions,
    ranked,
    shares,
)
from .errors import InputError
from .metadata import (
    BOXES,
    CLASS_MAP,
    CLASS_PROBABILITIES,
    DETECTIONS,
    EMBEDDING,
    POINTS_KIND,
    PROBABILITIES,
    ModelMetadata,
    check_output_kind,
    read_metadata,
)
from .picture_files import Skip

AnyPredicted = TypeVar("AnyPredicted", bound=AnyPrediction)


class Run(NamedTuple):
    """What a model gives for one picture of a stream.

    Attributes:
        picture: as it was given.
        found: the predictions of a batch of one, see ``decode.predictions``.
        size: width and height of the picture, upright, in pixels.
        prepare_ms: reading, cropping and resizing.
        run_ms: the model.
    """

    picture: Any
    found: Any
    size: tuple[int, int]
    prepare_ms: float
    run_ms: float


class Predictor(Generic[AnyPredicted]):
    """A model file with what it says about itself, ready to run.

    Threads may share one: each call has the interpreter for itself while the model runs, and reads
    and resizes its picture beside the others.

    Args:
        path: a .tflite, .onnx or .xml file that tfresnet exported.
        threads: processor threads of the interpreter.
        metadata: what ``read_metadata`` gave, if it was read before.

    Raises:
        InputError: the file is missing, cut short, or was not exported by tfresnet.
    """

    output_kinds: tuple[str, ...]  # what the file may give
    draws: bool = False  # whether predictions have places in the picture
    threshold: float | None = None  # of what counts; None where nothing is chosen by one

    def __init__(self, path: str | Path, threads: int = 1, metadata: ModelMetadata | None = None):
        check_count("threads", threads)
        self.metadata = metadata or read_metadata(path)
        self.spec, self.output = self.metadata.spec, self.metadata.output
        self.labels = list(self.output.labels)
        self.multi_label = self.output.multi_label  # any number of them a picture
        check_output_kind(path, self.metadata, self.output_kinds)
        if self.metadata.content is None:
            probe.check(Path(path))
        self.model = open_model(path, threads)
        self._check_shapes(path)

    def _check_shapes(self, path: str | Path) -> None:
        """Raise an ``InputError`` unless the model takes and gives what its metadata say."""
        counted = (PROBABILITIES, CLASS_PROBABILITIES)  # their last axis is that of the labels
        classes = self.model.classes if self.metadata.output_kind in counted else None
        if self.model.input_shape[1:] != self.spec.shape or classes not in (None, len(self.labels)):
            raise InputError(
                f"{path}: expected a model of {self.spec.shape} pixels and {len(self.labels)} "
                f"labels, got {self.model.input_shape[1:]} and {self.model.classes}; export it "
                "again"
            )

    def prepare(self, image: Any) -> np.ndarray:
        """Return a picture as the model sees it: upright RGB, cropped and resized, uint8 [H, W, C].

        Args:
            image: a path, the content of a picture file (bytes, or a file opened for reading), a
                Pillow image, or pixels of any size: uint8 [H, W, 3], [H, W, 1] or [H, W].

        Raises:
            InputError: the picture is missing, damaged, empty, or of another kind.
        """
        return preprocess.read(image, self.spec)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the model's first output, [n, ...], for prepared images, uint8 [n, H, W, C].

        Raises:
            InputError: the images are of another type or shape.
        """
        return next(iter(self.outputs(images).values()))

    def outputs(self, images: np.ndarray) -> dict[str, np.ndarray]:
        """Return the model's outputs by the names of ``decode.OUTPUTS``; see :meth:`run`."""
        got, kind = np.shape(images), getattr(images, "dtype", type(images).__name__)
        if kind != np.uint8 or len(got) != 4 or got[1:] != self.spec.shape or not got[0]:
            raise InputError(
                f"expected images as prepare() returns them, uint8 {['n', *self.spec.shape]}, got "
                f"{kind} {list(got)}"
            )
        return named(self.model.outputs(images), self.metadata.output_kind)

    def predictions(
        self,
        pictures: Iterable[Any],
        skip: Skip | None = None,
        top: int | None = None,
        threshold: float | None = None,
    ) -> Iterator[AnyPredicted]:
        """Predict pictures one after the other; options that do not concern the model are ignored.

        Args:
            pictures: as :meth:`prepare` takes them.
            skip: called with each picture that can't be read, and the error; without it the error
                is raised.
            top: labels a picture.
            threshold: probability of a label that counts, of a multi-label model, or score of an
                object; by default the model's ``threshold``.
        """
        threshold = self.threshold if threshold is None else threshold
        if threshold is not None:
            check_threshold(threshold)
        for one in self._run_each(pictures, skip):
            yield self._prediction(one, top, threshold)

    def _prediction(self, one: Run, top: int | None, threshold: float | None) -> AnyPredicted:
        """Return the prediction for what the model gave for a picture."""
        raise NotImplementedError

    def _run_each(self, pictures: Iterable[Any], skip: Skip | None) -> Iterator[Run]:
        """Yield what the model gives for each picture.

        The next picture is read and resized while the model runs.
        """
        with ThreadPoolExecutor(1) as reader:
            waiting: collections.deque[tuple[Any, Future]] = collections.deque()
            for picture in pictures:
                waiting.append((picture, reader.submit(self._timed_read, picture)))
                if len(waiting) > 1:
                    yield from self._timed_run(*waiting.popleft(), skip)
            while waiting:
                yield from self._timed_run(*waiting.popleft(), skip)

    def _timed_read(self, picture: Any) -> tuple[np.ndarray, tuple[int, int], float]:
        started = time.perf_counter()
        pixels, size = preprocess.read_with_size(picture, self.spec)
        return pixels, size, 1000 * (time.perf_counter() - started)

    def _timed_run(self, picture: Any, prepared: Future, skip: Skip | None) -> Iterator[Run]:
        """Run the model on one picture; yield nothing if it can't be read and is to be skipped."""
        try:
            pixels, size, prepare_ms = prepared.result()
        except InputError as error:
            if skip is None:
                raise
            skip(picture, error)
            return
        started = time.perf_counter()
        found = predictions(self.outputs(pixels[None]))
        yield Run(picture, found, size, prepare_ms, 1000 * (time.perf_counter() - started))


class Classifier(Predictor[Prediction]):
    """A model file that classifies: one label a picture, or with ``multi_label`` any number."""

    output_kinds = (PROBABILITIES,)

    def __init__(self, path: str | Path, threads: int = 1, metadata: ModelMetadata | None = None):
        super().__init__(path, threads, metadata)
        self.decoder = DECODERS[self.output.task]
        self.threshold = THRESHOLD if self.multi_label else None

    def classify(self, image: Any, top: int | None = None) -> Scored:
        """Return the ``top`` most probable (label, probability) of a picture, best first.

        By default 5; of a multi-label model all, whose probabilities do not sum to 1. ``image`` is
        a path, bytes, a Pillow image or uint8 pixels; see :meth:`prepare`.
        """
        top = self._top(top)
        return self._ranked(self.prepare(image))[:top]

    def labels_of(self, image: Any, threshold: float = THRESHOLD) -> Scored:
        """Return the (label, probability) of a picture from a probability on, best first.

        There may be none. ``image`` is as in :meth:`classify`.
        """
        check_threshold(threshold)
        return above(self._ranked(self.prepare(image)), threshold)

    def stream(
        self,
        pictures: Iterable[Any],
        top: int | None = None,
        skip: Skip | None = None,
        threshold: float = THRESHOLD,
    ) -> Iterator[Prediction]:
        """Classify one picture after the other: of a folder, of a camera, of a video.

        The next picture is read and resized while the model looks at this one. One that can't be
        read raises an ``InputError``; where ``skip`` is given, it is called with the picture and
        the error instead, and the others are classified. ``threshold`` is that of the predictions'
        ``labels``.
        """
        return self.predictions(pictures, skip, top, threshold)

    def _prediction(self, one: Run, top: int | None, threshold: float | None) -> Prediction:
        scored = ranked(one.found[0], self.labels)
        labels = self.decoder.accepted(scored, THRESHOLD if threshold is None else threshold)
        return Prediction(one.picture, scored[: self._top(top)], one.prepare_ms, one.run_ms, labels)

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 [n, classes] for prepared images, uint8 [n, H, W, C]."""
        return self.run(images)

    def _top(self, top: int | None) -> int:
        """Return how many labels to give."""
        if top is None:
            return self.decoder.default_top(len(self.labels))
        check_count("top", top)
        return top

    def _ranked(self, pixels: np.ndarray) -> Scored:
        return ranked(self.probabilities(pixels[None])[0], self.labels)


class Embedder(Predictor[EmbeddingPrediction]):
    """A model file without a head, from ``tfresnet export --features``."""

    output_kinds = (EMBEDDING,)

    def embed(self, image: Any) -> np.ndarray:
        """Return the embedding of a picture, float32 [D]; ``image`` as in :meth:`prepare`."""
        return self.run(self.prepare(image)[None])[0]

    def stream(
        self, pictures: Iterable[Any], skip: Skip | None = None
    ) -> Iterator[EmbeddingPrediction]:
        """Embed one picture after the other; ``skip`` as in :meth:`Classifier.stream`."""
        return self.predictions(pictures, skip)

    def _prediction(
        self, one: Run, top: int | None, threshold: float | None
    ) -> EmbeddingPrediction:
        return EmbeddingPrediction(one.picture, one.found[0], one.prepare_ms, one.run_ms)


class Segmenter(Predictor[SegmentationPrediction]):
    """A model file that gives each pixel one of the labels."""

    output_kinds = (CLASS_MAP, CLASS_PROBABILITIES)
    draws = True

    def segment(self, image: Any) -> np.ndarray:
        """Return the class of each pixel of a picture, uint8 [height, width].

        The map has the size of the picture as a person sees it, upright. ``image`` is as in
        :meth:`prepare`.
        """
        return next(self.stream([image])).full_size()

    def stream(
        self, pictures: Iterable[Any], skip: Skip | None = None
    ) -> Iterator[SegmentationPrediction]:
        """Segment one picture after the other; ``skip`` as in :meth:`Classifier.stream`."""
        return self.predictions(pictures, skip)

    def _prediction(
        self, one: Run, top: int | None, threshold: float | None
    ) -> SegmentationPrediction:
        class_map = one.found[0]
        found = shares(class_map, self.labels)
        return SegmentationPrediction(
            one.picture, class_map, found, one.size, one.prepare_ms, one.run_ms
        )


class Detector(Predictor[DetectionPrediction]):
    """A model file that finds objects: boxes, each with one of the labels."""

    output_kinds = (BOXES, DETECTIONS)
    draws = True
    threshold = boxes.THRESHOLD

    def detect(self, image: Any, threshold: float = boxes.THRESHOLD) -> list[Box]:
        """Return the objects in a picture whose score is at least ``threshold``, best first.

        The boxes are in pixels of the picture as a person sees it, upright. ``image`` is as in
        :meth:`prepare`.
        """
        return next(self.stream([image], threshold=threshold)).boxes

    def stream(
        self,
        pictures: Iterable[Any],
        skip: Skip | None = None,
        threshold: float = boxes.THRESHOLD,
    ) -> Iterator[DetectionPrediction]:
        """Find objects in one picture after the other; ``skip`` as in :meth:`Classifier.stream`."""
        return self.predictions(pictures, skip, threshold=threshold)

    def _prediction(
        self, one: Run, top: int | None, threshold: float | None
    ) -> DetectionPrediction:
        assert threshold is not None
        found = in_pixels(boxes.shown(one.found, 0, threshold), self.labels, one.size)
        return DetectionPrediction(one.picture, found, one.prepare_ms, one.run_ms)


class PointDetector(Predictor[PointsPrediction]):
    """A model file that finds the centers of objects, each with one of the labels."""

    output_kinds = (POINTS_KIND,)
    draws = True
    threshold = boxes.THRESHOLD

    def detect(self, image: Any, threshold: float = boxes.THRESHOLD) -> list[Point]:
        """Return the centers in a picture whose score is at least ``threshold``, best first.

        They are in pixels of the picture as a person sees it, upright. ``image`` is as in
        :meth:`prepare`.
        """
        return next(self.stream([image], threshold=threshold)).points

    def stream(
        self,
        pictures: Iterable[Any],
        skip: Skip | None = None,
        threshold: float = boxes.THRESHOLD,
    ) -> Iterator[PointsPrediction]:
        """Find centers in one picture after the other; ``skip`` as in :meth:`Classifier.stream`."""
        return self.predictions(pictures, skip, threshold=threshold)

    def _prediction(self, one: Run, top: int | None, threshold: float | None) -> PointsPrediction:
        assert threshold is not None
        found = points_in_pixels(points.shown(one.found, 0, threshold), self.labels, one.size)
        return PointsPrediction(one.picture, found, one.prepare_ms, one.run_ms)


# The class for each kind of output; a new kind is a class in this tuple.
PREDICTORS: tuple[type[Predictor], ...] = (
    Classifier,
    Embedder,
    Segmenter,
    Detector,
    PointDetector,
)
BY_KIND = {kind: predictor for predictor in PREDICTORS for kind in predictor.output_kinds}


def open_file(path: str | Path, threads: int = 1) -> Predictor:
    """Open an exported file as the predictor for what it gives.

    Raises:
        InputError: as :class:`Predictor` does.
    """
    metadata = read_metadata(path)
    check_output_kind(path, metadata, tuple(BY_KIND))
    return BY_KIND[metadata.output_kind](path, threads, metadata)


def check_count(name: str, value: Any) -> None:
    """Raise an ``InputError`` unless ``value`` is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}: expected a positive whole number, got {value!r:.60}")


def check_threshold(value: Any) -> None:
    """Raise an ``InputError`` unless ``value`` is a probability."""
    if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise InputError(f"threshold: expected a probability, 0 to 1, got {value!r:.60}")
