"""Images that move together with their masks and boxes."""

import numpy as np
import pytest
import tensorflow as tf
from scipy import ndimage

from tests.test_cli import refused
from tfresnet.config.sections import DataConfig
from tfresnet.data import augment, pipeline, spatial, task_settings
from tfresnet.data.box_split import BoxSplit, padded
from tfresnet.data.mask_splits import MaskArraySplit
from tfresnet.data.spatial import Window
from tfresnet.data.splits import ArraySplit
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import CLASSIFICATION, DETECTION, SEGMENTATION, InputSpec

SEED = tf.constant([3, 4], tf.int64)
PIXELS = np.arange(1, 17, dtype=np.uint8).reshape(1, 4, 4)


def window(left: float, top: float, size: float, mirrored: bool = False) -> Window:
    return Window(*(tf.constant([value]) for value in (left, top, size, mirrored)))


def truth(*boxes: list[float]) -> dict[str, tf.Tensor]:
    found = padded([np.array(boxes, np.float32)], [np.arange(len(boxes))])
    return {key: tf.constant(value) for key, value in found.items()}


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_window_of_half_the_size_repeats_each_pixel_of_a_mask(mirrored):
    """The quarter at the right, in the upper middle: columns 2 and 3, rows 1 and 2."""
    moved = spatial.move_masks(tf.constant(PIXELS), window(0.5, 0.25, 0.5, mirrored)).numpy()
    expected = PIXELS[0, 1:3, 2:].repeat(2, axis=0).repeat(2, axis=1)
    np.testing.assert_array_equal(moved[0], expected[:, ::-1] if mirrored else expected)


def test_an_image_is_interpolated_between_the_centers_of_pixels():
    """Hand-computed: enlarged twice, an output pixel is 3/4 of one pixel and 1/4 of the next."""
    image = np.zeros((1, 4, 4, 1), np.uint8)
    image[0, :, 1] = 100
    moved = spatial.move_images(tf.constant(image), window(0.0, 0.0, 0.5)).numpy()
    np.testing.assert_array_equal(moved[0, :, :, 0], np.tile([0, 25, 75, 75], (4, 1)))


def test_beyond_the_image_there_is_gray_and_void():
    """A window of twice the size, the image in its right lower quarter, two pixels of four."""
    wide = window(-1.0, -1.0, 2.0)
    masks = spatial.move_masks(tf.constant(PIXELS), wide).numpy()[0]
    np.testing.assert_array_equal(masks[2:, 2:], [[6, 8], [14, 16]])
    assert (masks[:2] == 255).all()
    assert (masks[:, :2] == 255).all()
    image = spatial.move_images(tf.fill([1, 4, 4, 3], tf.constant(7, tf.uint8)), wide).numpy()[0]
    assert (image[2:, 2:] == 7).all()
    assert (image[:2] == 128).all()
    assert (image[:, :2] == 128).all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_a_window_of_everything_changes_no_pixel(mirrored):
    """Beside the flip."""
    images = np.random.default_rng(0).integers(0, 256, (1, 12, 10, 3), np.uint8)
    moved = spatial.move_images(tf.constant(images), window(0.0, 0.0, 1.0, mirrored)).numpy()
    np.testing.assert_array_equal(moved, images[:, :, ::-1] if mirrored else images)


def test_boxes_move_are_clipped_and_dropped_with_their_centers():
    """Hand-computed: the window is the image's right half, in its lower half."""
    given = truth([0.5, 0.5, 0.75, 1.0], [0.4, 0.6, 0.7, 0.8], [0.1, 0.6, 0.5, 0.8])
    given["ignored"] = tf.constant([[False, True, True]])
    moved = {k: v.numpy() for k, v in spatial.move_boxes(given, window(0.5, 0.5, 0.5)).items()}
    expected = [[0, 0, 0.5, 1], [0, 0.2, 0.4, 0.6], [0, 0, 0, 0]]
    np.testing.assert_allclose(moved["boxes"][0], expected, atol=1e-6)
    assert moved["classes"].tolist() == [[0, 1, -1]]
    assert moved["ignored"].tolist() == [[False, True, False]]
    mirrored = spatial.move_boxes(given, window(0.5, 0.5, 0.5, True))["boxes"].numpy()
    np.testing.assert_allclose(
        mirrored[0], [[0.5, 0, 1, 1], [0.6, 0.2, 1, 0.6], [0, 0, 0, 0]], atol=1e-6
    )


