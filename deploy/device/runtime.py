"""Classify pictures with a model file that tfresnet exported.

This one file is all that a device needs, beside numpy, Pillow and ai-edge-litert (for .tflite)
or onnxruntime (for .onnx). It reads labels and preprocessing from the model file itself.

    from classify import Classifier
    classifier = Classifier("model_int8.tflite")
    for label, probability in classifier.classify("cat.jpg"):
        print(label, probability)

or, from a shell:  python classify.py model_int8.tflite cat.jpg folder --times
"""

from __future__ import annotations

import argparse
import collections
import contextlib
import functools
import hashlib
import importlib
import io
import json
import math
import os
import re
import struct
import sys
import threading
import time
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

# Formats that Pillow knows by name only, or hands on to programs that may not be there.
STUBS = {"BUFR", "EPS", "GRIB", "HDF5", "MPEG", "WMF"}
# Formats that not every Pillow reads: endings, first bytes ("ftyp" and then these), what to do.
INSTALLED = (
    ((".heic", ".heif", ".hif"), (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"),
     "for HEIC: pip install pillow-heif"),
    ((".avif", ".avifs"), (b"avif", b"avis"), "for AVIF: pip install --upgrade Pillow"),
)  # fmt: skip
# Files and folders that systems leave behind, besides hidden ones.
SYSTEM = frozenset({
    "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__macosx", "@eadir", "lost+found",
    "$recycle.bin", "system volume information",
})  # fmt: skip
LARGEST_METADATA = 2**24  # bytes
CHUNK = 2**20  # bytes that are read at a time
LARGEST_SIDE = 2**14  # pixels
# What Pillow raises for a file that is damaged, or none of its formats.
UNREADABLE = (OSError, ValueError, SyntaxError, struct.error, Image.DecompressionBombError)
BROKEN_PIPE = 128 + 13  # the exit status of a tool that SIGPIPE ended
GREYS = (np.dtype(np.uint8), np.dtype(np.uint16), np.dtype(bool))  # of arrays [H, W]
THRESHOLD = 0.5  # of the probability of a label, where a picture may have many
TOP = 5  # answers, where a picture has one label
METADATA_NAME = "tfresnet.json"  # in the zip behind a .tflite; "tfresnet" in an .onnx


try:
    from tfresnet.runtime.errors import InputError
except ImportError:  # on a device

    class InputError(ValueError):  # type: ignore[no-redef]
        """A file that can't be used: one line that says what was expected and what was got."""

        def __init__(self, message: str):
            text = message.encode(errors="replace").decode()  # of names that are no text
            line = "".join(c if c.isprintable() else " " for c in text)
            super().__init__(line if len(line) <= 900 else f"{line[:900]} ...")


class Answer(NamedTuple):
    """What a model said of one picture of a stream, and the milliseconds that it took.

    Attributes:
        picture: as it was given.
        top: the most probable (label, probability), best first.
        prepare_ms: reading, cropping and resizing.
        run_ms: the model.
        labels: of a multi-label model, those that are probable enough, best first; else None.
    """

    picture: Any
    top: list[tuple[str, float]]
    prepare_ms: float
    run_ms: float
    labels: list[tuple[str, float]] | None = None


Skip = Callable[[Any, InputError], None]  # told of a picture that can't be used, and why


class ModelFile:
    """A model file with what it says about itself, ready to run.

    Threads may share one: each call has the interpreter for itself while the model runs, and reads
    and resizes its picture beside the others.

    Args:
        path: a .tflite or .onnx file that tfresnet exported.
        threads: processor threads of the interpreter.
        metadata: what :func:`read_metadata` gave, if it was asked before.

    Raises:
        InputError: the file is missing, cut short, or was not exported by tfresnet.
    """

    output = "probabilities"  # what the file must give

    def __init__(self, path: str | Path, threads: int = 1, metadata: dict[str, Any] | None = None):
        check_count("threads", threads)
        self.metadata = metadata or read_metadata(path)
        self.spec = self.metadata["spec"]
        self.labels: list[str] = self.spec["labels"]
        self.multi_label = bool(self.spec.get("multi_label"))  # any number of them a picture
        check_output(path, self.metadata, self.output)
        self.model = open_model(path, threads)
        shape = (self.spec["height"], self.spec["width"], len(self.spec["mean"]))
        classes = self.model.classes if self.output == "probabilities" else None
        if self.model.input_shape[1:] != shape or classes not in (None, len(self.labels)):
            raise InputError(
                f"{path}: expected a model of {shape} pixels and {len(self.labels)} labels, got "
                f"{self.model.input_shape[1:]} and {self.model.classes}; export it again"
            )

    def prepare(self, image: Any) -> np.ndarray:
        """Return a picture as the model sees it: upright RGB, cropped and resized, uint8 [H, W, C].

        Args:
            image: a path, the content of a picture file (bytes, or a file opened for reading), a
                Pillow image, or pixels of any size: uint8 [H, W, 3], [H, W, 1] or [H, W].

        Raises:
            InputError: the picture is missing, damaged, empty, or of another kind.
        """
        return read_picture(image, self.spec)

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return the model's float32 outputs [n, D] for prepared images, uint8 [n, H, W, C].

        Raises:
            InputError: the images are of another type or shape.
        """
        shape = (self.spec["height"], self.spec["width"], len(self.spec["mean"]))
        got, kind = np.shape(images), getattr(images, "dtype", type(images).__name__)
        if kind != np.uint8 or len(got) != 4 or got[1:] != shape or not got[0]:
            raise InputError(
                f"expected images as prepare() returns them, uint8 {['n', *shape]}, got {kind} "
                f"{list(got)}"
            )
        return self.model.run(images)


class Classifier(ModelFile):
    """A model file that classifies: one label a picture, or with ``multi_label`` any number."""

    def classify(self, image: Any, top: int | None = None) -> list[tuple[str, float]]:
        """Return the ``top`` most probable (label, probability) of a picture, best first.

        By default 5; of a multi-label model all, whose probabilities do not sum to 1. ``image`` is
        a path, bytes, a Pillow image or uint8 pixels; see :meth:`prepare`.
        """
        top = self._top(top)
        return self._best(self.probabilities(self.prepare(image)[None])[0], top)

    def labels_of(self, image: Any, threshold: float = THRESHOLD) -> list[tuple[str, float]]:
        """Return the (label, probability) of a picture from a probability on, best first.

        There may be none. ``image`` is as in :meth:`classify`.
        """
        check_threshold(threshold)
        return [
            answer for answer in self.classify(image, len(self.labels)) if answer[1] >= threshold
        ]

    def stream(
        self,
        pictures: Iterable[Any],
        top: int | None = None,
        skip: Skip | None = None,
        threshold: float = THRESHOLD,
    ) -> Iterator[Answer]:
        """Classify one picture after the other: of a folder, of a camera, of a video.

        The next picture is read and resized while the model looks at this one. One that can't be
        read raises an ``InputError``; where ``skip`` is given, it is called with the picture and
        the error instead, and the others are classified. ``threshold`` is that of the answers'
        ``labels``.
        """
        top = self._top(top)
        check_threshold(threshold)
        with ThreadPoolExecutor(1) as reader:
            waiting: collections.deque[tuple[Any, Future]] = collections.deque()
            for picture in pictures:
                waiting.append((picture, reader.submit(self._timed_prepare, picture)))
                if len(waiting) > 1:
                    yield from self._answers(*waiting.popleft(), top, skip, threshold)
            while waiting:
                yield from self._answers(*waiting.popleft(), top, skip, threshold)

    def _top(self, top: int | None) -> int:
        """Return how many answers to give."""
        if top is None:
            return len(self.labels) if self.multi_label else TOP
        check_count("top", top)
        return top

    def _timed_prepare(self, picture: Any) -> tuple[np.ndarray, float]:
        started = time.perf_counter()
        return self.prepare(picture), 1000 * (time.perf_counter() - started)

    def _answers(
        self,
        picture: Any,
        prepared: Future,
        top: int,
        skip: Skip | None,
        threshold: float,
    ) -> Iterator[Answer]:
        """Yield the answer for a picture, or none if it can't be read and is to be skipped."""
        try:
            pixels, prepare_ms = prepared.result()
        except InputError as error:
            if skip is None:
                raise
            skip(picture, error)
            return
        started = time.perf_counter()
        probabilities = self.probabilities(pixels[None])[0]
        run_ms = 1000 * (time.perf_counter() - started)
        ranked = self._best(probabilities, len(self.labels))
        labels = [a for a in ranked if a[1] >= threshold] if self.multi_label else None
        yield Answer(picture, ranked[:top], prepare_ms, run_ms, labels)

    def _best(self, probabilities: np.ndarray, top: int) -> list[tuple[str, float]]:
        best = np.argsort(-probabilities, kind="stable")[:top]
        return [(self.labels[i], float(probabilities[i])) for i in best]

    def probabilities(self, images: np.ndarray) -> np.ndarray:
        """Return float32 [n, classes] for prepared images, uint8 [n, H, W, C]."""
        return self.run(images)


class Embedder(ModelFile):
    """A model file without a head, from ``tfresnet export --features``."""

    output = "embedding"

    def embed(self, image: Any) -> np.ndarray:
        """Return the embedding of a picture, float32 [D]; ``image`` as in :meth:`prepare`."""
        return self.run(self.prepare(image)[None])[0]

    def stream(
        self, pictures: Iterable[Any], skip: Skip | None = None
    ) -> Iterator[tuple[Any, np.ndarray]]:
        """Yield each picture with its embedding; ``skip`` as in :meth:`Classifier.stream`."""
        for picture in pictures:
            try:
                pixels = self.prepare(picture)
            except InputError as error:
                if skip is None:
                    raise
                skip(picture, error)
            else:
                yield picture, self.run(pixels[None])[0]


def pictures_in(paths: Iterable[str | Path], skip: Skip) -> Iterator[str]:
    """Yield the pictures and those in the folders of ``paths``; ``skip`` is told of empty ones."""
    for path in paths:
        try:
            yield from pictures_of(path)
        except InputError as error:
            skip(path, error)


def pictures_of(path: str | Path) -> list[str]:
    """Return a picture's path in a list, or those of all pictures in a folder, sorted.

    Pictures of a format that can be read once something is installed are among them.
    """
    if not Path(path).is_dir():
        return [str(path)]
    found = [p for p in sorted(_all_files(Path(path))) if is_image(p) or how_to_read(p)]
    if not found:
        known = ", ".join(sorted(extensions()))
        raise InputError(f"expected pictures ({known}) in {path}, got none")
    return [str(p) for p in found]


def _all_files(folder: Path) -> Iterator[Path]:
    """Yield the files below a folder, through links too; hidden ones and those of systems not."""
    seen: set[str] = set()
    for where, folders, files in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:  # a link to a folder above it
            folders.clear()
            continue
        seen.add(real)
        folders[:] = filter(_is_meant, folders)
        yield from (Path(where, name) for name in files if _is_meant(name))


def _is_meant(name: str) -> bool:
    """Tell whether a file or folder is somebody's, not a hidden one or one of the system's."""
    return not name.startswith(".") and name.lower() not in SYSTEM


@functools.cache
def extensions() -> frozenset[str]:
    """Return the endings of the files that Pillow can open here; HEIC with pillow-heif's help."""
    with contextlib.suppress(ImportError):
        importlib.import_module("pillow_heif").register_heif_opener()
    known = Image.registered_extensions()
    return frozenset(e for e, name in known.items() if name in Image.OPEN and name not in STUBS)


def is_image(path: Path) -> bool:
    """Tell whether a file is an image: by its ending, and without one by its first bytes."""
    if path.suffix:
        return path.suffix.lower() in extensions()
    if not path.is_file():
        return False
    try:
        with _identified(path):
            return True
    except UNREADABLE:
        return False


def how_to_read(path: str | Path) -> str | None:
    """Return what to install so that a file is an image, or None if that is not known to help."""
    suffix = Path(path).suffix.lower()
    brand = b""
    with contextlib.suppress(OSError), open(path, "rb") as file:
        head = file.read(12)
        brand = head[8:] if head[4:8] == b"ftyp" else b""
    for endings, brands, hint in INSTALLED:
        if (suffix in endings or brand in brands) and endings[0] not in extensions():
            return hint
    return None


def read_picture(source: Any, spec: dict[str, Any]) -> np.ndarray:
    """Return a picture as :func:`fit` does, or raise an ``InputError``.

    ``source`` is what :meth:`ModelFile.prepare` takes.
    """
    is_path = isinstance(source, (str, os.PathLike))
    name = printable(source) if is_path else "the picture"
    try:
        if is_path and not Path(source).exists():
            raise InputError(f"expected an image, {name} does not exist")
        if isinstance(source, Image.Image):
            if not source.width or not source.height:
                raise InputError(f"expected a picture, got an empty one of {source.size} pixels")
            return fit(_upright(source), spec)
        with _opened(source) as picture:
            # A large JPEG is decoded at 1/2, 1/4 or 1/8, never below twice what is needed.
            longer = max(spec["height"], spec["width"])
            side = math.ceil(2 * longer / spec["crop_fraction"])
            picture.draft("RGB", (side, side))
            return fit(_upright(picture), spec)
    except InputError:
        raise
    except UNREADABLE as error:
        reason = " ".join(str(error).split())
        if isinstance(error, UnidentifiedImageError):
            reason = (is_path and how_to_read(source)) or "not an image"
        raise InputError(f"{name}: expected a readable image: {reason}") from None


def _opened(source: Any) -> Image.Image:
    """Return a path, the content of a file or an array of pixels as a Pillow image."""
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _identified(io.BytesIO(source))
    if isinstance(source, (str, os.PathLike)):
        return _identified(source)
    if isinstance(source, io.IOBase) or hasattr(source, "read"):
        if isinstance(source, io.TextIOBase):
            raise InputError("expected a file opened for bytes, mode 'rb', got one opened for text")
        return _identified(source)
    if hasattr(source, "__array__"):
        return _of_pixels(np.asarray(source))
    raise InputError(
        "expected a path, bytes, a Pillow image or an array of uint8 pixels, got "
        f"{type(source).__name__}"
    )


def _identified(file: Any) -> Image.Image:
    """Return the picture in a file, not decoded yet; HEIC too, where pillow-heif is installed."""
    try:
        return Image.open(file)
    except UnidentifiedImageError:
        extensions()  # which tells Pillow of pillow-heif
        return Image.open(file)


def _upright(image: Image.Image) -> Image.Image:
    """Decode a picture and turn it as its EXIF orientation says.

    Raises:
        ValueError: colors of 16 bits, of which 12 at most are used: Pillow keeps the upper 8 bits,
            which would be black.
    """
    deep = image.mode[0] not in "IF" and any(
        re.search(r";16[BLN]\b", str(tile[3])) for tile in getattr(image, "tile", ())
    )
    image = ImageOps.exif_transpose(image)
    if deep and np.asarray(image.convert("RGB")).max() < 16:
        raise ValueError("expected colors of 8 bits, or of 16 that are used, got 12 bits in 16")
    return image


def _of_pixels(pixels: np.ndarray) -> Image.Image:
    """Return an array of pixels as a Pillow image; one channel may have an axis of its own."""
    got = f"{pixels.dtype} {list(pixels.shape)}"
    if pixels.dtype.kind == "f":
        raise InputError(
            f"expected uint8 pixels, 0 to 255, got {got}; if yours are from 0 to 1, give "
            "(pixels * 255).round().astype('uint8')"
        )
    if not pixels.size:
        raise InputError(f"expected a picture, got an empty array, {got}")
    if pixels.ndim == 4:
        raise InputError(f"expected one picture, [H, W, 3], got {got}; give them one by one")
    if pixels.ndim == 3 and pixels.shape[2] == 1:
        pixels = pixels[..., 0]
    grey = pixels.ndim == 2 and pixels.dtype in GREYS
    colored = pixels.ndim == 3 and pixels.shape[2] in (2, 3, 4) and pixels.dtype == np.uint8
    if not (grey or colored):
        raise InputError(f"expected uint8 pixels [H, W, 3], [H, W, 1] or [H, W], got {got}")
    return Image.fromarray(np.ascontiguousarray(pixels))


def fit(image: Image.Image, spec: dict[str, Any]) -> np.ndarray:
    """Return an upright picture of any size as uint8 [height, width, C], as in evaluation."""
    if image.mode[0] in "IF":  # greys of more than 8 bits
        pixels = np.asarray(image)
        if image.mode == "F" or pixels.min() < 0 or pixels.max() > 65535:
            raise ValueError("expected 8 or 16 bits for each pixel and channel, got 32")
        # Cameras store 8, 12 or 16 bits in 16; the brightest pixel tells which.
        used = next(bits for bits in (8, 12, 16) if pixels.max() < 2**bits)
        image = Image.fromarray((pixels.astype(np.uint16) >> (used - 8)).astype(np.uint8))
    channels = len(spec["mean"])
    image = image.convert("L" if channels == 1 else "RGB")
    height, width = spec["height"], spec["width"]
    scale = min(image.width / width, image.height / height) * spec["crop_fraction"]
    crop_width = min(image.width, max(1, round(width * scale)))
    crop_height = min(image.height, max(1, round(height * scale)))
    left, top = (image.width - crop_width) // 2, (image.height - crop_height) // 2
    resample = Image.Resampling[spec["interpolation"].upper()]
    box = (left, top, left + crop_width, top + crop_height)
    pixels = np.asarray(image.resize((width, height), resample, box=box))
    return pixels.reshape(height, width, channels)


def read_metadata(path: str | Path) -> dict[str, Any]:
    """Return what tfresnet wrote into a model file: input spec, labels, provenance, results.

    The folder of a SavedModel is read too, though only TensorFlow can run it.
    """
    path = as_path(path)
    if not path.exists():
        raise InputError(f"expected a .tflite or .onnx file, {path} does not exist")
    suffix = path.suffix.lower()
    if path.is_dir():
        file = path / METADATA_NAME
        text = file.read_text(encoding="utf-8") if file.is_file() else None
    elif suffix == ".onnx":
        text = _open_onnx(path, 1).get_modelmeta().custom_metadata_map.get("tfresnet")
    elif suffix == ".tflite":
        text = _read_zipped(path)
    else:
        raise InputError(f"expected a .tflite or .onnx file, got {path}")
    if text is None and path.is_dir():
        raise InputError(f"expected a .tflite or .onnx file, {path} is a folder")
    if text is None:
        raise InputError(
            f"{path} is cut short or was not exported by tfresnet: it holds no labels and no "
            "input spec; export it again"
        )
    try:
        metadata = json.loads(text)
        _check_spec(metadata["spec"])
        whole = "content" not in metadata or _is_whole(path, metadata["content"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: expected tfresnet's metadata inside: {error!r:.100}") from None
    if not whole:
        raise InputError(
            f"{path}: expected the bytes that tfresnet wrote, got others: it is damaged, or was "
            "changed after its accuracy was measured; copy or export it again"
        )
    return metadata


def as_path(path: Any) -> Path:
    """Return the path of a model file, or raise an ``InputError`` for what is none."""
    if not isinstance(path, (str, os.PathLike)):
        raise InputError(f"expected the path of a .tflite or .onnx file, got {path!r:.60}")
    return Path(path)


def check_count(name: str, value: Any) -> None:
    """Raise an ``InputError`` unless ``value`` is a positive whole number."""
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or value < 1:
        raise InputError(f"{name}: expected a positive whole number, got {value!r:.60}")


def check_threshold(value: Any) -> None:
    """Raise an ``InputError`` unless ``value`` is a probability."""
    if not isinstance(value, (int, float, np.number)) or not 0 <= value <= 1:
        raise InputError(f"threshold: expected a probability, 0 to 1, got {value!r:.60}")


def digest(model: BinaryIO, count: int) -> dict[str, Any]:
    """Return the number and the SHA-256 of a model's first ``count`` bytes, or of all it has."""
    found, left = hashlib.sha256(), count
    while left > 0 and (part := model.read(min(left, CHUNK))):
        found.update(part)
        left -= len(part)
    return {"bytes": count - left, "sha256": found.hexdigest()}


def _is_whole(path: Path, written: dict[str, Any]) -> bool:
    """Tell whether a file begins with the model that was written; the metadata are behind it."""
    if path.is_dir():
        return True
    with path.open("rb") as file:
        return digest(file, written["bytes"]) == written


def check_output(path: str | Path, metadata: dict[str, Any], expected: str) -> None:
    """Raise an ``InputError`` unless a file gives what is expected of it."""
    output = metadata.get("output", "probabilities")
    if output != expected:
        raise InputError(f"{path}: expected a model that gives {expected}, got {output}")


def _check_spec(spec: dict[str, Any]) -> None:
    """Raise ValueError, TypeError or KeyError unless ``spec`` is one that ``fit`` can follow."""
    sides = (spec["height"], spec["width"])
    if not all(isinstance(n, int) and 0 < n <= LARGEST_SIDE for n in sides):
        raise ValueError(f"height and width must be whole numbers up to {LARGEST_SIDE}")
    if not 0 < spec["crop_fraction"] <= 1:
        raise ValueError("crop_fraction must be above 0 and at most 1")
    if str(spec["interpolation"]).upper() not in Image.Resampling.__members__:
        raise ValueError("interpolation must be one of Pillow's")
    labels, mean = spec["labels"], spec["mean"]
    if not isinstance(labels, list) or not all(isinstance(label, str) for label in labels):
        raise TypeError("labels must be a list of texts")
    if not isinstance(mean, list) or len(mean) not in (1, 3):
        raise TypeError("mean must be a list of 1 or 3")


def _read_zipped(path: Path) -> str | None:
    with path.open("rb") as file:
        try:
            with zipfile.ZipFile(file) as archive:
                small = archive.getinfo(METADATA_NAME).file_size <= LARGEST_METADATA
                return archive.read(METADATA_NAME).decode() if small else None
        except (zipfile.BadZipFile, zlib.error, LookupError, ValueError, RuntimeError, OSError):
            return None  # damaged, encrypted, packed in an unknown way: none of tfresnet's


def open_file(path: str | Path, threads: int = 1) -> Classifier | Embedder:
    """Return an exported file as what it is."""
    metadata = read_metadata(path)
    kind = Embedder if metadata.get("output") == Embedder.output else Classifier
    return kind(path, threads, metadata)


def open_model(path: str | Path, threads: int = 1) -> TfliteModel | OnnxModel:
    """Return any .tflite or .onnx model, with or without metadata; threads may share it."""
    if as_path(path).is_dir():
        raise InputError(f"expected a .tflite or .onnx file, {path} is a folder")
    kind = OnnxModel if as_path(path).suffix.lower() == ".onnx" else TfliteModel
    return kind(path, threads)


def _name_or_content(path: str | Path) -> str | bytes:
    """Return a file's name; its content where the name is in no encoding that interpreters take."""
    try:
        return str(path).encode() and str(path)
    except UnicodeEncodeError:
        return Path(path).read_bytes()


def _interpreter_class(path: str | Path) -> Any:
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        try:  # LiteRT's older name and last version, for 32-bit Arm, where it has no other
            from tflite_runtime.interpreter import Interpreter
        except ImportError:
            raise InputError(
                f"{path} needs LiteRT: pip install ai-edge-litert (32-bit Arm: tflite-runtime)"
            ) from None
    return Interpreter


class TfliteModel:
    """A TFLite model with one image input and one output, in LiteRT's interpreter.

    ``run`` may be called by several threads; the interpreter, which has one input, runs for one of
    them at a time. ``set_input``, ``invoke`` and ``answer`` are steps of it for one thread alone.
    """

    def __init__(self, path: str | Path, threads: int):
        interpreter = _interpreter_class(path)
        self._lock = threading.Lock()
        file = _name_or_content(path)
        source = {"model_content" if isinstance(file, bytes) else "model_path": file}
        try:
            with _quiet_stderr():
                self.interpreter = interpreter(**source, num_threads=threads)
                self.interpreter.allocate_tensors()
        except (ValueError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{path}: expected a whole TFLite model: {reason}") from None
        self.input = self.interpreter.get_input_details()[0]
        self.output = self.interpreter.get_output_details()[0]
        self.input_shape = tuple(int(n) for n in self.input["shape"])
        self.input_dtype = np.dtype(self.input["dtype"])
        self.classes = int(self.output["shape"][-1])
        self.any_batch = int(self.input["shape_signature"][0]) == -1

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return float32 outputs [n, classes] for uint8 images [n, H, W, C].

        A file with a fixed batch sees them in parts of it, another one all together.
        """
        with self._lock:
            if self.any_batch:
                self._resize(len(images))
                return self._answers(images)
            parts = _parts(images, self.input_shape[0])
            return np.concatenate([self._answers(part)[:count] for part, count in parts])

    def _answers(self, images: np.ndarray) -> np.ndarray:
        self.set_input(images)
        self.invoke()
        return self.answer()

    def set_input(self, image: np.ndarray) -> None:
        """Copy images into the input; bytes become what it takes, ``(pixel - 128) / 128``."""
        if image.dtype == np.uint8 and self.input_dtype != np.uint8:
            image = self._converted(image)
        self.interpreter.set_tensor(self.input["index"], image)

    def invoke(self) -> None:
        """Run the model on what was set."""
        self.interpreter.invoke()

    def answer(self) -> np.ndarray:
        """Return the outputs of the last run, float32 [n, classes]."""
        return self._dequantized(self.interpreter.get_tensor(self.output["index"]))

    def _resize(self, count: int) -> None:
        if self.interpreter.get_input_details()[0]["shape"][0] != count:
            self.interpreter.resize_tensor_input(
                self.input["index"], (count, *self.input_shape[1:])
            )
            self.interpreter.allocate_tensors()

    def _converted(self, pixels: np.ndarray) -> np.ndarray:
        if self.input_dtype == np.int8:  # pixel - 128
            return (pixels ^ 0x80).view(np.int8)
        centred = centre(pixels)
        if self.input_dtype == np.int16:
            return np.round(centred / self.input["quantization"][0]).astype(np.int16)
        return centred

    def _dequantized(self, values: np.ndarray) -> np.ndarray:
        scale, zero_point = self.output["quantization"]
        if values.dtype == np.float32 or not scale:
            return values
        return (values.astype(np.float32) - zero_point) * scale


class OnnxModel:
    """An ONNX model with one image input and one output, in onnxruntime.

    ``run`` may be called by several threads at the same time; ``set_input`` and ``invoke`` are
    steps of it for one thread alone.
    """

    def __init__(self, path: str | Path, threads: int):
        self.session = _open_onnx(Path(path), threads)
        entry = self.session.get_inputs()[0]
        self.name = entry.name
        shape = tuple(n if isinstance(n, int) else 1 for n in entry.shape)
        self.any_batch = not isinstance(entry.shape[0], int)
        self.channels_first = len(shape) == 4 and shape[1] in (1, 3) and shape[3] not in (1, 3)
        self.input_shape = (shape[0], *shape[2:], shape[1]) if self.channels_first else shape
        classes = self.session.get_outputs()[0].shape[-1]
        self.classes = classes if isinstance(classes, int) else None
        self.input_dtype = np.dtype(
            {"tensor(uint8)": "uint8", "tensor(int8)": "int8"}.get(entry.type, "float32")
        )

    def run(self, images: np.ndarray) -> np.ndarray:
        """Return float32 outputs [n, classes] for uint8 images [n, H, W, C]."""
        answers = []
        for part, count in _parts(images, len(images) if self.any_batch else self.input_shape[0]):
            answers.append(self.session.run(None, {self.name: self.prepared(part)})[0][:count])
        return np.concatenate(answers)

    def set_input(self, image: np.ndarray) -> None:
        """Keep NHWC images for :meth:`invoke`; bytes become what the model takes."""
        self.image = self.prepared(image)

    def prepared(self, image: np.ndarray) -> np.ndarray:
        """Return NHWC images in the type and the layout that the model takes."""
        if image.dtype == np.uint8 and self.input_dtype == np.float32:
            image = centre(image)
        return image.transpose(0, 3, 1, 2) if self.channels_first else image

    def invoke(self) -> None:
        """Run the model on what was set."""
        self.session.run(None, {self.name: self.image})


def _parts(images: np.ndarray, size: int) -> Iterator[tuple[np.ndarray, int]]:
    """Yield ``size`` images at a time, the last ones filled up, and how many of them count."""
    for start in range(0, len(images), size):
        part = images[start : start + size]
        missing = size - len(part)
        yield np.concatenate([part, part[:1].repeat(missing, 0)]) if missing else part, len(part)


def centre(pixels: np.ndarray) -> np.ndarray:
    """Return ``(pixel - 128) / 128``, float32: what files that do not take bytes take."""
    return (pixels.astype(np.float32) - 128) / 128


def _open_onnx(path: Path, threads: int) -> Any:
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path} needs ONNX Runtime: pip install onnxruntime") from None
    for precise in ("1", "0"):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.log_severity_level = 4 if precise == "1" else 3  # what fails is tried again
        # Without it, sums are cut off on x86 without VNNI in files that have int8 weights above 64;
        # ours have none any more. With it, onnxruntime 1.32 can't load some of the others.
        options.add_session_config_entry("session.x64quantprecision", precise)
        try:
            return onnxruntime.InferenceSession(
                _name_or_content(path), options, ["CPUExecutionProvider"]
            )
        except Exception as error:  # onnxruntime's exceptions share no base class but this
            reason = " ".join(str(error).split())[:100]
    raise InputError(f"{path}: expected a whole ONNX model: {reason}")


@contextlib.contextmanager
def _quiet_stderr() -> Any:
    """Drop the interpreter's greeting, which it prints to file descriptor 2."""
    try:
        saved = os.dup(2)
    except OSError:  # there is no stderr that it could print to
        yield
        return
    try:
        with open(os.devnull, "wb") as sink:
            os.dup2(sink.fileno(), 2)
        yield
    finally:
        os.dup2(saved, 2)
        os.close(saved)


def printable(path: str | os.PathLike) -> str:
    """Return a path as text, also one whose name is not in the system's encoding."""
    return os.fsencode(path).decode(sys.getfilesystemencoding(), "replace")


def print_anything() -> None:
    """Escape what the terminal's encoding lacks, as in ``\\u82b1``; print it without an error."""
    for stream in (sys.stdout, sys.stderr):
        if getattr(stream, "errors", None) in ("strict", "surrogateescape"):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


@contextlib.contextmanager
def quiet_broken_pipe() -> Iterator[None]:
    """End as other tools do, with status 141, when nobody reads what is printed: ``| head -1``."""
    try:
        try:
            yield
        finally:
            if sys.stdout:
                sys.stdout.flush()
    except BrokenPipeError:
        # What is left in the buffer would be written once more when Python ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        sys.exit(BROKEN_PIPE)


def _positive(text: str) -> int:
    """Return a positive whole number; argparse reports a ValueError."""
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"expected a positive whole number, got {text!r}")
    return int(text)


def _probability(text: str) -> float:
    """Return a number from 0 to 1; argparse reports a ValueError."""
    value = float(text)
    if not 0 <= value <= 1:
        raise argparse.ArgumentTypeError(f"expected a probability, 0 to 1, got {text!r}")
    return value


def main() -> int:
    """Classify the pictures named on the command line; return the exit status."""
    parser = argparse.ArgumentParser(description="Classify pictures.")
    parser.add_argument("model", help=".tflite or .onnx file")
    parser.add_argument("images", nargs="+", metavar="image", help="or a folder of them")
    parser.add_argument("--top", type=_positive, help="answers each (default: 5)")
    parser.add_argument(
        "--threshold", type=_probability, default=THRESHOLD,
        help="of a label that counts, of a multi-label model (default: 0.5)",
    )  # fmt: skip
    parser.add_argument("--threads", type=_positive, default=1)
    parser.add_argument("--times", action="store_true", help="print what each picture took")
    arguments = parser.parse_args()
    print_anything()
    with quiet_broken_pipe():
        return _classify(arguments)


def _classify(arguments: argparse.Namespace) -> int:
    """Print the answers; 1 if some pictures could not be read, 2 if none could."""
    bad: list[Any] = []

    def skip(picture: Any, error: InputError) -> None:
        bad.append(picture)
        print(f"Error: {error}", file=sys.stderr, flush=True)

    answered = 0
    try:
        model = open_file(arguments.model, arguments.threads)
        for line in _lines(model, pictures_in(arguments.images, skip), arguments, skip):
            answered += 1
            print(line)
    except InputError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return (1 if answered else 2) if bad else 0


def _lines(
    model: Classifier | Embedder,
    pictures: Iterable[str],
    arguments: argparse.Namespace,
    skip: Skip,
) -> Iterator[str]:
    if isinstance(model, Embedder):
        for picture, embedding in model.stream(pictures, skip):
            yield f"{printable(picture)}: {' '.join(f'{x:.6g}' for x in embedding)}"
        return
    for answer in model.stream(pictures, arguments.top, skip, arguments.threshold):
        said = answer.top if answer.labels is None else answer.labels
        line = ", ".join(f"{label} {p:.1%}" for label, p in said) or "none of the labels"
        times = f"  ({answer.prepare_ms:.2f} ms + {answer.run_ms:.3f} ms)"
        yield f"{printable(answer.picture)}: {line}" + (times if arguments.times else "")


if __name__ == "__main__":
    sys.exit(main())
