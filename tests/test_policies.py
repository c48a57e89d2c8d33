"""The policies' operations against Pillow, and what the policies draw."""

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from tfresnet.data import image_ops as ops
from tfresnet.data import policies

SEED = tf.constant([3, 4], tf.int64)


def noise(batch: int = 6, height: int = 32, width: int = 24, channels: int = 3) -> np.ndarray:
    """Random images; each has a range of values of its own, the last only one value."""
    rng = np.random.default_rng(0)
    shape = (height, width, channels)
    images = [rng.integers(10 * i, 256 - 20 * i, shape, np.uint8) for i in range(batch - 1)]
    return np.stack([*images, np.full(shape, 77, np.uint8)])


def affine(image: Image.Image, *row: float) -> Image.Image:
    fill = (128, 128, 128) if image.mode == "RGB" else 128
    return image.transform(image.size, Image.Transform.AFFINE, row, fillcolor=fill)


def turned(image: Image.Image, degrees: float) -> Image.Image:
    return image.rotate(degrees, fillcolor=(128, 128, 128) if image.mode == "RGB" else 128)


# Operation: (what Pillow does, values to try).
POINTWISE = {
    "identity": (lambda i, v: i, [0.0]),
    "invert": (lambda i, v: ImageOps.invert(i), [0.0]),
    "autocontrast": (lambda i, v: ImageOps.autocontrast(i), [0.0]),
    "equalize": (lambda i, v: ImageOps.equalize(i), [0.0]),
    "solarize": (lambda i, v: ImageOps.solarize(i, v), [0.0, 100.0, 136.5, 256.0]),
    "posterize": (lambda i, v: ImageOps.posterize(i, round(v)), [1.0, 4.0, 6.6, 8.0]),
}
BLENDS = {
    "color": (lambda i, v: ImageEnhance.Color(i).enhance(v), [0.1, 0.58, 1.0, 1.42, 1.9]),
    "contrast": (lambda i, v: ImageEnhance.Contrast(i).enhance(v), [0.1, 0.58, 1.0, 1.42, 1.9]),
    "brightness": (lambda i, v: ImageEnhance.Brightness(i).enhance(v), [0.1, 0.58, 1.0, 1.42]),
    "sharpness": (lambda i, v: ImageEnhance.Sharpness(i).enhance(v), [0.1, 0.58, 1.0, 1.42, 1.9]),
}
GEOMETRIC = {
    "rotate": (turned, [-135.0, -14.0, 0.0, 5.5, 30.0]),
    "shear_x": (lambda i, v: affine(i, 1, v, 0, 0, 1, 0), [-0.3, 0.14, 0.99]),
    "shear_y": (lambda i, v: affine(i, 1, 0, 0, v, 1, 0), [-0.3, 0.14, 0.99]),
    "translate_x": (lambda i, v: affine(i, 1, 0, int(v), 0, 1, 0), [-14.5, 0.0, 6.8, 40.0]),
    "translate_y": (lambda i, v: affine(i, 1, 0, 0, 0, 1, int(v)), [-14.5, 0.0, 6.8, 40.0]),
}


def both(name: str, pillow, value: float, channels: int) -> tuple[np.ndarray, np.ndarray]:
    """What we make of a batch, and what Pillow makes of its images."""
    images = noise(channels=channels)
    ours = getattr(ops, name)(tf.constant(images), tf.fill([len(images)], value))
    assert ours.dtype == tf.uint8
    pictures = [Image.fromarray(i[..., 0] if channels == 1 else i) for i in images]
    theirs = np.stack([np.asarray(pillow(p, value)) for p in pictures]).reshape(images.shape)
    return ours.numpy().astype(int), theirs.astype(int)


def cases(table: dict) -> list:
    return [
        pytest.param(name, pillow, value, id=f"{name}-{value}")
        for name, (pillow, values) in table.items()
        for value in values
    ]


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "pillow", "value"), cases(POINTWISE))
def test_point_operations_equal_pillows(name, pillow, value, channels):
    ours, theirs = both(name, pillow, value, channels)
    np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "pillow", "value"), cases(BLENDS))
def test_blends_equal_pillows(name, pillow, value, channels):
    ours, theirs = both(name, pillow, value, channels)
    # Both cut off the fraction of a float32; where that is a whole number but for its last bit,
    # and the compiler fused multiplication and addition, the results are one apart.
    assert np.abs(ours - theirs).max() <= 1
    assert (ours != theirs).mean() < 0.01


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize(("name", "pillow", "value"), cases(GEOMETRIC))
def test_geometric_operations_equal_pillows(name, pillow, value, channels):
    ours, theirs = both(name, pillow, value, channels)
    # Pillow computes places in steps of 1/65536 pixel, TensorFlow in float32: a place on the
    # border of two pixels may fall to either. Whole pixels of a shift can't.
    limit = 0 if name.startswith("translate") or value == 0 else 0.01
    assert (ours != theirs).any(axis=-1).mean() <= limit


def test_every_operation_takes_no_images_at_all():
    """In a small batch, that is what most of them get."""
    for table in (policies.autoaugment_table(8, 8), policies.trivialaugment_table()):
        for row in table.values():
            changed = row.apply(tf.zeros([0, 8, 8, 3], tf.uint8), tf.zeros([0]))
            assert changed.shape == (0, 8, 8, 3)