def test_a_flip_is_exact_for_images_masks_and_boxes():
    images = np.random.default_rng(0).integers(0, 256, (2, 6, 5, 3), np.uint8)
    chosen = tf.constant([False, True])
    flipped, masks = spatial.flip(images, images[..., 0], chosen)
    np.testing.assert_array_equal(flipped[1], images[1, :, ::-1])
    np.testing.assert_array_equal(masks, flipped[..., 0])
    given = {key: tf.tile(v, [2] + [1] * (len(v.shape) - 1)) for key, v in
             truth([0.0, 0.25, 0.25, 0.5]).items()}  # fmt: skip
    _, moved = spatial.flip(images, given, chosen)
    assert moved["boxes"].numpy().tolist() == [[[0, 0.25, 0.25, 0.5]], [[0.75, 0.25, 1, 0.5]]]


def test_windows_have_the_scales_that_were_asked_for():
    drawn = spatial.draw(500, (0.5, 2.0), tf.zeros([500], bool), SEED)
    scale = 1 / drawn.size.numpy()
    assert 0.5 <= scale.min() < 0.52
    assert 1.9 < scale.max() <= 2.0
    assert abs(np.log(scale).mean()) < 0.1  # 5 standard deviations of 0.4 / sqrt(500)
    for start in (drawn.left.numpy(), drawn.top.numpy()):
        inside = scale >= 1
        assert (start[inside] >= 0).all()
        assert (start[inside] + 1 / scale[inside] <= 1 + 1e-6).all()
        assert (start[~inside] <= 0).all()
        assert (start[~inside] + 1 / scale[~inside] >= 1 - 1e-6).all()


