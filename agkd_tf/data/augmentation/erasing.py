"""Rectangles set to zero: random erasing, and cutout."""

import math

import tensorflow as tf

from agkd_tf.randomness import named_seed, uniform, uniform_integers

LEAST_AREA = 0.02  # share of the image
ASPECTS = (0.3, 3.3)  # height over width
TRIES = 10
CUTOUT_SIDE = 18


def random_erasing(images: tf.Tensor, seed: tf.Tensor, *, probability: float, largest_area: float) -> tf.Tensor:
    """Sets a random rectangle of each image to zero, with the given probability.

    The rectangle's share of the area is drawn from U(0.02, largest_area), the logarithm of height / width from
    U(log 0.3, log 3.3); both sides are rounded. Sides that do not fit are drawn anew, up to 10 times in all; if none
    fits, the image is unchanged. The place is uniform among those within the image. All draws are per image.

    Args:
        images: float32 [B, H, W, C].
        seed: int32 [2].
        probability: of erasing anything.
        largest_area: largest share of the area.

    Returns:
        float32 [B, H, W, C].

    Source: Zhong et al., Random Erasing Data Augmentation, AAAI 2020, with the ranges and the rounding of torchvision's
    RandomErasing.
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    tries = [batch, TRIES]
    area = uniform(tries, named_seed(seed, "erased_area"), LEAST_AREA, largest_area) * float(height * width)
    low, high = map(math.log, ASPECTS)
    aspect = tf.exp(uniform(tries, named_seed(seed, "erased_aspect"), low, high))
    rows = tf.cast(tf.round(tf.sqrt(area * aspect)), tf.int32)
    columns = tf.cast(tf.round(tf.sqrt(area / aspect)), tf.int32)
    fits = tf.logical_and(rows < height, columns < width)
    first = tf.argmax(tf.cast(fits, tf.int32), axis=1, output_type=tf.int32)
    erased = uniform([batch], named_seed(seed, "erased")) < probability
    erased = tf.logical_and(erased, tf.reduce_any(fits, axis=1))
    rows, columns = (tf.where(erased, tf.gather(each, first, batch_dims=1), 0) for each in (rows, columns))
    top = uniform_integers([batch], named_seed(seed, "erased_top"), height - rows + 1)
    left = uniform_integers([batch], named_seed(seed, "erased_left"), width - columns + 1)
    return _erase(images, top, top + rows, left, left + columns)


def cutout(images: tf.Tensor, seed: tf.Tensor, *, side: int = CUTOUT_SIDE) -> tf.Tensor:
    """Sets a square of each image to zero, whose centre is a uniform pixel; what lies outside the image is left out.

    Args:
        images: float32 [B, H, W, C].
        seed: int32 [2].
        side: side of the square in pixels, an even number.

    Returns:
        float32 [B, H, W, C].

    Source: DeVries and Taylor, Improved Regularization of Convolutional Neural Networks with Cutout, 2017.
    """
    batch = tf.shape(images)[0]
    top = uniform_integers([batch], named_seed(seed, "cutout_row"), images.shape[1]) - side // 2
    left = uniform_integers([batch], named_seed(seed, "cutout_column"), images.shape[2]) - side // 2
    return _erase(images, top, top + side, left, left + side)


def _erase(images: tf.Tensor, top: tf.Tensor, bottom: tf.Tensor, left: tf.Tensor, right: tf.Tensor) -> tf.Tensor:
    """Sets rows top to bottom - 1 of columns left to right - 1 to zero; the bounds are int32 [B]."""
    rows, columns = tf.range(images.shape[1]), tf.range(images.shape[2])
    in_rows = tf.logical_and(rows >= top[:, None], rows < bottom[:, None])
    in_columns = tf.logical_and(columns >= left[:, None], columns < right[:, None])
    within = tf.logical_and(in_rows[:, :, None], in_columns[:, None, :])
    return tf.where(within[..., None], tf.zeros_like(images), images)
