"""The operations that RandAugment, TrivialAugment and AutoAugment choose from, on batches.

Each takes uint8 images [n, height, width, channels] with 1 (grey) or 3 (RGB) channels and one
float32 value an image [n], and returns uint8 images of the same shape; n may be 0. What the value
means is said at each. The results are Pillow's, on which the papers' code stands; tests hold them
equal. Pixels that a geometric operation leaves uncovered become grey (128), which is 0 after the
default normalization, as in AutoAugment's code.
"""

import tensorflow as tf

GREY = 128


def identity(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Change nothing."""
    return images


def invert(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Turn every value v into 255 - v."""
    return 255 - images


def autocontrast(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Stretch each channel so that its darkest value is 0 and its brightest 255."""
    # In float64, as Pillow has it: the results are then equal to the bit.
    low = tf.cast(tf.reduce_min(images, [1, 2], keepdims=True), tf.float64)
    high = tf.cast(tf.reduce_max(images, [1, 2], keepdims=True), tf.float64)
    flat = high <= low
    scale = tf.where(flat, tf.ones_like(low), 255 / tf.where(flat, tf.ones_like(low), high - low))
    offset = tf.where(flat, tf.zeros_like(low), -low * scale)
    stretched = tf.cast(images, tf.float64) * scale + offset
    return tf.cast(tf.clip_by_value(stretched, 0, 255), tf.uint8)


def equalize(images: tf.Tensor, unused: tf.Tensor) -> tf.Tensor:
    """Spread each channel's values so that their histogram becomes flat."""
    batch, height, width, channels = tf.unstack(tf.shape(images))
    row = tf.reshape(tf.range(batch * channels), [batch, 1, 1, channels])
    index = tf.cast(images, tf.int32) + 256 * row
    bins = batch * channels * 256
    counts = tf.math.bincount(tf.reshape(index, [-1]), minlength=bins, maxlength=bins)
    counts = tf.reshape(counts, [batch * channels, 256])
    table = tf.reshape(_equalizing_table(counts, height * width), [-1])
    return tf.gather(table, index)


def _equalizing_table(counts: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Return what each value becomes, uint8 [rows, 256], given how often it is there."""
    values = tf.range(256)
    highest = tf.reduce_max(tf.where(counts > 0, values, 0), axis=1, keepdims=True)
    last = tf.gather(counts, highest, batch_dims=1)
    step = (pixels - last) // 255
    darker = tf.cumsum(counts, axis=1, exclusive=True)
    spread = tf.minimum((step // 2 + darker) // tf.maximum(step, 1), 255)
    return tf.cast(tf.where(step == 0, values, spread), tf.uint8)


def solarize(images: tf.Tensor, threshold: tf.Tensor) -> tf.Tensor:
    """Invert the values from ``threshold`` on (0 all, 256 none)."""
    # Comparing with the next whole number is the same, and stays in integers.
    limit = tf.cast(tf.math.ceil(threshold), tf.int32)
    return tf.where(tf.cast(images, tf.int32) < _each(limit), images, 255 - images)


def posterize(images: tf.Tensor, bits: tf.Tensor) -> tf.Tensor:
    """Keep the upper ``bits`` (0 to 8, rounded) of every value."""
    dropped = 8 - tf.cast(tf.round(bits), tf.int32)
    mask = tf.bitwise.bitwise_and(tf.bitwise.left_shift(255, dropped), 255)
    return tf.bitwise.bitwise_and(images, _each(tf.cast(mask, tf.uint8)))


def brightness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Multiply: 0 is black, 1 the image."""
    pixels = tf.cast(images, tf.float32)
    return _blend(tf.zeros_like(pixels), pixels, factor)


def color(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the grey version: 0 is grey, 1 the image; a grey image stays as it is."""
    if images.shape[-1] == 1:
        return images
    pixels = tf.cast(images, tf.float32)
    return _blend(tf.cast(_lightness(images)[..., None], tf.float32), pixels, factor)


def contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the mean grey of the image: 0 is that grey, 1 the image."""
    grey = _lightness(images)
    count = tf.reduce_prod(tf.shape(grey)[1:])
    mean = (2 * tf.reduce_sum(grey, [1, 2]) + count) // (2 * count)  # rounded, as Pillow does
    return _blend(_each(tf.cast(mean, tf.float32)), tf.cast(images, tf.float32), factor)


def sharpness(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Blend with the smoothed version: 0 is smooth, 1 the image, 2 sharper.

    Smooth is Pillow's filter: weights 1, and 5 in the center, over 13; the outermost pixels stay.
    """
    pixels = tf.cast(images, tf.float32)
    rows = pixels[:, :-2] + pixels[:, 1:-1] + pixels[:, 2:]
    box = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:]
    inner = pixels[:, 1:-1, 1:-1]
    smooth = tf.floor((box + 4 * inner) / 13 + 0.5)
    detail = tf.pad(inner - smooth, [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _blend(pixels - detail, pixels, factor)


def rotate(images: tf.Tensor, degrees: tf.Tensor) -> tf.Tensor:
    """Turn counter-clockwise around the center."""
    height, width = (tf.cast(n, tf.float32) for n in tf.unstack(tf.shape(images)[1:3]))
    angle = -degrees * 3.141592653589793 / 180
    cos, sin, x, y = tf.cos(angle), tf.sin(angle), width / 2, height / 2
    return _affine(images, cos, sin, x - cos * x - sin * y, -sin, cos, y + sin * x - cos * y)


def shear_x(images: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Move row y by -slope * y pixels."""
    return _affine(images, b=slope)


def shear_y(images: tf.Tensor, slope: tf.Tensor) -> tf.Tensor:
    """Move column x by -slope * x pixels."""
    return _affine(images, d=slope)


def translate_x(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move to the left by whole pixels (truncated)."""
    return _affine(images, c=_truncated(pixels))


def translate_y(images: tf.Tensor, pixels: tf.Tensor) -> tf.Tensor:
    """Move up by whole pixels (truncated)."""
    return _affine(images, f=_truncated(pixels))


def _affine(
    images: tf.Tensor,
    a: tf.Tensor | float = 1.0,
    b: tf.Tensor | float = 0.0,
    c: tf.Tensor | float = 0.0,
    d: tf.Tensor | float = 0.0,
    e: tf.Tensor | float = 1.0,
    f: tf.Tensor | float = 0.0,
) -> tf.Tensor:
    """Take each pixel (x, y) from (ax + by + c, dx + ey + f), nearest, as Pillow's ``AFFINE``.

    Pillow measures from the corner of the first pixel, TensorFlow from its center.
    """
    c, f = c + (a + b - 1) / 2, f + (d + e - 1) / 2
    zeros = tf.zeros(tf.shape(images)[:1])
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([zeros + part for part in (a, b, c, d, e, f, 0.0, 0.0)], axis=1),
        output_shape=tf.shape(images)[1:3],
        fill_value=float(GREY),
        interpolation="NEAREST",
    )


def _blend(degenerate: tf.Tensor, pixels: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Return degenerate + factor * (pixels - degenerate), cut off as Pillow's ``blend`` does."""
    mixed = degenerate + _each(factor) * (pixels - degenerate)
    return tf.cast(tf.clip_by_value(mixed, 0, 255), tf.uint8)


def _lightness(images: tf.Tensor) -> tf.Tensor:
    """Return int32 [n, height, width]: Pillow's conversion to grey (ITU-R 601-2)."""
    if images.shape[-1] == 1:
        return tf.cast(images[..., 0], tf.int32)
    red, green, blue = tf.unstack(tf.cast(images, tf.int32), axis=-1)
    return tf.bitwise.right_shift(19595 * red + 38470 * green + 7471 * blue + 32768, 16)


def _each(values: tf.Tensor) -> tf.Tensor:
    """Shape one value an image [n] to go with images [n, height, width, channels]."""
    return values[:, None, None, None]


def _truncated(values: tf.Tensor) -> tf.Tensor:
    return tf.cast(tf.cast(values, tf.int32), tf.float32)
