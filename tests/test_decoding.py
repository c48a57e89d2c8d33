"""Pictures that are read inside a graph: the pixels are those that the runtime reads."""

import io
from pathlib import Path

import numpy as np
import pytest
import sklearn
import tensorflow as tf
from PIL import Image

from tfresnet.data import decoding
from tfresnet.runtime import preprocess
from tfresnet.runtime.spec import InputSpec

PHOTOGRAPH = Path(sklearn.__file__).parent / "datasets" / "images" / "china.jpg"  # 640 x 427
TAG, TURNED = 0x0112, range(1, 9)
NEAR = 4  # of 255: 1 or 2 were seen; another build of libjpeg may round other pixels


def jpeg(image: Image.Image, turned: int | None = None, order: bytes = b"II", **options) -> bytes:
    """A JPEG, with an EXIF orientation in one of the two orders of bytes."""
    if turned is not None:
        exif = Image.Exif()
        exif.endian = {b"II": "<", b"MM": ">"}[order]
        exif[0x010F] = "a maker that comes first"
        exif[TAG] = turned
        options["exif"] = exif
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=90, **options)
    return buffer.getvalue()


def in_graph(contents: list[bytes], spec: InputSpec) -> np.ndarray:
    """What a graph reads, as a server would run it: int [n, H, W, C]."""
    read = tf.function(
        lambda encoded: tf.map_fn(
            lambda content: decoding.picture(content, spec), encoded, fn_output_signature=tf.uint8
        )
    )
    return read(tf.constant(contents)).numpy().astype(int)


def on_device(contents: list[bytes], spec: InputSpec) -> np.ndarray:
    return np.stack([preprocess.read(c, spec).astype(int) for c in contents])


def orientations(contents: list[bytes]) -> list[int]:
    found = tf.map_fn(decoding.orientation, tf.constant(contents), fn_output_signature=tf.int32)
    return found.numpy().tolist()


@pytest.fixture(scope="module")
def photograph() -> Image.Image:
    with Image.open(PHOTOGRAPH) as image:
        return image.convert("RGB")


@pytest.mark.parametrize("order", [b"II", b"MM"])
def test_photographs_are_turned_upright(photograph, order):
    """In all 8 orientations; next to each other, so that one that stays lying is noticed."""
    contents = [jpeg(photograph, turned, order) for turned in TURNED]
    assert all(order + (b"*\0" if order == b"II" else b"\0*") in content for content in contents)
    assert orientations(contents) == list(TURNED)
    spec = InputSpec(48, 64)
    found, expected = in_graph(contents, spec), on_device(contents, spec)
    assert abs(found - expected).max() <= NEAR
    for i in range(len(contents)):
        assert all(abs(found[i] - expected[j]).mean() > 5 for j in range(len(contents)) if i != j)


def test_without_a_readable_orientation_a_photograph_stays_as_it_is(photograph):
    """No EXIF, none with this tag, one with no such value, and EXIF that is cut off anywhere."""
    small = photograph.resize((16, 12))
    whole = jpeg(small, 6)
    start = whole.index(b"Exif\0\0") + 6
    end = start + int.from_bytes(whole[start - 8 : start - 6], "big") - 8
    damaged = [whole[:cut] for cut in range(2, end)]
    damaged += [whole[:i] + b"\xff" + whole[i + 1 : end] for i in range(start, end)]
    assert set(orientations(damaged)) <= {1, 6}
    plain = Image.Exif()
    plain[0x010F] = "a maker"
    others = [jpeg(small), jpeg(small, 0), jpeg(small, 9), jpeg(small, exif=plain), b"", b"\xff"]
    assert orientations(others) == [1] * 6
    # A comment before it, and the EXIF header inside of that, mislead nobody.
    assert orientations([jpeg(small, 8, comment=b"Exif\0\0 II")]) == [8]


@pytest.mark.parametrize(
    "spec",
    [
        InputSpec(24, 32),  # decoded at a quarter
        InputSpec(96, 96, crop_fraction=0.875),
        InputSpec(224, 224, crop_fraction=0.9, interpolation="bicubic"),
        InputSpec(60, 60, (128.0,), (128.0,), interpolation="lanczos"),  # grey
        InputSpec(50, 40, interpolation="nearest"),
        InputSpec(48, 32, fit="stretch"),
    ],
    ids=lambda spec: f"{spec.fit}-{spec.interpolation}-{spec.height}x{spec.width}",
)
def test_photographs_have_the_pixels_that_they_have_on_a_device(photograph, spec):
    """Whatever the size, the crop and the filter; TensorFlow's own differ by up to 60 of 255."""
    png = io.BytesIO()
    photograph.resize((301, 200)).save(png, "PNG")
    contents = [jpeg(photograph), jpeg(photograph.resize((1200, 801))), png.getvalue()]
    difference = abs(in_graph(contents, spec) - on_device(contents, spec))
    assert difference.max() <= NEAR
    assert difference.mean() < 0.1
