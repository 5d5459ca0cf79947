"""Random crops of padded images, and horizontal flips."""

import tensorflow as tf

from agkd_tf.randomness import named_seed, uniform, uniform_integers

PADDING = 4


def crop_flip(images: tf.Tensor, seed: tf.Tensor, *, padding: int = PADDING) -> tf.Tensor:
    """Zero-pads the images, crops them back at a random place, and flips them horizontally with probability 1/2.

    Crop positions and flips are drawn per image.

    Args:
        images: float32 [B, H, W, C].
        seed: int32 [2].
        padding: pixels added on each side before the crop.

    Returns:
        float32 [B, H, W, C].
    """
    batch, height, width = tf.shape(images)[0], images.shape[1], images.shape[2]
    padded = tf.pad(images, [[0, 0], [padding, padding], [padding, padding], [0, 0]])
    top = uniform_integers([batch, 1], named_seed(seed, "crop_top"), 2 * padding + 1)
    left = uniform_integers([batch, 1], named_seed(seed, "crop_left"), 2 * padding + 1)
    flip = uniform([batch, 1], named_seed(seed, "flip")) < 0.5
    rows = top + tf.range(height)
    columns = tf.range(width)
    columns = left + tf.where(flip, tf.reverse(columns, [0]), columns)
    cropped = tf.gather(padded, rows, axis=1, batch_dims=1)
    cropped = tf.gather(cropped, columns, axis=2, batch_dims=1)
    cropped.set_shape(images.shape)  # `tf.ensure_shape` would add operations whose shape XLA does not know
    return cropped


def flip(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flips images, float32 [B, H, W, C], horizontally with probability 1/2, drawn per image with `seed`, int32 [2]."""
    flipped = uniform([tf.shape(images)[0]], named_seed(seed, "flip")) < 0.5
    return tf.where(flipped[:, None, None, None], tf.reverse(images, [2]), images)
