"""The input stream: every image once an epoch, the same again after a resume."""

import numpy as np
import pytest
import tensorflow as tf

from tfresnet import tasks
from tfresnet.config.sections import DataConfig
from tfresnet.data import augment, pipeline
from tfresnet.data.splits import ArraySplit
from tfresnet.runtime.errors import InputError
from tfresnet.runtime.spec import InputSpec, OutputSpec

SPEC = InputSpec(8, 8)
TARGETS = tasks.of(OutputSpec("classification", tuple("abcd"))).targets
PLAIN = DataConfig(crop_padding=0, flip=False)


def numbered_split(count: int = 20) -> ArraySplit:
    """Images that all have their own grey value."""
    grey = np.arange(count, dtype=np.uint8)
    return ArraySplit(
        np.broadcast_to(grey[:, None, None, None], (count, 8, 8, 3)).copy(),
        np.arange(count) % 4,
    )


def shown(config: DataConfig, first: int, last: int, seed: int = 0) -> list[np.ndarray]:
    batches = pipeline.train_batches(numbered_split(), SPEC, TARGETS, config, 5, seed, first, last)
    return [images.numpy() for images, _ in batches]


def numbers(batches: list[np.ndarray]) -> list[int]:
    return [round(float(i[0, 0, 0]) * 128 + 128) for batch in batches for i in batch]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    first, second = numbers(shown(PLAIN, 0, 4)), numbers(shown(PLAIN, 4, 8))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != numbers(shown(PLAIN, 0, 4, seed=1))


def test_no_image_is_left_out_of_an_epoch_that_its_batches_do_not_divide():
    """Of 3 batches of 8 for 20 images, the last ends with the 4 that the epoch began with."""
    epochs = [
        numbers(
            [
                images.numpy()
                for images, _ in pipeline.train_batches(
                    numbered_split(), SPEC, TARGETS, PLAIN, 8, 0, 3 * epoch, 3 * epoch + 3
                )
            ]
        )
        for epoch in range(2)
    ]
    assert pipeline.steps_per_epoch(numbered_split(), 8) == 3
    for epoch in epochs:
        assert sorted(epoch[:20]) == list(range(20))
        assert epoch[20:] == epoch[:4]
    assert epochs[0][20:] != epochs[1][20:]


EVERYTHING = DataConfig(
    random_resized_crop=0.3, flip="alternating", randaugment=2, randaugment_magnitude=14,
    cutout=4, erasing=0.5, mixup_alpha=0.2, cutmix_alpha=1.0,
)  # fmt: skip


@pytest.mark.parametrize(
    "config", [PLAIN, DataConfig(mixup_alpha=0.2, cutmix_alpha=1.0), EVERYTHING]
)
def test_a_stream_that_starts_later_is_the_rest_of_the_whole(config):
    whole, rest = shown(config, 0, 9), shown(config, 6, 9)
    assert all((a == b).all() for a, b in zip(whole[6:], rest, strict=True))


def test_the_stream_of_older_versions_is_kept():
    """Runs that were started before resume with the same images: computed as it was then."""
    batch = np.arange(5 * 8 * 8 * 3, dtype=np.uint8).reshape(5, 8, 8, 3)
    seed = tf.constant([3, 7], tf.int64)
    padded = np.pad(batch, [(0, 0), (4, 4), (4, 4), (0, 0)], mode="reflect")
    crop, flip = augment.split_seed(seed, 4)[:2]
    offsets = tf.random.stateless_uniform([2, 5, 1], crop, 0, 9, tf.int32).numpy()[..., 0]
    old = [p[y : y + 8, x : x + 8] for p, y, x in zip(padded, *offsets, strict=True)]
    chosen = tf.random.stateless_uniform([5, 1, 1, 1], flip).numpy().ravel() < 0.5
    old = [i[:, ::-1] if c else i for i, c in zip(old, chosen, strict=True)]
    new = pipeline._augment(
        tf.constant(batch), DataConfig(), seed, lambda key: augment.random_half(5, key)
    )
    np.testing.assert_array_equal(new, old)


def test_labels_belong_to_their_images():
    for images, labels in pipeline.train_batches(
        numbered_split(), SPEC, TARGETS, PLAIN, 5, 0, 0, 4
    ):
        assert numbers([images.numpy()]) == [
            n for n in numbers([images.numpy()]) if labels.shape == (5, 4)
        ]
        classes = np.array(numbers([images.numpy()])) % 4
        assert (labels.numpy().argmax(axis=1) == classes).all()


def test_pixels_are_normalised_to_the_signed_byte_over_128():
    bytes_ = np.array([0, 1, 128, 255], np.uint8)
    values = pipeline.normalize(bytes_[:, None].repeat(3, 1), SPEC).numpy()[:, 0]
    assert values.dtype == np.float32
    assert list(values) == [-1, -127 / 128, 0, 127 / 128]


@pytest.mark.parametrize(
    ("change", "soft"),
    [
        ({"crop_padding": 3}, False),
        ({"crop_padding": 3, "crop_mode": "zero"}, False),
        ({"random_resized_crop": 0.08}, False),
        ({"flip": True}, False),
        ({"flip": "alternating"}, False),
        ({"policy": "trivialaugment"}, False),
        ({"policy": "autoaugment"}, False),
        ({"randaugment": 1}, False),
        ({"cutout": 4}, False),
        ({"erasing": 0.5}, False),
        ({"mixup_alpha": 1.0}, True),
        ({"cutmix_alpha": 1.0}, True),
    ],
    ids=str,
)
def test_every_augmentation_that_is_asked_for_happens(change, soft):
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (20, 8, 8, 3), np.uint8), np.arange(20) % 4)

    def batches(config):
        stream = pipeline.train_batches(split, SPEC, TARGETS, config, 5, 0, 0, 4)
        images, labels = zip(*stream, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    plain, _ = batches(PLAIN)
    images, labels = batches(PLAIN.model_copy(update=change))
    assert (images != plain).any()
    assert ((labels > 0).sum(axis=1) > 1).any() == soft
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)


