import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data.augmentation import AUGMENTATIONS, augment
from agkd_tf.data.augmentation.crop_flip import crop_flip
from agkd_tf.errors import InputError

SEED = (5, 2)


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0.1, 1, (600, 6, 6, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def places(images):
    """(top, left, flip) of each image's crop, found among all 81 offsets and 2 flips."""
    cropped = crop_flip(tf.constant(images), SEED).numpy()
    padded = np.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (6, 6), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3)
    windows = np.stack([windows, windows[:, :, :, :, ::-1]], axis=3)  # [B, top, left, flip, H, W, C]
    image, *place = np.nonzero((windows == cropped[:, None, None, None]).all(axis=(4, 5, 6)))
    np.testing.assert_array_equal(image, np.arange(len(images)))  # exactly one place each
    return np.stack(place, axis=1)


def test_every_image_is_a_crop_of_its_own_padded_self(places):
    assert places.shape == (600, 3)


def test_places_are_uniform_and_drawn_per_image(places):
    tops, lefts, flips = places.T
    for offsets in (tops, lefts):
        np.testing.assert_allclose(np.bincount(offsets, minlength=9), 600 / 9, rtol=0.5)
    assert 0.4 < flips.mean() < 0.6
    assert len(np.unique(places, axis=0)) > 140  # of 162: the three draws are independent


def test_the_seed_alone_fixes_the_crops(images):
    first, again, other = (crop_flip(tf.constant(images[:8]), seed).numpy() for seed in (SEED, SEED, (5, 3)))
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


def test_xla_crops_the_same(images):
    compiled = tf.function(crop_flip, jit_compile=True)
    few, seed = tf.constant(images[:32]), tf.constant(SEED)  # a tensor: XLA would fold a constant seed away
    np.testing.assert_array_equal(compiled(few, seed), crop_flip(few, seed))


def test_names_choose_the_augmentation(images):
    few = tf.constant(images[:4])
    np.testing.assert_array_equal(augment("none", few, SEED), few)
    np.testing.assert_array_equal(augment("crop_flip", few, SEED), crop_flip(few, SEED))
    with pytest.raises(
        InputError, match="`augmentation` must be one of crop_flip, cutout, idbh-strong, idbh-svhn, idbh-weak, none"
    ):
        augment("mixup", few, SEED)


# They take seconds to compile.
COSTLY = ("idbh-strong", "idbh-weak", "idbh-svhn")


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[pytest.mark.slow] * (each in COSTLY)) for each in sorted(AUGMENTATIONS)]
)
def test_each_is_a_function_of_the_seed_also_under_xla(name):
    few = tf.constant(np.random.default_rng(1).integers(0, 256, (24, 20, 20, 3)) / 255, tf.float32)
    plain, compiled = (
        tf.function(lambda images, seed: augment(name, images, seed), jit_compile=xla) for xla in (False, True)
    )
    first, again, other = (plain(few, tf.constant(seed)).numpy() for seed in (SEED, SEED, (5, 3)))
    np.testing.assert_array_equal(first, again)
    assert first.shape == few.shape
    assert first.min() >= 0
    assert first.max() <= 1
    assert np.array_equal(first, other) == (name == "none")
    # XLA's sines and products differ in the last bit, which moves a few pixels to their neighbour or by a level.
    assert np.isclose(compiled(few, tf.constant(SEED)).numpy(), first, rtol=0, atol=1.01 / 255).mean() > 0.999
