"""The input stream: every image once an epoch, the same again after a resume."""

import numpy as np
import pytest

from tfresnet.config import DataConfig
from tfresnet.data import pipeline
from tfresnet.data.splits import ArraySplit
from tfresnet.errors import UserError
from tfresnet.spec import InputSpec

SPEC = InputSpec(8, 8, tuple("abcd"))
PLAIN = DataConfig(crop_padding=0, flip=False)


def numbered_split(count: int = 20) -> ArraySplit:
    """Images that all have their own grey value."""
    grey = np.arange(count, dtype=np.uint8)
    return ArraySplit(
        np.broadcast_to(grey[:, None, None, None], (count, 8, 8, 3)).copy(),
        np.arange(count) % 4,
    )


def shown(config: DataConfig, first: int, last: int, seed: int = 0) -> list[np.ndarray]:
    batches = pipeline.train_batches(numbered_split(), SPEC, config, 5, seed, first, last)
    return [images.numpy() for images, _ in batches]


def numbers(batches: list[np.ndarray]) -> list[int]:
    return [round(float(i[0, 0, 0]) * 128 + 128) for batch in batches for i in batch]


def test_an_epoch_shows_every_image_once_in_an_order_of_its_own():
    first, second = numbers(shown(PLAIN, 0, 4)), numbers(shown(PLAIN, 4, 8))
    assert sorted(first) == sorted(second) == list(range(20))
    assert first != second
    assert first != numbers(shown(PLAIN, 0, 4, seed=1))


@pytest.mark.parametrize("config", [PLAIN, DataConfig(mixup_alpha=0.2, cutmix_alpha=1.0)])
def test_a_stream_that_starts_later_is_the_rest_of_the_whole(config):
    whole, rest = shown(config, 0, 9), shown(config, 6, 9)
    assert all((a == b).all() for a, b in zip(whole[6:], rest, strict=True))


def test_labels_belong_to_their_images():
    for images, labels in pipeline.train_batches(numbered_split(), SPEC, PLAIN, 5, 0, 0, 4):
        assert numbers([images.numpy()]) == [
            n for n in numbers([images.numpy()]) if labels.shape == (5, 4)
        ]
        classes = np.array(numbers([images.numpy()])) % 4
        assert (labels.numpy().argmax(axis=1) == classes).all()


def test_pixels_are_normalised_to_the_signed_byte_over_128():
    bytes_ = np.array([0, 1, 128, 255], np.uint8)
    values = pipeline.normalise(bytes_[:, None].repeat(3, 1), SPEC).numpy()[:, 0]
    assert values.dtype == np.float32
    assert list(values) == [-1, -127 / 128, 0, 127 / 128]


@pytest.mark.parametrize(
    ("change", "soft"),
    [
        ({"crop_padding": 3}, False),
        ({"flip": True}, False),
        ({"mixup_alpha": 1.0}, True),
        ({"cutmix_alpha": 1.0}, True),
    ],
    ids=str,
)
def test_every_augmentation_that_is_asked_for_happens(change, soft):
    rng = np.random.default_rng(0)
    split = ArraySplit(rng.integers(0, 256, (20, 8, 8, 3), np.uint8), np.arange(20) % 4)

    def batches(config):
        stream = pipeline.train_batches(split, SPEC, config, 5, 0, 0, 4)
        images, labels = zip(*stream, strict=True)
        return np.concatenate(images), np.concatenate(labels)

    plain, _ = batches(PLAIN)
    images, labels = batches(PLAIN.model_copy(update=change))
    assert (images != plain).any()
    assert ((labels > 0).sum(axis=1) > 1).any() == soft
    np.testing.assert_allclose(labels.sum(axis=1), 1, atol=1e-6)


def test_evaluation_counts_every_image_once():
    images, classes, weights = zip(
        *pipeline.eval_batches(numbered_split(), SPEC, batch_size=8), strict=True
    )
    kept = np.concatenate(weights) > 0
    assert kept.sum() == 20
    assert (np.concatenate(classes)[kept] == np.arange(20) % 4).all()
    assert all(i.shape == (8, 8, 8, 3) for i in images)


def test_a_limit_spreads_over_the_split():
    batches = pipeline.raw_batches(numbered_split(), 4, limit=6)
    seen = [int(i[0, 0, 0]) for images, _, w in batches for i in images.numpy()[w.numpy() > 0]]
    assert seen == [0, 4, 8, 11, 15, 19]


def test_a_batch_larger_than_the_dataset_is_refused():
    with pytest.raises(UserError, match=r"expected at most 20 \(the training images\), got 21"):
        pipeline.steps_per_epoch(numbered_split(), 21)
