"""Reading pictures: the evaluation pipeline and the device's runtime see the same pixels."""

import numpy as np
import pytest
from PIL import Image

from tfresnet.data import images, pipeline
from tfresnet.data.splits import FileSplit
from tfresnet.runs.samples import uncropped
from tfresnet.runtime import preprocess
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.predictor import Predictor
from tfresnet.runtime.spec import InputSpec

ODD_SIZES = [(1, 1), (3, 7), (17, 31), (31, 17), (64, 64), (101, 37), (333, 517), (640, 479)]
SPECS = [
    InputSpec(32, 32),
    InputSpec(24, 48, crop_fraction=0.875),
    InputSpec(20, 30, mean=(128.0,), std=(128.0,)),
    InputSpec(57, 33, crop_fraction=0.7, interpolation="bicubic"),
]


def picture(width: int, height: int, mode: str = "RGB") -> Image.Image:
    noise = np.random.default_rng(width * 1000 + height).integers(0, 256, (height, width, 4))
    return Image.fromarray(noise.astype(np.uint8), "RGBA").convert(mode)


def both(path, spec):
    """The pixels that training and evaluation see, and those that a device sees."""
    split = FileSplit([str(path)], np.zeros(1, np.int64), spec)
    evaluated, _, _ = next(iter(pipeline.raw_batches(split, 1)))
    predictor = Predictor.__new__(Predictor)
    predictor.spec = spec
    return evaluated[0].numpy().astype(int), predictor.prepare(path).astype(int)


@pytest.mark.parametrize("crop", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [65, 96, 224, 299])
def test_a_sample_is_cropped_to_what_evaluation_saw(size, crop):
    image = np.asarray(picture(size, size))
    sample = Image.fromarray(uncropped(image, crop))
    spec = InputSpec(size, size, crop_fraction=crop)
    assert (preprocess.fit(sample, spec) == image).all()


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.height}x{s.width}")
@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
def test_the_runtime_equals_the_pipeline_on_odd_sizes(tmp_path, spec, size):
    picture(*size).save(tmp_path / "image.png")
    evaluated, on_device = both(tmp_path / "image.png", spec)
    assert evaluated.shape == spec.shape
    # 1 of 255 would be allowed; both call Pillow with the same box, so it is 0.
    assert np.abs(evaluated - on_device).max() == 0


@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.height}x{s.width}")
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_large_photographs_are_decoded_smaller_and_look_the_same(tmp_path, spec, mode):
    """On the device as in training; the crop may move by a quarter of a pixel of what is seen."""
    path = tmp_path / "photo.jpg"
    coarse = picture(9, 7).convert("RGB").resize((1201, 901), Image.Resampling.BICUBIC)
    coarse.convert(mode).save(path, quality=95)
    evaluated, on_device = both(path, spec)
    assert (evaluated == on_device).all()
    with Image.open(path) as whole:
        expected = preprocess.fit(whole, spec).astype(int)
    # Neighbouring pixels differ by up to 60 of 255 here, a quarter of which is 15.
    assert np.abs(evaluated - expected).mean() < 3
    with Image.open(path) as reduced:
        reduced.draft("RGB", (spec.decoded_side,) * 2)
        assert 2 * max(spec.shape[:2]) <= min(reduced.size) * spec.crop_fraction < 901 / 2


@pytest.mark.parametrize("mode", ["L", "LA", "RGBA", "P", "CMYK", "1", "I;16"])
def test_every_mode_is_read_alike(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(0, 65536, 64, dtype=np.uint16).reshape(32, 32))
    else:
        image = picture(32, 32, mode)
    path = tmp_path / ("image.jpg" if mode == "CMYK" else "image.png")
    image.save(path)
    evaluated, on_device = both(path, SPECS[0])
    assert (evaluated == on_device).all()
    assert evaluated.max() > 200  # 16-bit greys keep their range


@pytest.mark.parametrize("suffix", [".png", ".pgm", ".tif"])
def test_16_bits_are_read_alike_from_all_formats(tmp_path, suffix):
    values = np.array([[0, 300, 20_000, 65_535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"grey{suffix}")
    spec = InputSpec(1, 4)
    for pixels in both(tmp_path / f"grey{suffix}", spec):
        assert pixels[0, :, 0].tolist() == [0, 1, 78, 255]  # the upper bytes
    assert images.examine(tmp_path / f"grey{suffix}").problem is None


def test_32_bits_are_refused_and_not_clipped(tmp_path):
    path = tmp_path / "depth.tif"
    Image.fromarray(np.full((4, 4), 0.5, np.float32)).save(path)
    assert "expected 8 or 16 bits" in images.examine(path).problem
    with pytest.raises(InputError, match="expected 8 or 16 bits"):
        preprocess.read(str(path), SPECS[0])
    predictor = Predictor.__new__(Predictor)
    predictor.spec = SPECS[0]
    with pytest.raises(InputError, match="expected 8 or 16 bits"):
        predictor.prepare(path)


@pytest.mark.parametrize("exif", [b"Exif\0\0garbagegarbage", b"Exif\0\0II*\0"])
def test_what_reading_would_fail_at_is_found_before(tmp_path, exif):
    """Damaged EXIF: Pillow looks at it only when the picture is to be turned upright."""
    picture(8, 8).save(tmp_path / "image.png", exif=exif)
    problem = images.examine(tmp_path / "image.png").problem
    if problem is None:  # a version of Pillow that puts up with it
        preprocess.read(str(tmp_path / "image.png"), SPECS[0])
    else:
        with pytest.raises(InputError, match="expected a readable image"):
            preprocess.read(str(tmp_path / "image.png"), SPECS[0])


def test_a_picture_turned_by_exif_is_upright(tmp_path):
    upright = Image.new("RGB", (40, 20))
    upright.paste((255, 0, 0), (0, 0, 20, 20))
    turned = upright.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn 90 degrees clockwise to view
    turned.save(tmp_path / "turned.png", exif=exif)
    evaluated, on_device = both(tmp_path / "turned.png", InputSpec(20, 40))
    assert (evaluated == np.asarray(upright)).all()
    assert (on_device == np.asarray(upright)).all()


@pytest.mark.parametrize("size", ODD_SIZES, ids=str)
@pytest.mark.parametrize("spec", SPECS, ids=lambda s: f"{s.height}x{s.width}")
def test_the_crop_is_centred_and_inside(spec, size):
    width, height = size
    left, top, right, bottom = spec.crop_box(width, height)
    assert 0 <= left < right <= width
    assert 0 <= top < bottom <= height
    assert abs(left - (width - right)) <= 1
    assert abs(top - (height - bottom)) <= 1


def test_an_image_of_the_right_size_is_left_alone():
    image = picture(32, 32)
    assert (preprocess.fit(image, SPECS[0]) == np.asarray(image)).all()


def test_a_whole_image_has_no_problem(tmp_path):
    picture(50, 40).save(tmp_path / "good.jpg")
    assert images.examine(tmp_path / "good.jpg").problem is None


@pytest.mark.parametrize("kind", ["truncated.jpg", "truncated.png", "text.jpg", "empty.jpg"])
def test_a_bad_image_is_found(tmp_path, kind):
    path = tmp_path / kind
    if kind.startswith("truncated"):
        picture(200, 150).save(path)
        path.write_bytes(path.read_bytes()[:-3000])
    else:
        path.write_text("hello" if kind == "text.jpg" else "")
    assert images.examine(path).problem
    with pytest.raises(InputError, match=kind):
        preprocess.read(str(path), SPECS[0])