def test_alternating_flips_show_both_sides_of_every_image_in_two_epochs():
    columns = np.arange(8, dtype=np.uint8) * np.ones((20, 8, 1), np.uint8)
    images = (columns + np.arange(20, dtype=np.uint8)[:, None, None] * 10)[..., None].repeat(3, -1)
    split = ArraySplit(images, np.arange(20) % 4)
    config = PLAIN.model_copy(update={"flip": "alternating"})
    seen = set()
    for batch, _ in pipeline.train_batches(split, SPEC, TARGETS, config, 5, 0, 4, 12):
        for image in np.round(batch.numpy() * 128 + 128).astype(int)[:, 0, :, 0]:
            seen.add((image.min() // 10, bool(image[0] > image[-1])))
    assert seen == {(n, side) for n in range(20) for side in (False, True)}


def test_repeated_images_are_varied_differently_and_never_neighbours():
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (20, 8, 8, 3), np.uint8), np.arange(20))
    output = OutputSpec("classification", tuple(str(n) for n in range(20)))
    targets = tasks.of(output).targets
    config = DataConfig(repeats=3, crop_padding=2, flip=False)
    steps = pipeline.steps_per_epoch(split, 6)
    assert steps == 4  # as many as without; an epoch shows a third of the images
    for images, labels in pipeline.train_batches(split, SPEC, targets, config, 6, 0, 0, 2 * steps):
        classes = labels.numpy().argmax(axis=1)
        assert list(classes[:2]) * 3 == list(classes)
        assert (images[0].numpy() != images[2].numpy()).any()
    with pytest.raises(InputError, match=r"data.repeats: expected a divisor of the batch size, 6"):
        next(iter(pipeline.train_batches(split, SPEC, targets, DataConfig(repeats=4), 6, 0, 0, 1)))


def test_smaller_images_are_the_same_ones_averaged():
    """An image's mean stays, within what pixels at its border weigh more in a smaller one."""
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (8, 32, 32, 3), np.uint8), np.arange(8) % 4)
    spec = InputSpec(32, 32)
    streams = [
        pipeline.train_batches(split, spec, TARGETS, PLAIN, 8, 0, 0, 1, size) for size in (None, 16)
    ]
    (large, labels), (small, same_labels) = (next(iter(stream)) for stream in streams)
    assert small.shape == (8, 16, 16, 3)
    np.testing.assert_array_equal(labels, same_labels)
    means = [images.numpy().mean(axis=(1, 2)) for images in (large, small)]
    np.testing.assert_allclose(*means, atol=0.02)  # of a range of 2


def test_sizes_are_for_whole_epochs_and_end_with_the_full_one():
    config = DataConfig(progressive={0.6: 24, 0.3: 20})
    assert pipeline.segments(config, 10, 100) == [(300, 20), (600, 24), (1000, None)]
    assert pipeline.segments(config, 1, 100) == pipeline.segments(DataConfig(), 1, 100)
    assert pipeline.segments(DataConfig(), 10, 100) == [(1000, None)]
    for progressive in ({1.0: 20}, {0.5: 40}, {0.5: 4}):
        with pytest.raises(InputError, match=r"data.progressive: expected shares between 0"):
            shown(DataConfig(progressive=progressive, crop_padding=0), 0, 1)


def test_settings_that_exclude_each_other_are_refused():
    config = DataConfig(randaugment=2, policy="autoaugment", crop_padding=0)
    with pytest.raises(InputError, match=r"expected none beside data.randaugment=2, got autoaug"):
        shown(config, 0, 1)
    with pytest.raises(InputError, match=r"data.crop_padding: expected less than the image's 8"):
        shown(DataConfig(crop_padding=8), 0, 1)


def test_grey_images_take_every_augmentation():
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (20, 8, 8, 1), np.uint8), np.arange(20) % 4)
    spec = InputSpec(8, 8, (128.0,), (128.0,))
    for images, _ in pipeline.train_batches(split, spec, TARGETS, EVERYTHING, 5, 0, 0, 2):
        assert images.shape == (5, 8, 8, 1)


def test_evaluation_counts_every_image_once():
    images, classes, weights = zip(
        *pipeline.raw_batches(numbered_split(), batch_size=8), strict=True
    )
    kept = np.concatenate(weights) > 0
    assert kept.sum() == 20
    assert (np.concatenate(classes)[kept] == np.arange(20) % 4).all()
    assert all(i.shape == (8, 8, 8, 3) for i in images)


def test_a_stream_that_is_given_up_ends_at_once():
    """tf.data's tuning thread may not notice, and then holds up who drops the stream."""
    split, config = numbered_split(), DataConfig()
    for stream in (
        pipeline.train_batches(split, SPEC, TARGETS, config, 4, 0, 0, 5),
        pipeline.raw_batches(split, 4),
    ):
        assert stream.options().autotune.enabled is False


def test_a_limit_spreads_over_the_split():
    batches = pipeline.raw_batches(numbered_split(), 4, limit=6)
    seen = [int(i[0, 0, 0]) for images, _, w in batches for i in images.numpy()[w.numpy() > 0]]
    assert seen == [0, 4, 8, 11, 15, 19]


def test_a_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(InputError, match=r"expected at most 20 \(the training images\), got 21"):
        pipeline.steps_per_epoch(numbered_split(), 21)