def blobs(count: int, height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Images whose red says the class of a pixel, and the masks; in coarse patches."""
    coarse = np.random.default_rng(1).integers(0, 3, (count, height // 8, width // 8), np.uint8)
    masks = coarse.repeat(8, axis=1).repeat(8, axis=2)
    return np.stack([masks * 100] * 3, axis=-1), masks


PLAIN = {"scale": [0.6, 1.6], "flip": True}


def batches(split, task, config, first=0, last=3):
    spec = InputSpec(48, 64, fit="stretch")
    return pipeline.train_batches(
        split, spec, lambda t: t, DataConfig(**config), 4, 5, first, last, task=task
    )


def test_images_and_masks_stay_aligned():
    """The class that an image's color says is that of its mask, but at the patches' borders."""
    images, masks = blobs(12, 48, 64)
    moved = 0
    for got, mask in batches(MaskArraySplit(images, masks), SEGMENTATION, PLAIN):
        pixels = got.numpy()[..., 0] * 128 + 128
        void = mask.numpy() == 255
        moved += void.sum()
        distance = np.abs(pixels - mask.numpy() * 100.0)
        # A patch has 8 pixels, enlarged by 0.6 at least: a third of them is at a border.
        assert (distance[~void] < 1).mean() > 0.6
        # The nearest pixel has at least a quarter of the weight: 200 / 4 remains of 200.
        assert distance[~void].max() <= 151
        inner = inside_patches(mask.numpy())
        assert (distance[inner & ~void] < 1).all()
    assert moved > 0


def inside_patches(masks: np.ndarray) -> np.ndarray:
    """Pixels whose neighbors, two in each direction, have the same class."""
    size = (1, 5, 5)
    return ndimage.maximum_filter(masks, size) == ndimage.minimum_filter(masks, size)


def test_images_and_boxes_stay_aligned():
    """A white rectangle is where its box says, to a pixel."""
    images = np.zeros((8, 48, 64, 3), np.uint8)
    images[:, 12:30, 16:40] = 255
    boxes = padded([np.array([[16 / 64, 12 / 48, 40 / 64, 30 / 48]], np.float32)] * 8,
                   [np.array([1])] * 8)  # fmt: skip
    split = BoxSplit(ArraySplit(images, np.arange(8)), boxes)
    for got, found in batches(split, DETECTION, PLAIN):
        for image, box, label in zip(
            got.numpy(), found["boxes"].numpy()[:, 0], found["classes"].numpy()[:, 0], strict=True
        ):
            rows, columns = np.nonzero(image[..., 0] * 128 + 128 > 200)
            if label < 0:
                continue
            seen = [columns.min(), rows.min(), columns.max() + 1, rows.max() + 1]
            np.testing.assert_allclose(box * [64, 48, 64, 48], seen, atol=1.0)


def test_the_stream_is_a_function_of_the_step():
    images, masks = blobs(12, 48, 64)
    config = PLAIN | {"color": 0.3, "repeats": 2, "flip": "alternating"}
    split = MaskArraySplit(images, masks)
    whole = list(batches(split, SEGMENTATION, config, 0, 4))
    rest = list(batches(split, SEGMENTATION, config, 2, 4))
    for one, other in zip(whole[2:], rest, strict=True):
        for a, b in zip(one, other, strict=True):
            np.testing.assert_array_equal(a.numpy(), b.numpy())
    assert (whole[0][0].numpy() != whole[1][0].numpy()).any()


@pytest.mark.parametrize("channels", [1, 3])
def test_the_color_changes_by_the_formulas(channels):
    """Brightness, contrast and saturation in turn, in float64."""
    images = np.random.default_rng(0).integers(0, 256, (4, 8, 8, channels), np.uint8)
    factors = tf.random.stateless_uniform([3, 4, 1, 1], SEED, 0.5, 1.5).numpy().astype(np.float64)
    brightness, contrast, saturation = factors[..., None]
    weights = np.array([0.299, 0.587, 0.114]) if channels == 3 else np.ones(1)
    pixels = images * brightness
    mean = (pixels @ weights).mean(axis=(1, 2))[:, None, None, None]
    pixels = mean + contrast * (pixels - mean)
    grey = (pixels @ weights)[..., None]
    pixels = grey + saturation * (pixels - grey)
    got = augment.color_jitter(tf.constant(images), 0.5, SEED).numpy()
    assert got.dtype == np.uint8
    # Rounding, in float32 instead of float64.
    assert np.abs(got - np.clip(pixels, 0, 255)).max() <= 0.51


def test_color_is_an_augmentation_of_classification_too():
    images = np.random.default_rng(0).integers(0, 256, (8, 48, 64, 3), np.uint8)
    split = ArraySplit(images, np.arange(8))
    plain = {"flip": False, "crop_padding": 0}
    one, other = (
        next(iter(batches(split, CLASSIFICATION, plain | more)))[0].numpy()
        for more in ({}, {"color": 0.2})
    )
    assert 0 < np.abs(one - other).max() < 1.1


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"randaugment": 2}, r"data.randaugment: expected 0 for detection, since .* take data.col"),
        ({"crop_padding": 8}, r"data.crop_padding: expected 0 .* got 8; take data.scale"),
        ({"mixup_alpha": 0.2}, r"data.mixup_alpha: expected 0 .* without their boxes, got 0.2; le"),
        ({"policy": "autoaugment"}, r"data.policy: expected none for detection"),
        ({"progressive": {0.5: 24}}, r"data.progressive: expected {} for detection"),
        ({"scale": [2, 1]}, r"data.scale: expected the smaller factor first, got \[2.0, 1.0\]"),
    ],
)
def test_what_would_change_images_alone_is_refused(config, message):
    with pytest.raises(InputError, match=message):
        task_settings.check(DataConfig(**config), DETECTION)


def test_defaults_are_no_mistake_and_scale_is_for_places_alone():
    task_settings.check(DataConfig(), SEGMENTATION)
    task_settings.check(DataConfig(), CLASSIFICATION)
    with pytest.raises(InputError, match=r"data.scale: expected \[1, 1\] for classification data"):
        task_settings.check(DataConfig(scale=[0.5, 1]), CLASSIFICATION)


def test_the_command_refuses_before_it_loads_anything():
    message = refused("train", "digits-segment", "--mixup-alpha", "0.2")
    assert message.startswith("Error: --mixup-alpha: expected 0 for segmentation")


@pytest.mark.parametrize(
    ("setting", "expected"),
    [
        ("data.task=segment class_weights=balanced", "expected none or median_frequency for segm"),
        ("data.task=segment loss=bce", "train.loss: expected cross_entropy for segmentation"),
        ("data.task=detect label_smoothing=0.1", "expected 0 for detection, got 0.1"),
        ("data.task=detect dice=0.5", "train.dice: expected 0 for detection, got 0.5"),
        (
            "data.task=classify class_weights=median_frequency",
            "expected none or balanced for class",
        ),
    ],
)
def test_a_loss_that_the_task_would_not_heed_is_refused(setting, expected):
    task, key = setting.split()
    words = ("--set", "data.flip=false", "--set", "data.crop_padding=0", "--set", task)
    assert expected in refused("train", *words, "--set", f"train.{key}")
