"""ColorShape: changes the colours or the shape of an image by one operation, drawn per image.

The operations take and return levels, whole numbers 0-255 as float32 [B, H, W, C], with C = 1 or 3, and round as
Pillow does with uint8 images. `amount`, float32 [B], is Pillow's factor of enhancement, or an angle.
"""

import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import tensorflow as tf

from agkd_tf.data.pixels import as_float
from agkd_tf.errors import InputError
from agkd_tf.randomness import named_seed, uniform

# Weights of red, green and blue in the brightness of a pixel (ITU-R 601-2), in units of 1 / 65536.
LUMA = (19595, 38470, 7471)
LEVELS = 256


def saturation(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Moves colours away from grey (above 1) or towards it (below 1)."""
    return _blend(_luma(levels), levels, amount)


def brightness(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Multiplies levels by the amount."""
    return _blend(tf.zeros_like(levels), levels, amount)


def contrast(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Moves levels away from the image's mean brightness (above 1) or towards it (below 1)."""
    mean = tf.floor(tf.reduce_mean(_luma(levels), axis=[1, 2, 3], keepdims=True) + 0.5)
    return _blend(mean, levels, amount)


def sharpness(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Sharpens (above 1) or smooths (below 1) with a 3 x 3 mean whose centre counts five times; edges stay."""
    height, width = levels.shape[1], levels.shape[2]
    if min(height, width) < 3:
        return levels
    rows = levels[:, :-2] + levels[:, 1:-1] + levels[:, 2:]
    sums = rows[:, :, :-2] + rows[:, :, 1:-1] + rows[:, :, 2:] + 4.0 * levels[:, 1:-1, 1:-1]
    smooth = tf.pad(tf.floor(sums / 13.0 + 0.5), [[0, 0], [1, 1], [1, 1], [0, 0]])
    inner = tf.pad(tf.ones([1, height - 2, width - 2, 1], tf.bool), [[0, 0], [1, 1], [1, 1], [0, 0]])
    return _blend(tf.where(inner, smooth, levels), levels, amount)


def autocontrast(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Stretches each channel to 0-255; the amount is ignored."""
    low, high = (reduce(levels, axis=[1, 2], keepdims=True) for reduce in (tf.reduce_min, tf.reduce_max))
    stretched = tf.floor((levels - low) * 255.0 / tf.maximum(high - low, 1.0))
    return tf.where(high > low, stretched, levels)


def equalize(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Gives each channel a histogram as even as possible; the amount is ignored."""
    height, width, channels = levels.shape[1:]
    rows = tf.shape(levels)[0] * channels  # one histogram per image and channel
    flat = tf.reshape(tf.transpose(tf.cast(levels, tf.int32), [0, 3, 1, 2]), [-1, height * width])
    places = flat + LEVELS * tf.range(rows)[:, None]
    counts = tf.math.unsorted_segment_sum(tf.ones_like(places, tf.float32), places, LEVELS * rows)
    counts = tf.reshape(counts, [-1, LEVELS])
    below = tf.cumsum(counts, axis=1, exclusive=True)
    # Pillow: the pixels of all levels but the highest are spread over 255 steps.
    highest = tf.reduce_max(flat, axis=1, keepdims=True)
    step = tf.floor(tf.gather(below, highest, batch_dims=1) / 255.0)
    table = tf.minimum(tf.floor((tf.floor(step / 2.0) + below) / tf.maximum(step, 1.0)), 255.0)
    table = tf.where(step > 0, table, tf.range(float(LEVELS)))
    even = tf.reshape(tf.gather(table, flat, batch_dims=1), [-1, channels, height, width])
    return _shaped(tf.transpose(even, [0, 2, 3, 1]), levels)


def shear_x(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Shears along x by an angle in radians about the centre."""
    one, zero = tf.ones_like(amount), tf.zeros_like(amount)
    return _resample(levels, [one, tf.tan(amount), zero, one])


def shear_y(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Shears along y by an angle in radians about the centre."""
    one, zero = tf.ones_like(amount), tf.zeros_like(amount)
    return _resample(levels, [one, zero, tf.tan(amount), one])


def rotate(levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Rotates counterclockwise about the centre, by an angle in degrees."""
    angle = amount * (math.pi / 180.0)
    return _resample(levels, [tf.cos(angle), -tf.sin(angle), tf.sin(angle), tf.cos(angle)])


class Operation(NamedTuple):
    """One operation that an image may get.

    Attributes:
        apply: callable, (levels, amount) -> levels.
        probability: of this operation.
        low, high: the amount is drawn from U(low, high).
        whole: whether the amount is a whole number, low to high - 1.
        signed: whether its sign is random.
    """

    apply: Callable[[tf.Tensor, tf.Tensor], tf.Tensor]
    probability: float
    low: float = 0.0
    high: float = 1.0
    whole: bool = False
    signed: bool = False


def _operations(probabilities: tuple[float, ...], shear: tuple[float, float], degrees: int) -> tuple[Operation, ...]:
    *colors, sheared, rotated = probabilities
    ranges = {saturation: (0.1, 1.9), brightness: (0.5, 1.9), contrast: (0.5, 1.9), sharpness: (0.1, 1.9)}
    ranges |= {autocontrast: (0.0, 1.0), equalize: (0.0, 1.0)}
    return (
        *(Operation(apply, p, *limits) for (apply, limits), p in zip(ranges.items(), colors, strict=True)),
        Operation(shear_x, sheared / 2, *shear, signed=True),
        Operation(shear_y, sheared / 2, *shear, signed=True),
        Operation(rotate, rotated, 1, degrees + 1, whole=True, signed=True),
    )


# The two sets of the paper: one mostly changes colours, the other shapes.
COLOR = _operations((1 / 8,) * 8, (0.05, 0.15), 10)
SHAPE = _operations((0.08, 0.08, 0.04, 0.08, 0.04, 0.08, 0.3, 0.3), (0.05, 0.35), 30)


def color_shape(images: tf.Tensor, seed: tf.Tensor, *, operations: tuple[Operation, ...]) -> tf.Tensor:
    """Applies one of the operations to each image, drawn per image.

    Every operation is computed for every image, since shapes must not depend on draws. On a CPU that takes about half
    as long as one forward pass of a small network; a step of adversarial training has some twenty such passes.

    Args:
        images: float32 [B, H, W, C] in [0, 1], with C = 1 or 3; rounded to 256 levels first.
        seed: int32 [2].
        operations: `COLOR` or `SHAPE`.

    Returns:
        float32 [B, H, W, C], multiples of 1 / 255.

    Raises:
        InputError: for another number of channels.

    Source: Li and Spratling, Data Augmentation Alone Can Improve Adversarial Training, ICLR 2023, section 3.2.
    """
    if images.shape[-1] not in (1, 3):
        raise InputError(
            f"`augmentation` with ColorShape needs images of 1 or 3 channels. Received: {images.shape[-1]}; "
            "crop_flip and none take any number"
        )
    chosen, amount = draw(tf.shape(images)[0], seed, operations)
    levels = tf.round(images * 255.0)
    changed = levels
    for number, operation in enumerate(operations):
        changed = tf.where((chosen == number)[:, None, None, None], operation.apply(levels, amount), changed)
    return as_float(tf.cast(changed, tf.uint8))


def draw(batch: tf.Tensor | int, seed: tf.Tensor, operations: tuple[Operation, ...]) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns (the number of each image's operation, int32 [batch]; its amount, float32 [batch])."""
    *inner, _ = functools.reduce(lambda sums, each: [*sums, sums[-1] + each.probability], operations, [0.0])[1:]
    unit = uniform([batch, 1], named_seed(seed, "operation"))
    chosen = tf.reduce_sum(tf.cast(unit >= tf.constant(inner), tf.int32), axis=1)
    low, high, whole, signed = (
        tf.gather(tf.constant([float(getattr(each, name)) for each in operations]), chosen)
        for name in ("low", "high", "whole", "signed")
    )
    amount = uniform([batch], named_seed(seed, "amount"), low, high)
    amount = tf.where(whole > 0, tf.minimum(tf.floor(amount), high - 1.0), amount)
    negative = tf.logical_and(signed > 0, uniform([batch], named_seed(seed, "sign")) < 0.5)
    return chosen, tf.where(negative, -amount, amount)


def _luma(levels: tf.Tensor) -> tf.Tensor:
    """Returns the brightness of each pixel, [B, H, W, 1]."""
    if levels.shape[-1] == 1:
        return levels
    # The sum itself is above 2^24, where float32 has no longer all whole numbers: sum its bytes apart.
    high, low = (
        tf.reduce_sum(levels * tf.constant(part, tf.float32), axis=-1, keepdims=True)
        for part in ([weight // LEVELS for weight in LUMA], [weight % LEVELS for weight in LUMA])
    )
    return tf.floor((high + tf.floor((low + 32768.0) / LEVELS)) / LEVELS)


def _blend(degenerate: tf.Tensor, levels: tf.Tensor, amount: tf.Tensor) -> tf.Tensor:
    """Returns levels on the line from the degenerate image (amount 0) through the image (amount 1)."""
    mixed = degenerate + amount[:, None, None, None] * (levels - degenerate)
    return tf.floor(tf.clip_by_value(mixed, 0.0, 255.0))


def _resample(levels: tf.Tensor, matrix: list[tf.Tensor]) -> tf.Tensor:
    """Returns images whose pixel at p, from the centre, is the nearest one to M p; 0 outside.

    Args:
        levels: float32 [B, H, W, C].
        matrix: rows of M, which acts on (x, y): four tensors, float32 [B].
    """
    height, width, channels = levels.shape[1:]
    xx, xy, yx, yy = (each[:, None, None] for each in matrix)
    x = tf.range(float(width))[None, :] + 0.5 - width / 2
    y = tf.range(float(height))[:, None] + 0.5 - height / 2
    column = tf.cast(tf.floor(xx * x + xy * y + width / 2), tf.int32)
    row = tf.cast(tf.floor(yx * x + yy * y + height / 2), tf.int32)
    within = (row >= 0) & (row < height) & (column >= 0) & (column < width)
    places = tf.where(within, row * width + column, 0)
    flat = tf.reshape(levels, [-1, height * width, channels])
    taken = tf.gather(flat, tf.reshape(places, [-1, height * width]), axis=1, batch_dims=1)
    taken = _shaped(tf.reshape(taken, [-1, height, width, channels]), levels)
    return tf.where(within[..., None], taken, tf.zeros_like(taken))


def _shaped(changed: tf.Tensor, levels: tf.Tensor) -> tf.Tensor:
    changed.set_shape(levels.shape)
    return changed
