import numpy as np
import pytest
import tensorflow as tf

from agkd_tf.data.augmentation.crop_shift import crop_shift
from agkd_tf.errors import InputError

COUNT, HEIGHT, WIDTH, LOW, HIGH = 3000, 12, 14, 2, 9


@pytest.fixture(scope="module")
def lost():
    """(rows, columns) that each image lost: of an image of distinct pixels, what is left is one rectangle of it."""
    pixels = np.arange(1, HEIGHT * WIDTH + 1, dtype=np.float32).reshape(HEIGHT, WIDTH)
    images = tf.tile(tf.constant(pixels[None, :, :, None]), [COUNT, 1, 1, 1])
    shifted = crop_shift(images, (3, 1), low=LOW, high=HIGH).numpy()[..., 0]
    found = []
    for image in shifted:
        rows, columns = (np.flatnonzero(image.any(axis=axis)) for axis in (1, 0))
        window = image[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        top, left = divmod(int(window[0, 0]) - 1, WIDTH)
        np.testing.assert_array_equal(window, pixels[top : top + len(rows), left : left + len(columns)])
        found.append((HEIGHT - len(rows), WIDTH - len(columns), top, left, rows[0], columns[0]))
    return np.array(found)


def test_the_lost_pixels_are_zeros_and_split_uniformly(lost):
    total = lost[:, 0] + lost[:, 1]
    assert (total.min(), total.max()) == (LOW, HIGH - 1)
    np.testing.assert_allclose(np.bincount(total)[LOW:], COUNT / (HIGH - LOW), rtol=0.2)
    of_six = lost[total == 6][:, 1]  # columns, 0 to 6
    np.testing.assert_allclose(np.bincount(of_six, minlength=7), len(of_six) / 7, rtol=0.5)


def test_crops_are_taken_from_and_put_at_independent_places(lost):
    rows, _, top, _, row, _ = lost[lost[:, 0] == 3].T
    assert len(rows) > 200
    np.testing.assert_allclose(np.histogram2d(top, row, bins=4)[0], len(rows) / 16, rtol=0.6)
    assert (lost[:, 2:] <= lost[:, [0, 1, 0, 1]]).all()


def test_an_image_of_ones_has_as_many_zeros_as_pixels_lost():
    shifted = crop_shift(tf.ones([500, HEIGHT, WIDTH, 1]), (3, 1), low=0, high=12).numpy()[..., 0]
    rows, columns = HEIGHT - shifted.any(axis=2).sum(axis=1), WIDTH - shifted.any(axis=1).sum(axis=1)
    zeros = HEIGHT * WIDTH - (WIDTH - columns) * (HEIGHT - rows)
    np.testing.assert_array_equal((shifted == 0).sum(axis=(1, 2)), zeros)
    assert (rows + columns).max() == 11
    assert (rows + columns).min() == 0


def test_too_small_an_image_is_refused():
    with pytest.raises(InputError, match=r"needs images of at least 11 x 11 pixels\. Received: 8 x 16"):
        crop_shift(tf.ones([1, 8, 16, 1]), (0, 0), low=0, high=11)
