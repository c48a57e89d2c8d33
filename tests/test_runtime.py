"""The runtime's public classes: what they take for a picture, what they refuse, many threads."""

import io
import itertools
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tfresnet.runtime.backends import open_model
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import Classifier, Embedder

MODELS = ["model_int8.tflite", "model_float32.onnx"]


@pytest.fixture(scope="module")
def folder(exported, tiny_run) -> Path:
    return tiny_run.directory / "export"


@pytest.fixture(scope="module")
def classifier(folder) -> Classifier:
    return Classifier(folder / "model_int8.tflite")


@pytest.fixture(scope="module")
def samples(folder, tiny_run) -> list[Path]:
    return sorted((tiny_run.directory / "samples").glob("*.png"))


def test_every_form_of_a_picture_gets_the_same_answer(classifier, samples):
    content = samples[0].read_bytes()
    pixels = np.asarray(Image.open(samples[0]).convert("RGB"))  # a grey digit
    expected = classifier.classify(samples[0])
    with samples[0].open("rb") as file, Image.open(samples[0]) as picture:
        forms = {
            "path as text": str(samples[0]), "bytes": content, "bytearray": bytearray(content),
            "memory": io.BytesIO(content), "open file": file, "Pillow": picture,
            "[H, W, 3]": pixels, "[H, W, 4]": np.dstack([pixels, pixels[..., 0]]),
            "[H, W]": pixels[..., 0], "[H, W, 1]": pixels[..., :1],
            "not contiguous": np.asfortranarray(pixels),
        }  # fmt: skip
        for name, form in forms.items():
            assert classifier.classify(form) == expected, name
        assert file.seekable()  # it stays open


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (np.zeros((0, 0, 3), np.uint8), "got an empty array, uint8 [0, 0, 3]"),
        (np.zeros((0,), np.uint8), "got an empty array"),
        (Image.new("RGB", (0, 4)), "got an empty one"),
        (np.zeros((8, 8, 3)), "expected uint8 pixels, 0 to 255, got float64 [8, 8, 3]; if yours"),
        (np.zeros((8, 8, 1), np.float32), "got float32 [8, 8, 1]"),
        (np.zeros((1, 8, 8, 3), np.uint8), "expected one picture, [H, W, 3], got uint8 [1, 8, 8"),
        (np.zeros((3, 8, 8), np.uint8), "[H, W, 1] or [H, W], got uint8 [3, 8, 8]"),
        (np.zeros((8, 8), np.int8), "got int8 [8, 8]"),
        (np.zeros((8, 8, 3), np.int64), "got int64 [8, 8, 3]"),
        (np.zeros(5, np.uint8), "got uint8 [5]"),
        ([[1, 2], [3, 4]], "expected a path, bytes, a Pillow image or an array"),
        (None, "got NoneType"),
        (b"", "not an image"),
        (b"nonsense", "not an image"),
        (io.BytesIO(b"nonsense"), "not an image"),
        (io.StringIO("text"), "mode 'rb'"),
        (Image.new("F", (4, 4)), "expected 8 or 16 bits"),
        ("none.png", "none.png does not exist"),
        (Path("x" * 300), "xxx"),  # too long a name: Python versions differ in what they say
        (Path("/"), "Is a directory"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_picture_gets_one_clear_line(classifier, picture, expected):
    with pytest.raises(InputError) as caught:
        classifier.classify(picture)
    assert expected in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("top", [0, -1, "3", 2.5, True])
def test_top_is_a_positive_whole_number(classifier, samples, top):
    with pytest.raises(InputError, match="top: expected a positive whole number"):
        classifier.classify(samples[0], top)
    with pytest.raises(InputError, match="top: expected a positive whole number"):
        next(classifier.stream(samples, top))


@pytest.mark.parametrize("path", [None, 3, b"model.tflite", "none.tflite", "a\0b.onnx", "."])
def test_what_is_no_model_gets_one_clear_line(path):
    for kind in (Classifier, Embedder, open_model):
        with pytest.raises(InputError):
            kind(path)


@pytest.mark.parametrize("threads", [0, -1, "2", None])
def test_threads_are_a_positive_whole_number(folder, threads):
    for name in MODELS:
        with pytest.raises(InputError, match="threads: expected a positive whole number"):
            Classifier(folder / name, threads)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((0, 16, 16, 3), np.uint8), np.zeros((1, 16, 16, 3), np.float32),
        np.zeros((16, 16, 3), np.uint8), np.zeros((1, 8, 8, 3), np.uint8), "text", None,
    ],
    ids=str,
)  # fmt: skip
def test_images_that_are_not_prepared_are_refused(classifier, images):
    with pytest.raises(InputError, match="expected images as prepare"):
        classifier.probabilities(images)


