import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data.augmentation import augment
from agkd_tf.data.augmentation.crop_flip import crop_flip
from agkd_tf.data.augmentation.erasing import cutout, random_erasing

COUNT, SIDE = 4000, 32


def rectangles(erased):
    """(image, top, left, height, width) of the zeros of each image that has any; asserts that they are a rectangle."""
    zeros, found = erased[..., 0] == 0, []
    np.testing.assert_array_equal((erased == 0).all(axis=3), (erased == 0).any(axis=3))
    for number, image in enumerate(zeros):
        rows, columns = np.flatnonzero(image.any(axis=1)), np.flatnonzero(image.any(axis=0))
        if len(rows):
            assert image.sum() == len(rows) * len(columns)
            assert image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1].all()
            found.append((number, rows[0], columns[0], len(rows), len(columns)))
    return np.array(found)


def test_area_and_aspect_are_in_their_ranges():
    erased = random_erasing(tf.ones([COUNT, SIDE, SIDE, 2]), (1, 1), probability=1.0, largest_area=0.33).numpy()
    _, top, left, rows, columns = rectangles(erased).T
    assert len(rows) == COUNT
    area = rows * columns / SIDE**2
    # Each side is rounded by at most half a pixel.
    assert ((rows + 0.5) * (columns + 0.5) >= 0.02 * SIDE**2).all()
    assert ((rows - 0.5) * (columns - 0.5) <= 0.33 * SIDE**2).all()
    assert ((rows + 0.5) / (columns - 0.5) >= 0.3).all()
    assert ((rows - 0.5) / (columns + 0.5) <= 3.3).all()
    np.testing.assert_allclose(np.histogram(area, bins=4, range=(0.02, 0.33))[0], COUNT / 4, rtol=0.15)
    assert abs(np.log(rows / columns).mean()) < 0.05
    assert (rows < SIDE).all()
    assert (columns < SIDE).all()
    for first, size in ((top, rows), (left, columns)):
        place = first / (SIDE - size)  # 0 to 1
        assert place.min() == 0
        assert place.max() == 1
        assert 0.48 < place.mean() < 0.52


def test_sides_that_do_not_fit_are_drawn_anew():
    """Of a flat image, most draws are too high: how often none of ten fits is compared with torchvision's loop."""
    erased = random_erasing(tf.ones([COUNT, 4, 40, 1]), (1, 1), probability=1.0, largest_area=0.5).numpy()
    _, _, _, rows, _ = rectangles(erased).T
    rng = np.random.default_rng(0)
    area = 160 * rng.uniform(0.02, 0.5, (20_000, 10))
    aspect = np.exp(rng.uniform(np.log(0.3), np.log(3.3), (20_000, 10)))
    fits = (np.round(np.sqrt(area * aspect)) < 4) & (np.round(np.sqrt(area / aspect)) < 40)
    assert (rows < 4).all()
    assert abs(len(rows) / COUNT - fits.any(axis=1).mean()) < 0.02
    one_of_one = random_erasing(tf.ones([5, 1, 1, 1]), (1, 1), probability=1.0, largest_area=0.5).numpy()
    np.testing.assert_array_equal(one_of_one, 1)  # nothing fits, or is empty


@pytest.mark.parametrize(("name", "share"), [("idbh-weak", 0.5), ("idbh-strong", 1.0), ("idbh-svhn", 1.0)])
def test_idbh_erases_its_share(name, share):
    images = tf.fill([1000, 16, 16, 1], 0.5)
    with_erasing = augment(name, images, (2, 3)).numpy()
    zeros = (with_erasing[..., 0] == 0).mean(axis=(1, 2))
    limit = {"idbh-weak": 0.33, "idbh-strong": 0.33, "idbh-svhn": 0.5}[name]
    unerased = random_erasing(images, (2, 3), probability=share, largest_area=limit).numpy()
    erased = (unerased == 0).any(axis=(1, 2, 3))
    assert abs(erased.mean() - share) < 0.05
    # What the erasing alone erases is black afterwards, too.
    assert (with_erasing[unerased == 0] == 0).all()
    assert (zeros[erased] > 0).all()


def test_cutout_is_one_clipped_square_with_a_uniform_centre():
    cut = rectangles(cutout(tf.ones([COUNT, SIDE, SIDE, 1]), (1, 1)).numpy())
    assert len(cut) == COUNT
    _, top, left, rows, columns = cut.T
    for first, size in ((top, rows), (left, columns)):
        centre = np.where(first > 0, first + 9, size - 9)
        expected = [min(SIDE, each + 9) - max(0, each - 9) for each in centre]
        np.testing.assert_array_equal(size, expected)
        np.testing.assert_allclose(np.bincount(centre, minlength=SIDE), COUNT / SIDE, rtol=0.35)
    assert abs(np.corrcoef(top, left)[0, 1]) < 0.05


def test_the_augmentation_cuts_out_of_the_same_crops():
    images = tf.constant(np.random.default_rng(0).uniform(0.1, 1, (50, SIDE, SIDE, 3)), tf.float32)
    np.testing.assert_array_equal(augment("cutout", images, (4, 5)), cutout(crop_flip(images, (4, 5)), (4, 5)))
