"""Decode, turn, crop and resize pictures inside a TensorFlow graph, as the runtime does.

Where :mod:`tfresnet.runtime.preprocess` uses Pillow, this uses TensorFlow's operations, with the
same choices: libjpeg's accurate transform, a large JPEG decoded at 1/2, 1/4 or 1/8, the EXIF
orientation, and a resize in two passes with bytes between them. Pixels differ by 1 or 2 of 255.
"""

import tensorflow as tf

from tfresnet.runtime.spec import InputSpec

RATIOS = (1, 2, 4, 8)  # by which libjpeg shrinks while it decodes
KERNELS = {"bilinear": "triangle", "bicubic": "keyscubic", "lanczos": "lanczos3"}
GREY = (19595, 38470, 7471)  # ITU-R 601-2 luma as Pillow has it, in units of 2 ** -16

# JPEG (ITU-T T.81) and EXIF (CIPA DC-008): a file begins with SOI and is a list of segments, each a
# marker (0xFF and its kind), a length of two bytes, and content; the image follows after SOS.
JPEG, EXIF = b"\xff\xd8\xff", b"Exif\0\0"
APP1, SOS = 0xE1, 0xDA
ORIENTATION, SHORT, ENTRY = 0x0112, 3, 12  # a tag, its type, and the bytes of each entry
MIRRORED_LEFT_RIGHT, MIRRORED_TOP_BOTTOM, TRANSPOSED = (2, 3, 6, 7), (3, 4, 7, 8), (5, 6, 7, 8)


def picture(encoded: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Decode the bytes of a JPEG, PNG, GIF or BMP file and fit it to a model's input.

    Args:
        encoded: the bytes, string [].
        spec: the model's input.

    Returns:
        Pixels, uint8 [spec.height, spec.width, channels].
    """
    is_jpeg = tf.equal(tf.strings.substr(encoded, 0, len(JPEG)), JPEG)
    image = tf.cond(
        is_jpeg,
        lambda: upright(_decode_jpeg(encoded, spec.decoded_side), orientation(encoded)),
        lambda: tf.io.decode_image(encoded, 3, expand_animations=False),
    )
    return fit(tf.ensure_shape(image, [None, None, 3]), spec)


def _decode_jpeg(encoded: tf.Tensor, side: int) -> tf.Tensor:
    """Decode at the smallest size with ``side`` pixels both ways, as Pillow's ``draft`` does."""
    shrink = tf.reduce_min(tf.image.extract_jpeg_shape(encoded)[:2]) // side
    index = tf.reduce_sum(tf.cast(shrink >= RATIOS[1:], tf.int32))

    def decode(ratio: int) -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, 3, ratio, dct_method="INTEGER_ACCURATE")

    return tf.switch_case(index, [lambda ratio=ratio: decode(ratio) for ratio in RATIOS])


def orientation(encoded: tf.Tensor) -> tf.Tensor:
    """Return the EXIF orientation of a JPEG file, int32 [], 1 to 8; 1 if none can be read.

    Args:
        encoded: the bytes of the file, string [].
    """
    content = tf.cast(tf.io.decode_raw(encoded, tf.uint8), tf.int32)
    start = _exif(encoded, content)
    return tf.cond(start > 0, lambda: _orientation_in(content[start:]), lambda: tf.constant(1))