def test_randaugment_has_the_14_operations_of_the_paper():
    assert list(policies.randaugment_table(32, 32)) == [
        "identity", "autocontrast", "equalize", "rotate", "solarize", "color", "posterize",
        "contrast", "brightness", "sharpness", "shear_x", "shear_y", "translate_x", "translate_y",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "strength", "expected"),
    [
        ("rotate", 0.5, {-15, 15}),
        ("shear_x", 1.0, {-0.3, 0.3}),
        ("translate_y", 1.0, {-150 / 331 * 64, 150 / 331 * 64}),
        ("color", 1.0, {0.1, 1.9}),
        ("posterize", 1.0, {4}),
        ("solarize", 0.0, {255}),
        ("solarize", 0.2, {204}),
        ("solarize", 1.0, {0}),
        ("identity", 1.0, {0}),
    ],
)
def test_a_magnitude_is_a_share_of_the_papers_range_and_goes_both_ways(name, strength, expected):
    table = policies.randaugment_table(64, 32)
    chosen = tf.fill([64], list(table).index(name))
    values = policies._values(list(table.values()), chosen, tf.fill([64], strength), SEED)
    found = np.unique(values.numpy())
    np.testing.assert_allclose(found, sorted(expected), rtol=1e-6)


def test_each_image_gets_the_operation_that_it_drew():
    images = tf.constant(noise())
    table = policies.autoaugment_table(32, 24)
    names = ["invert", "identity", "equalize", "invert", "posterize", "identity"]
    chosen = tf.constant([list(table).index(n) for n in names])
    out = policies.apply_chosen(images, table, chosen, tf.fill([6], 0.5), SEED)
    for name, before, after in zip(names, images, out, strict=True):
        row = table[name]
        alone = row.apply(before[None], tf.constant([row.start + 0.5 * row.reach]))[0]
        np.testing.assert_array_equal(after, alone)


def test_every_operation_is_drawn_equally_often(monkeypatch):
    """Marks the images by operation: 1,400 of them, about 100 each."""
    marks = {
        str(n): policies.Operation(lambda images, _, n=n: tf.fill(tf.shape(images), np.uint8(n)))
        for n in range(14)
    }
    monkeypatch.setattr(policies, "randaugment_table", lambda height, width: marks)
    out = policies.randaugment(tf.zeros([1400, 8, 8, 3], tf.uint8), 1, 9, SEED)
    counts = np.bincount(out.numpy()[:, 0, 0, 0], minlength=14)
    assert counts.sum() == 1400
    assert (abs(counts - 100) < 5 * np.sqrt(100)).all()  # 5 standard deviations


def test_magnitude_0_leaves_all_but_two_operations_idle():
    """Autocontrast and equalize have no magnitude; others start from no change, but of white."""
    images = tf.constant(np.minimum(noise(), 254))
    for name, row in policies.randaugment_table(32, 24).items():
        same = (row.apply(images, tf.fill([6], float(row.start))).numpy() == images.numpy()).all()
        assert same == (name not in ("autocontrast", "equalize"))


POLICIES = {
    "randaugment": lambda images, seed: policies.randaugment(images, 2, 14, seed),
    "trivialaugment": policies.trivialaugment,
    "autoaugment": policies.autoaugment,
}


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_is_a_function_of_images_and_seed(name, channels):
    images = tf.constant(np.tile(noise(channels=channels), (8, 1, 1, 1)))
    policy = tf.function(POLICIES[name])
    first, again = policy(images, SEED).numpy(), policy(images, SEED).numpy()
    other = policy(images, SEED + 1).numpy()
    assert first.dtype == np.uint8
    assert first.shape == images.shape
    assert (first == again).all()
    assert (first != other).any()
    changed = (first != images.numpy()).any(axis=(1, 2, 3)).mean()
    assert changed > 0.5  # some draw the identity, or what leaves an image of one colour alone


def test_autoaugment_has_the_papers_25_pairs():
    pairs = policies.CIFAR10_POLICY
    assert len(pairs) == 25
    assert all(len(pair) == 2 for pair in pairs)
    table = policies.autoaugment_table(32, 32)
    assert {name for pair in pairs for name, _, _ in pair} <= set(table)
    assert pairs[0] == (("invert", 0.1, 0), ("contrast", 0.2, 6))
    assert pairs[24][0] == ("translate_y", 0.7, 9)


def test_autoaugments_levels_are_tenths_of_the_authors_ranges():
    table = policies.autoaugment_table(32, 32)
    assert table["color"].start + 0.9 * table["color"].reach == pytest.approx(0.1 + 0.9 * 1.8)
    assert table["translate_y"].reach == 10
    assert not table["color"].signed


def test_trivialaugment_has_the_wide_ranges():
    table = policies.trivialaugment_table()
    assert list(table) == list(policies.randaugment_table(32, 32))
    reaches = {n: table[n].reach for n in ("rotate", "shear_x", "translate_x", "color")}
    assert reaches == {"rotate": 135, "shear_x": 0.99, "translate_x": 32, "color": 0.99}
    assert table["posterize"].start + table["posterize"].reach == 2
