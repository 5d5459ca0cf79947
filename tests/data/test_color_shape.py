"""ColorShape against Pillow, operation by operation."""

import math

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image, ImageEnhance, ImageOps

from agkd_tf.data.augmentation import color_shape as module
from agkd_tf.data.augmentation.color_shape import COLOR, SHAPE, color_shape, draw
from agkd_tf.errors import InputError

COUNT = 48


def enhanced(kind):
    return lambda image, amount: kind(image).enhance(amount)


def sheared(along_x):
    def apply(image, amount):
        slope, (width, height) = math.tan(amount), image.size
        matrix = (1, slope, -slope * height / 2, 0, 1, 0) if along_x else (1, 0, 0, slope, 1, -slope * width / 2)
        return image.transform(image.size, Image.Transform.AFFINE, matrix, Image.Resampling.NEAREST)

    return apply


PILLOW = {
    "saturation": enhanced(ImageEnhance.Color),
    "brightness": enhanced(ImageEnhance.Brightness),
    "contrast": enhanced(ImageEnhance.Contrast),
    "sharpness": enhanced(ImageEnhance.Sharpness),
    "autocontrast": lambda image, amount: ImageOps.autocontrast(image),
    "equalize": lambda image, amount: ImageOps.equalize(image),
    "shear_x": sheared(True),
    "shear_y": sheared(False),
    "rotate": lambda image, amount: image.rotate(amount, Image.Resampling.NEAREST),
}


def levels_of(shape, seed=0):
    """Images of random range and clustered levels, uint8: the first is flat, the second has two levels."""
    rng = np.random.default_rng(seed)
    low, span = rng.integers(0, 120, (shape[0], 1, 1, shape[3])), rng.integers(2, 130, (shape[0], 1, 1, 1))
    images = (low + span * rng.uniform(size=shape) ** 2).astype(np.uint8)
    images[0], images[1] = 77, np.where(images[1] > np.median(images[1]), 200, 30)
    return images


def by_pillow(name, images, amounts):
    found = []
    for image, amount in zip(images, amounts, strict=True):
        picture = Image.fromarray(image if image.shape[-1] == 3 else image[..., 0])
        found.append(np.asarray(PILLOW[name](picture, float(amount))).reshape(image.shape))
    return np.stack(found).astype(np.int32)


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("name", PILLOW)
def test_each_operation_is_pillows(name, channels):
    images = levels_of((COUNT, 22, 17, channels))
    low, high = {"rotate": (-30, 30), "shear_x": (-0.35, 0.35), "shear_y": (-0.35, 0.35)}.get(name, (0.1, 1.9))
    amounts = np.linspace(low, high, COUNT).astype(np.float32)
    if name == "rotate":
        amounts = np.round(amounts)
    own = getattr(module, name)(tf.constant(images, tf.float32), tf.constant(amounts)).numpy()
    np.testing.assert_array_equal(own, np.round(own))
    theirs = by_pillow(name, images, amounts)
    if name in ("rotate", "shear_x", "shear_y"):  # Pillow computes places in fixed point: a few fall the other way
        assert (own == theirs).mean() > 0.998
    else:
        np.testing.assert_allclose(own, theirs, rtol=0, atol=1)
        assert (own == theirs).mean() > 0.99


@pytest.mark.parametrize(
    ("operations", "shares", "shear", "degrees"),
    [
        (COLOR, [1 / 8] * 6 + [1 / 16] * 2 + [1 / 8], (0.05, 0.15), 10),
        (SHAPE, [0.08, 0.08, 0.04, 0.08, 0.04, 0.08, 0.15, 0.15, 0.3], (0.05, 0.35), 30),
    ],
)
def test_operations_and_amounts_are_drawn_as_published(operations, shares, shear, degrees):
    assert [operation.apply.__name__ for operation in operations] == list(PILLOW)
    assert sum(operation.probability for operation in operations) == pytest.approx(1)
    chosen, amount = (each.numpy() for each in draw(40_000, (1, 2), operations))
    np.testing.assert_allclose(np.bincount(chosen) / 40_000, shares, atol=0.008)
    for number, (low, high) in enumerate([(0.1, 1.9), (0.5, 1.9), (0.5, 1.9), (0.1, 1.9)]):
        of_it = amount[chosen == number]
        assert low <= of_it.min() < low + 0.05
        assert high - 0.05 < of_it.max() <= high
    for number in (6, 7):
        of_it = amount[chosen == number]
        assert shear[0] <= np.abs(of_it).min()
        assert shear[1] - 0.01 < np.abs(of_it).max() <= shear[1]
        assert 0.4 < (of_it > 0).mean() < 0.6
    assert set(amount[chosen == 8]) == {*range(-degrees, 0), *range(1, degrees + 1)}


def test_each_image_gets_the_operation_and_the_amount_that_it_drew():
    images = levels_of((COUNT, 16, 16, 3))
    got = color_shape(tf.constant(images / 255, tf.float32), (1, 3), operations=COLOR).numpy() * 255
    chosen, amount = (each.numpy() for each in draw(COUNT, (1, 3), COLOR))
    assert len(set(chosen)) == len(COLOR)
    for number, name in enumerate(PILLOW):
        rows = chosen == number
        close = np.isclose(got[rows], by_pillow(name, images[rows], amount[rows]), rtol=0, atol=1.01)
        assert close.mean() > (1 - 1e-9 if number < 6 else 0.99)


def test_other_numbers_of_channels_are_refused():
    with pytest.raises(InputError, match=r"needs images of 1 or 3 channels\. Received: 2"):
        color_shape(tf.ones([1, 16, 16, 2]), (0, 0), operations=COLOR)