def _exif(encoded: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
    """Return the offset of the EXIF data in a JPEG, or 0."""

    def kind(at: tf.Tensor) -> tf.Tensor:
        return content[at + 1]

    def is_exif(at: tf.Tensor) -> tf.Tensor:
        named = tf.equal(tf.strings.substr(encoded, at + 4, len(EXIF)), EXIF)
        return tf.logical_and(tf.equal(kind(at), APP1), named)

    def goes_on(at: tf.Tensor) -> tf.Tensor:
        whole = at + 4 + len(EXIF) < tf.size(content)
        return tf.cond(
            whole,
            lambda: (content[at] == 0xFF) & (kind(at) != SOS) & ~is_exif(at),
            lambda: tf.constant(False),
        )

    def skip(at: tf.Tensor) -> tuple[tf.Tensor]:
        return (at + 2 + 256 * content[at + 2] + content[at + 3],)

    (at,) = tf.while_loop(goes_on, skip, (tf.constant(2),))
    found = tf.cond(
        at + 4 + len(EXIF) < tf.size(content), lambda: is_exif(at), lambda: tf.constant(False)
    )
    return tf.where(found, at + 4 + len(EXIF), 0)


def _orientation_in(tiff: tf.Tensor) -> tf.Tensor:
    """Return the orientation in EXIF data (the bytes of a TIFF file, int32 [n]); 1 by default."""
    size = tf.size(tiff)
    little = tf.equal(tf.gather(tiff, 0), ord("I"))

    def number(at: tf.Tensor, count: int) -> tf.Tensor:
        """Return the numbers of ``count`` bytes at the offsets ``at``; bytes outside are 0."""
        places = tf.expand_dims(at, -1) + tf.range(count)
        inside = (places >= 0) & (places < size)
        values = tf.where(inside, tf.gather(tiff, tf.clip_by_value(places, 0, size - 1)), 0)
        values = tf.where(little, values, tf.reverse(values, [-1]))
        return tf.reduce_sum(values * [256**i for i in range(count)], -1)

    directory = number(tf.constant(4), 4)
    entries = directory + 2 + ENTRY * tf.range(tf.minimum(number(directory, 2), size // ENTRY))
    wanted = (number(entries, 2) == ORIENTATION) & (number(entries + 2, 2) == SHORT)
    values = tf.boolean_mask(number(entries + 8, 2), wanted)
    value = tf.cond(tf.size(values) > 0, lambda: values[0], lambda: tf.constant(1))
    return tf.where((value >= 1) & (value <= 8), value, 1)


def upright(image: tf.Tensor, turned: tf.Tensor) -> tf.Tensor:
    """Turn an image upright.

    Args:
        image: uint8 [h, w, C].
        turned: its EXIF orientation, int32 [], 1 to 8.
    """
    changes = (
        (TRANSPOSED, lambda x: tf.transpose(x, [1, 0, 2])),
        (MIRRORED_LEFT_RIGHT, lambda x: x[:, ::-1]),
        (MIRRORED_TOP_BOTTOM, lambda x: x[::-1]),
    )
    for values, change in changes:
        image = tf.cond(
            tf.reduce_any(tf.equal(turned, values)),
            lambda image=image, change=change: change(image),
            lambda image=image: image,
        )
    return image


def fit(image: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Crop an upright picture, uint8 [h, w, 3], as the spec says, and resize it to its size."""
    if spec.shape[2] == 1:
        luma = tf.reduce_sum(tf.cast(image, tf.int32) * GREY, -1, keepdims=True)
        image = tf.cast(tf.bitwise.right_shift(luma + 0x8000, 16), tf.uint8)
    there = tf.shape(image)[:2]
    crop = there if spec.fit == "stretch" else _cropped(there, spec)
    begin = (there - crop) // 2
    if spec.interpolation == "nearest":
        return _nearest(image, begin, crop, spec)
    return _resampled(image, begin, crop, spec)


def _cropped(there: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Return height and width, int32 [2], of the part that is seen of a picture of ``there``."""
    # As Python computes it, to the bit. With constants, TensorFlow would reorder the factors.
    zero = tf.cast(tf.minimum(tf.reduce_min(there), 0), tf.float64)
    wanted = tf.constant(spec.shape[:2], tf.float64) + zero
    scale = tf.reduce_min(tf.cast(there, tf.float64) / wanted) * (spec.crop_fraction + zero)
    return tf.clip_by_value(tf.cast(tf.round(wanted * scale), tf.int32), 1, there)


def _nearest(image: tf.Tensor, begin: tf.Tensor, crop: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    for axis, size in enumerate(spec.shape[:2]):
        step = tf.cast(crop[axis], tf.float64) / size
        first = tf.cast(begin[axis], tf.float64) + step / 2
        places = tf.cumsum(tf.concat([first[None], tf.fill([size - 1], step)], 0))  # as Pillow does
        image = tf.gather(image, tf.cast(tf.floor(places), tf.int32), axis=axis)
    return image


def _resampled(image: tf.Tensor, begin: tf.Tensor, crop: tf.Tensor, spec: InputSpec) -> tf.Tensor:
    """Resize the part from ``begin`` to ``begin + crop``: across, then down, antialiased.

    At the edges of the part, what is beside it in the image counts, as in Pillow.
    """
    for axis in (1, 0):
        scale = tf.cast(spec.shape[axis] / crop[axis], tf.float32)
        scales = tf.tensor_scatter_nd_update(tf.ones(2), [[axis]], [scale])
        shift = -scale * tf.cast(begin[axis], tf.float32)
        shifts = tf.tensor_scatter_nd_update(tf.zeros(2), [[axis]], [shift])
        size = tf.tensor_scatter_nd_update(tf.shape(image)[:2], [[axis]], [spec.shape[axis]])
        resized = tf.raw_ops.ScaleAndTranslate(
            images=image[None], size=size, scale=scales, translation=shifts,
            kernel_type=KERNELS[spec.interpolation], antialias=True,
        )  # fmt: skip
        # Pillow rounds halves up.
        image = tf.cast(tf.clip_by_value(tf.floor(resized[0] + 0.5), 0, 255), tf.uint8)
    return image