def test_a_stream_skips_what_it_is_told_to_skip(classifier, samples, tmp_path):
    bad = tmp_path / "bad.png"
    bad.write_text("")
    pictures = [samples[0], bad, None, samples[1]]
    skipped = []
    answers = list(classifier.stream(pictures, 1, lambda *both: skipped.append(both)))
    assert [answer.picture for answer in answers] == [samples[0], samples[1]]
    assert [picture for picture, _ in skipped] == [bad, None]
    assert all(isinstance(error, InputError) for _, error in skipped)
    with pytest.raises(InputError, match=r"bad\.png"):
        list(classifier.stream(pictures))


@pytest.mark.parametrize("name", [*MODELS, "any.tflite"])
def test_threads_may_share_a_classifier(folder, tiny_run, samples, tmp_path, name):
    """8 threads, 25 calls each: no error, and every answer is the one that one thread gets.

    A file for any number of images is resized between the calls, which takes one or two each.
    """
    if name == "any.tflite":
        from tfresnet.deploy.formats import tflite

        no_images = np.empty((0, *tiny_run.spec.shape), np.uint8)
        content = tflite.convert(
            tiny_run.model(), tiny_run.spec, tiny_run.output, "float32", no_images, "uint8", None
        )
        (tmp_path / name).write_bytes(content)
        model = open_model(tmp_path / name)
        assert model.any_batch
        prepare = Classifier(folder / MODELS[0]).prepare
        run = model.run
    else:
        shared = Classifier(folder / name)
        prepare, run = shared.prepare, shared.probabilities
    pixels = [prepare(sample) for sample in samples]
    batches = [np.stack(pair) for pair in itertools.product(pixels, repeat=2)]
    batches += [pixel[None] for pixel in pixels]
    expected = [run(batch) for batch in batches]
    assert len({answer.tobytes() for answer in expected}) > 5

    def work(thread: int) -> bool:
        order = np.random.default_rng(thread).integers(0, len(batches), 25)
        return all(np.array_equal(run(batches[i]), expected[i]) for i in order)

    with ThreadPoolExecutor(8) as pool:
        assert all(pool.map(work, range(8)))


def run_bundle(bundle: Path, *arguments: str, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "classify.py", *arguments]
    return subprocess.run(command, cwd=bundle, capture_output=True, **options)


def test_the_bundle_names_bad_pictures_and_classifies_the_others(exported, tmp_path):
    bundle = Path(exported["bundle"])
    (tmp_path / "bad.pdf").write_text("%PDF")
    (tmp_path / "empty").mkdir()
    model = next(bundle.glob("model_*")).name
    bad = [str(tmp_path / "bad.pdf"), str(tmp_path / "empty")]
    done = run_bundle(bundle, model, "sample.png", *bad, "sample.png", text=True)
    assert done.returncode == 1
    assert [line.split(":")[0] for line in done.stdout.splitlines()] == ["sample.png"] * 2
    pdf, empty = sorted(done.stderr.splitlines(), key=lambda line: "bad.pdf" not in line)
    assert "bad.pdf: expected a readable image: not an image" in pdf
    assert empty.startswith("Error: expected pictures")
    done = run_bundle(bundle, model, *bad, text=True)
    assert (done.returncode, done.stdout, len(done.stderr.splitlines())) == (2, "", 2)


def test_a_model_whose_name_is_no_text_is_opened(folder, samples, tmp_path):
    for name in MODELS:
        odd = bytes(tmp_path) + b"/caf\xe9" + Path(name).suffix.encode()
        try:
            shutil.copy(folder / name, odd)
        except OSError:
            pytest.skip("this file system takes no such names")
        odd = odd.decode(errors="surrogateescape")
        expected = Classifier(folder / name).classify(samples[0])
        assert Classifier(odd).classify(samples[0]) == expected
